"""Events: what happened, as values; one vocabulary for log, stream and counters.

Named tuples, because each command creates one: three times as fast as frozen dataclasses, and loaded sooner.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

_ByPeer: TypeAlias = Literal["quit", "peer", "reset"]
_ByLimit: TypeAlias = Literal["idle", "session", "quiet", "evicted", "errors", "stalled"]
_ByOperator: TypeAlias = Literal["stopped", "disconnected", "blocked"]
_ByProtocol: TypeAlias = Literal["tls", "tls_in_clear", "http"]
CloseReason: TypeAlias = Literal[_ByPeer, _ByLimit, _ByOperator, _ByProtocol, "fault", "shutdown"]
ENDINGS: Final[Mapping[str, tuple[str, str]]] = {
    "quit": ("quit", "caller quit"),
    "peer": ("hung up", "caller hung up"),
    "reset": ("reset", "connection broken"),
    "idle": ("time-out", "time-out, no command"),
    "session": ("time-out", "time-out, session too long"),
    "quiet": ("time-out", "time-out, caller silent"),
    "evicted": ("evicted", "its slot was needed,"),
    "errors": ("errors", "too many errors,"),
    "stalled": ("stalled", "caller did not read its replies,"),
    "stopped": ("stopped", "SMTP port closed"),
    "disconnected": ("cut off", "a monitor hung up"),
    "blocked": ("blocked", "caller blocked"),
    "tls": ("no TLS", "no TLS handshake"),
    "tls_in_clear": ("TLS", "TLS without STARTTLS"),
    "http": ("HTTP", "caller speaks HTTP"),
    "fault": ("fault", "fault of the server"),
    "shutdown": ("shutdown", "server ended"),
}
"""What people read for each reason: a word, and how a sentence about the end of a session begins."""
TurnedAwayReason: TypeAlias = Literal["slots", "client", "proxy", "blocked"]
BlockAction: TypeAlias = Literal["blocked", "unblocked", "expired"]


class Connected(NamedTuple):
    """A session began, on the server's port `local_port`, and its address `local_ip`, if that is logged."""

    local_port: int
    local_ip: str = ""


class Command(NamedTuple):
    """A command and its reply, one data event. Both are text from `escape`."""

    data: str  # the line as sent, of at most 2,048 bytes, without its end
    reply: str  # the first line, with the code, without CRLF
    eol_lf: bool = False
    pregreet: bool = False
    pipelined: bool = False
    truncated_bytes: int = 0  # dropped from a line that was too long
    more_lines: int = 0  # of the reply, after the first


class Message(NamedTuple):
    """A whole message was received and discarded; `bytes` as RFC 1870 section 3 counts them."""

    bytes: int


class Handshake(NamedTuple):
    """A TLS handshake with a caller ended, with a version and a cipher, or with the reason of its failure."""

    version: str = ""
    cipher: str = ""
    failure: str = ""


class Closed(NamedTuple):
    """A session ended."""

    reason: CloseReason
    duration_ms: int
    received_bytes: int
    sent_bytes: int
    commands: int
    mails_refused: int = 0  # MAIL transactions that got the refusal of the stage; 0 if the server did not count them
    not_logged: int = 0  # data events over a share of the log


class TurnedAway(NamedTuple):
    """`count` callers got no slot."""

    reason: TurnedAwayReason
    count: int  # type: ignore[assignment]  # hides tuple.count, which is not used


class Error(NamedTuple):
    """Something failed in the server; `lost` counts log lines that could not be written."""

    message: str
    lost: int = 0


class Online(NamedTuple):
    """The SMTP listener opened."""

    by: str


class Offline(NamedTuple):
    """The SMTP listener closed."""

    by: str


class SettingsChanged(NamedTuple):
    """Settings changed."""

    keys: str  # their names, separated by commas
    by: str
    changes: str = ""  # old and new values, if the server logs them; none is a secret, because secrets stand in files


class Monitor(NamedTuple):
    """A monitor logged in or out, set the magic word, or was refused; `user` is `magic`, `cookie` or empty."""

    action: Literal["login", "logout", "not_authorized", "busy", "magic_word"]
    user: str


