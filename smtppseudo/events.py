"""Events: what happened, as values; one vocabulary for log, stream and counters.

The classes are named tuples: as frozen as a dataclass, three times as cheap to make (every command of
every session makes one), and without the start-up time of `dataclasses`.
"""

import re
from typing import Final, Literal, NamedTuple, TypeAlias

CloseReason: TypeAlias = Literal[
    "quit",  # the peer said QUIT
    "peer",  # the peer closed or half-closed the connection
    "reset",  # the kernel reported an error on the connection
    "idle",
    "session",
    "quiet",
    "evicted",  # it was idle longest, and its slot was needed
    "errors",  # too many malformed commands, or too many commands
    "stalled",  # the peer did not read its replies
    "stopped",  # the listener was stopped
    "disconnected",  # by a monitor
    "tls",
    "fault",  # our bug
    "shutdown",
]
TurnedAwayReason: TypeAlias = Literal["slots", "client"]


class Connected(NamedTuple):
    """A session began, on our port `local_port`."""

    local_port: int


class Command(NamedTuple):
    """A command and its answer, one data event.

    `data` is the line as sent, without its line end, at most 2,048 bytes; `reply` the first line of the
    answer, code included, without CRLF. `truncated_bytes` counts what was dropped of a line too long.
    """

    data: bytes
    reply: bytes
    eol_lf: bool = False
    pregreet: bool = False
    pipelined: bool = False
    truncated_bytes: int = 0


class Message(NamedTuple):
    """A whole message was received and thrown away; `bytes` as RFC 1870 section 3 counts them."""

    bytes: int


class Closed(NamedTuple):
    """A session ended. `not_logged` counts the data events that were not logged, the session's share being used up."""

    reason: CloseReason
    duration_ms: int
    received_bytes: int
    sent_bytes: int
    commands: int
    not_logged: int = 0


class TurnedAway(NamedTuple):
    """`count` newcomers were turned away with 421 for want of a slot."""

    reason: TurnedAwayReason
    count: int  # type: ignore[assignment]  # hides tuple.count, which nobody needs here


class Error(NamedTuple):
    """Something failed on our side; `lost` counts log lines that could not be written."""

    message: str
    lost: int = 0


class Online(NamedTuple):
    """The SMTP listener opened."""

    by: str


class Offline(NamedTuple):
    """The SMTP listener closed."""

    by: str


class SettingsChanged(NamedTuple):
    """Settings were replaced; `keys` names those that changed, comma-separated."""

    keys: str
    by: str


class Monitor(NamedTuple):
    """A monitor logged in or out, or was refused; `user` is how: `magic`, `cookie` or nothing."""

    action: Literal["login", "logout", "not_authorized", "busy", "magic_word"]
    user: str


Event: TypeAlias = (
    Connected | Command | Message | Closed | TurnedAway | Error | Online | Offline | SettingsChanged | Monitor
)

NAMES: Final[dict[type[Event], str]] = {
    Connected: "connected",
    Command: "command",
    Message: "message",
    Closed: "closed",
    TurnedAway: "turned_away",
    Error: "error",
    Online: "online",
    Offline: "offline",
    SettingsChanged: "settings",
    Monitor: "monitor",
}


class Stamped(NamedTuple):
    """An event with its place: when, and on which connection.

    `seq` counts the events of a run from 1. `time` is RFC 3339, UTC, milliseconds. `slot` and `session`
    are 0, `ip` empty and `port` 0 where the event belongs to no session or address.
    """

    seq: int
    time: str
    slot: int
    session: int
    ip: str
    port: int
    event: Event


_ESCAPES: Final[dict[int, str]] = {
    byte: "\\\\" if byte == 0x5C else f"\\x{byte:02x}"
    for byte in range(256)
    if byte == 0x5C or not 0x20 <= byte <= 0x7E
}
_ESCAPED: Final = re.compile(rb"\\(?:\\|x([0-9A-Fa-f]{2}))")


def escape(data: bytes) -> str:
    r"""Render a peer's bytes as printable ASCII: ``\`` as ``\\``, all outside 0x20-0x7E as ``\xhh``.

    The only place where peer bytes become text, so no line of a log or frame can be forged and no
    escape sequence reaches a terminal.
    """
    text = data.decode("latin-1")
    if text.isascii() and text.isprintable() and "\\" not in text:
        return text
    return text.translate(_ESCAPES)


def unescape(text: str) -> bytes:
    """Give back the bytes that `escape` rendered."""
    return _ESCAPED.sub(lambda match: bytes.fromhex(match[1].decode()) if match[1] else b"\\", text.encode("latin-1"))
