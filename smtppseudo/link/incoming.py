"""What a server sends, as values, and how its frames become values.

The client trusts no server: every field of a value has the type that the value declares, and every character is
printable, so a server cannot send commands to a terminal.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple, TypeAlias, TypeVar

from smtppseudo.events import NAMES
from smtppseudo.link.errors import LinkError, OpRefusedError
from smtppseudo.log.records import with_current_names
from smtppseudo.monitor.codec import Frame

T = TypeVar("T")

# Security limits, so that 60,000 slots, or the events that a screen keeps, take at most some 200 MiB.
MESSAGE_CHARS_MAX: Final = 500  # of a text for people
SLOT_CHARS_MAX: Final = 2_048  # of all texts in a slot, the last line cut
EVENT_CHARS_MAX: Final = 16_384  # of all texts in an event; the longest command is 8,192


class OpReply(NamedTuple):
    """The reply to a request: the op's own fields, with a whole list of slots; or the server's refusal."""

    id: int
    fields: Frame
    error: OpRefusedError | None = None


class Snapshot(NamedTuple):
    """The state just after event `seq`. `slots` has one object for each slot, as in the reply to the op `slots`."""

    seq: int
    state: str
    started_at: str
    slots: list[Frame]
    settings: Frame
    counters: Frame


class Streamed(NamedTuple):
    """An event. `record` equals the event's record in the JSON log: `time`, `event`, and the fields of its kind."""

    seq: int
    record: Frame


class Dropped(NamedTuple):
    """The number of events that are missing here, because the client read too slowly."""

    count: int  # type: ignore[assignment]  # hides tuple.count


Incoming: TypeAlias = OpReply | Snapshot | Streamed | Dropped | LinkError


class ViolationError(Exception):
    """The server broke the protocol; the text says how."""


# The fields of a slot and of an event, and their types; others are of a later version, and left out.
SLOT_FIELDS: Final[Mapping[str, type]] = {
    **dict.fromkeys(("slot", "session", "port", "commands", "idle_ms"), int),
    **dict.fromkeys(("state", "ip", "helo", "mail_from", "last", "error", "reason", "connected_at"), str),
}
EVENT_FIELDS: Final[Mapping[str, type]] = {
    **dict.fromkeys(("time", "event"), str),
    **dict.fromkeys(("slot", "session", "port", "code"), int),
    **dict.fromkeys(("ip", "eol"), str),
    **{
        name: value if value in (int, bool) else str
        for kind in NAMES
        for name, value in kind.__annotations__.items()
        if name != "eol_lf"  # sent as `eol`
    },
}

_KINDS: Final = {int: "a whole number", str: "a string", bool: "true or false", list: "a list", dict: "an object"}


def get_field(frame: Frame, name: str, kind: type[T]) -> T:
    """Return a field that must be of this type; a number must be 0 or more. Raises ViolationError."""
    value = frame.get(name)
    if type(value) is not kind or (isinstance(value, int) and value < 0):  # a bool is an int, but not a number
        raise ViolationError(f"a frame lacks {name}, or it is not {_KINDS[kind]}")
    return value


def get_message(frame: Frame, name: str) -> str:
    """Return a text for people, cut to its limit; empty if there is none."""
    value = frame.get(name)
    return value[:MESSAGE_CHARS_MAX] if isinstance(value, str) else ""


def parse_slot(slot: object) -> Frame:
    """Return the object that describes a slot. Raises ViolationError."""
    if not isinstance(slot, dict):
        raise ViolationError("a slot is not an object")
    get_field(slot, "slot", int)
    get_field(slot, "state", str)
    if "last" in slot:
        slot["last"] = get_field(slot, "last", str)[:MESSAGE_CHARS_MAX]  # old servers send all of it
    return _known(slot, SLOT_FIELDS, SLOT_CHARS_MAX)


def parse_event(frame: Frame) -> Streamed:
    """Return the event in a frame. Raises ViolationError."""
    seq = get_field(frame, "seq", int)
    get_field(frame, "time", str)
    get_field(frame, "event", str)
    return Streamed(seq, _known(with_current_names(frame), EVENT_FIELDS, EVENT_CHARS_MAX))


def _known(frame: Frame, types: Mapping[str, type], chars_max: int) -> Frame:
    """Return the known fields, with at most `chars_max` characters of ASCII. Raises ViolationError."""
    known = {name: value for name, value in frame.items() if name in types}
    for name, value in known.items():
        if type(value) is not types[name]:
            raise ViolationError(f"{name} is of the wrong type")
        if isinstance(value, str):
            chars_max -= len(value)
            if chars_max < 0 or not value.isascii():
                raise ViolationError(f"{name} is too long, or not ASCII")
    return known


_NESTED: Final = (list, dict)


def sanitize(frame: Frame) -> Frame:
    """Return the frame with `?` in place of each unprintable character. An honest server sends none."""
    for name, value in frame.items():
        # A frame that needs no change is not copied: there can be 20,000 events a second.
        is_plain = value.isprintable() if isinstance(value, str) else not isinstance(value, _NESTED)
        if not (is_plain and name.isprintable()):
            return {_sanitize_text(name): _sanitize_value(value) for name, value in frame.items()}
    return frame


def _sanitize_text(text: str) -> str:
    return text if text.isprintable() else "".join([char if char.isprintable() else "?" for char in text])


def _sanitize_value(value: object) -> object:
    if isinstance(value, str):
        return _sanitize_text(value)
    if isinstance(value, list):
        return [_sanitize_value(item) for item in value]
    return sanitize(value) if isinstance(value, dict) else value