class Block(NamedTuple):
    """A monitor blocked or unblocked a network, or its block expired; `until` is RFC 3339 or `always`."""

    action: BlockAction
    network: str
    until: str
    reason: str


_OfSession: TypeAlias = Connected | Command | Message | Handshake | Closed
Event: TypeAlias = _OfSession | TurnedAway | Error | Online | Offline | SettingsChanged | Monitor | Block
NAMES: Final[dict[type[Event], str]] = {
    Connected: "connected",
    Command: "command",
    Message: "message",
    Handshake: "tls",
    Closed: "closed",
    TurnedAway: "turned_away",
    Error: "error",
    Online: "online",
    Offline: "offline",
    SettingsChanged: "settings",
    Monitor: "monitor",
    Block: "block",
}

Entry: TypeAlias = tuple[str, str, Sequence[Event]]
"""Events of one origin in one loop turn: their time (RFC 3339, UTC, milliseconds), their origin, and the events."""


class Batch(NamedTuple):
    """Events in order, with the `seq` of each; a run of the server counts its events from 1."""

    seqs: Sequence[int]
    entries: Sequence[Entry]


def ending_of(reason: str) -> str:
    """Return how a session ended; a reason of a later version as it is."""
    return ENDINGS.get(reason, ("", reason))[1].rstrip(",")


def origin_of(slot: int, session: int, ip: str, port: int) -> str:
    """Return the origin of events: the fields of their session in a record, each after a space."""
    # A text, rendered once for a session, because every event needs it so and hardly one needs the values.
    if slot:
        return f" slot={slot} session={session} ip={ip} port={port}"
    return (f" ip={ip}" if ip else "") + (f" port={port}" if port else "")


def split_origin(origin: str) -> tuple[str, str, str, str]:
    """Return slot, session, ip and port from `origin_of`; an empty text where there is none."""
    ids, _, address = origin.rpartition(" ip=")
    slot, _, session = ids.removeprefix(" slot=").partition(" session=")
    ip, _, port = address.partition(" port=")
    return slot, session, ip, port


def slot_and_ip(origin: str) -> tuple[int, str]:
    """Return the slot and the address in the origin of a session."""
    _, slot, _, ip, _ = origin.split(" ")
    return int(slot[5:]), ip[3:]


def ip_of(origin: str) -> str:
    """Return the address in the origin of a session."""
    return origin[origin.index(" ip=") + 4 : origin.rindex(" ")]


_ESCAPES: Final = {byte: f"\\x{byte:02x}" for byte in (*range(0x20), *range(0x7F, 0x100))} | {0x5C: "\\\\"}
_ESCAPED: Final = re.compile(rb"\\(?:\\|x([0-9A-Fa-f]{2}))")


def escape(data: bytes) -> str:
    r"""Render bytes from outside as printable ASCII: ``\`` as ``\\``, every byte outside 0x20-0x7E as ``\xhh``.

    Only this function turns them into text. So nobody can forge a line of a log or a frame, and no escape sequence
    reaches a terminal.
    """
    text = data.decode("latin-1")
    if text.isascii() and text.isprintable() and "\\" not in text:
        return text
    return text.translate(_ESCAPES)


def escape_text(text: str) -> str:
    """Render text that may hold any characters like `escape`."""
    return escape(text.encode("utf-8", "backslashreplace"))


def printable(text: str) -> str:
    r"""Render text that may hold text from outside as printable ASCII, like `escape`, but leave ``\`` as it is.

    Names of files and processes, and the texts of servers, reach a terminal only through this function.
    """
    if text.isascii() and text.isprintable():
        return text
    try:
        data = text.encode("utf-8", "surrogateescape")  # bytes that are not UTF-8, as in a file's name
    except UnicodeEncodeError:
        data = text.encode("utf-8", "surrogatepass")
    return escape(data).replace("\\\\", "\\")


def printable_lines(text: str) -> str:
    """Render text of several lines like `printable`, but leave each LF as it is."""
    return "\n".join(map(printable, text.split("\n")))


def unescape(text: str) -> bytes:
    """Return the bytes that `escape` rendered."""
    return _ESCAPED.sub(lambda match: bytes.fromhex(match[1].decode()) if match[1] else b"\\", text.encode("latin-1"))
