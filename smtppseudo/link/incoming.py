"""What a monitor's server says, as values, and reading its frames into them.

Nothing that a server sends is taken on trust: a value holds what its type says, and no character that a
terminal might obey.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple, TypeAlias

from smtppseudo.events import NAMES
from smtppseudo.log.records import with_current_names
from smtppseudo.monitor.codec import Frame

MESSAGE_CHARS_MAX: Final = 500  # of what a server says in words


class LoggedIn(NamedTuple):
    """The login is done, both sides proved; the snapshot follows. `user` is `cookie` or `magic`."""

    user: str


class NeedsMagicWord(NamedTuple):
    """No cookie is the server's, and there was no magic word to try. Nothing was sent; the end."""


class NotAuthorized(NamedTuple):
    """The server does not take the secret. The end; whoever tries again asks a person first."""

    user: str
    message: str


class Refused(NamedTuple):
    """The server ends the connection: no room for one more (`busy`), too many wrong words (`rate`), ... The end."""

    code: str
    message: str


class Bye(NamedTuple):
    """The server ends the connection in good order. The end."""

    reason: str


class BadPeer(NamedTuple):
    """What answers does not keep to the protocol; `message` says how. The end."""

    message: str


class Lost(NamedTuple):
    """The connection closed without a word. The end."""

    message: str


class Reply(NamedTuple):
    """A request was carried out. `fields` are the reply's own; a list of slots is whole."""

    id: int
    fields: Frame


class ReplyRefused(NamedTuple):
    """A request was not carried out, and changed nothing."""

    id: int
    code: str
    message: str


class Snapshot(NamedTuple):
    """How things stood just after event `seq`. `slots` has one object for each slot, as the op `slots` gives them."""

    seq: int
    state: str
    started_at: str
    slots: list[Frame]
    settings: Frame
    counters: Frame


class Streamed(NamedTuple):
    """An event. `record` is what the JSON log has of it: `time`, `event`, and the fields of that kind."""

    seq: int
    record: Frame


class Dropped(NamedTuple):
    """So many events were left out here, because they were read too slowly."""

    count: int  # type: ignore[assignment]  # hides tuple.count, which nobody needs here


Ending: TypeAlias = NeedsMagicWord | NotAuthorized | Refused | Bye | BadPeer | Lost
Incoming: TypeAlias = LoggedIn | Reply | ReplyRefused | Snapshot | Streamed | Dropped | Ending


class ViolationError(Exception):
    """The server broke the protocol; the text says how."""


# The fields that a screen may rely on: what they are, where they are there.
OF_SLOTS: Final[Mapping[str, type]] = {
    **dict.fromkeys(("session", "port", "commands", "idle_ms"), int),
    **dict.fromkeys(("ip", "helo", "mail_from", "last", "error", "reason", "connected_at"), str),
}
OF_EVENTS: Final[Mapping[str, type]] = {
    **dict.fromkeys(("slot", "session", "port", "code"), int),
    **dict.fromkeys(("ip", "eol"), str),
    **{
        name: value if value in (int, bool) else str
        for kind in NAMES
        for name, value in kind.__annotations__.items()
        if name != "eol_lf"  # goes as `eol`
    },
}


def number(frame: Frame, name: str) -> int:
    """Return a field that must be a whole number, not negative. Raises ViolationError."""
    value = frame.get(name)
    if type(value) is not int or value < 0:  # a bool is an int, but no number
        raise ViolationError(f"a frame lacks {name}, or it is not a whole number")
    return value


def text(frame: Frame, name: str) -> str:
    """Return a field that must be a string. Raises ViolationError."""
    value = frame.get(name)
    if not isinstance(value, str):
        raise ViolationError(f"a frame lacks {name}, or it is not a string")
    return value


def words(frame: Frame, name: str) -> str:
    """Return a field that is only for people to read; empty if there is none."""
    value = frame.get(name)
    return value[:MESSAGE_CHARS_MAX] if isinstance(value, str) else ""


def object_of(frame: Frame, name: str) -> Frame:
    """Return a field that must be an object. Raises ViolationError."""
    value = frame.get(name)
    if not isinstance(value, dict):
        raise ViolationError(f"a frame lacks {name}, or it is not an object")
    return value


def checked_slot(slot: object) -> Frame:
    """Return what describes a slot. Raises ViolationError."""
    if not isinstance(slot, dict):
        raise ViolationError("a slot is not an object")
    number(slot, "slot")
    text(slot, "state")
    _require_types(slot, OF_SLOTS)
    return slot


def streamed(frame: Frame) -> Streamed:
    """Return an event frame as a value. Raises ViolationError."""
    seq = number(frame, "seq")
    text(frame, "time")
    text(frame, "event")
    record = dict(with_current_names(frame))
    _require_types(record, OF_EVENTS)
    del record["type"], record["seq"]
    return Streamed(seq, record)


def _require_types(frame: Frame, types: Mapping[str, type]) -> None:
    for name, value in frame.items():
        if name in types and type(value) is not types[name]:
            raise ViolationError(f"{name} is of the wrong type")


_NESTED: Final = (list, dict)


def plain(frame: Frame) -> Frame:
    """Return a frame with `?` for each character that a terminal might obey: an honest server sends none."""
    for name, value in frame.items():
        # Nothing is built anew for an honest event, and floods are made of those.
        if isinstance(value, str):
            is_plain = name.isprintable() and value.isprintable()
        else:
            is_plain = name.isprintable() and not isinstance(value, _NESTED)
        if not is_plain:
            return {_plain(name): _plain_value(value) for name, value in frame.items()}
    return frame


def _plain(words: str) -> str:
    return words if words.isprintable() else "".join([char if char.isprintable() else "?" for char in words])


def _plain_value(value: object) -> object:
    if isinstance(value, str):
        return _plain(value)
    if isinstance(value, list):
        return [_plain_value(item) for item in value]
    return plain(value) if isinstance(value, dict) else value
