r"""Texts: how values read on the screen.

Everything that a server sends is shown as printable ASCII. The link lets no control characters through, but
double-width letters and combining marks could still misalign a table.
"""

import re
from collections.abc import Callable, Mapping
from datetime import MAXYEAR, MINYEAR, UTC, datetime, tzinfo
from functools import lru_cache
from typing import Final

from smtppseudo.events import ENDINGS, printable
from smtppseudo.monitor.codec import Frame

_PATH: Final = re.compile(r"(MAIL|RCPT) (?:FROM|TO):\s*", re.IGNORECASE)


def sentence(text: str) -> str:
    """Return an error's text as a sentence: a full stop, and a capital unless the first word is a name."""
    first = text.partition(" ")[0]
    start = text[:1].upper() if first.isalpha() and first != "smtppseudo" else text[:1]
    return printable(start + text[1:] + ("" if text.endswith((".", "!", "?")) else "."))


def text_of(frame: Mapping[str, object], name: str) -> str:
    """Return a field as printable text; empty if it is missing or no text."""
    value = frame.get(name)
    return printable(value) if isinstance(value, str) else ""


def number_of(frame: Mapping[str, object], name: str) -> int:
    """Return a field that is a whole number; 0 if it is missing or something else."""
    value = frame.get(name)
    return value if type(value) is int else 0


@lru_cache(maxsize=512)
def parse_stamp(stamp: str) -> datetime | None:
    """Parse a server's time stamp; None if it is not one."""
    try:
        at = datetime.fromisoformat(stamp)
    except ValueError:
        return None
    if at.year in (MINYEAR, MAXYEAR):  # in another time zone it might have no date
        return None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


@lru_cache(maxsize=2_048)
def clock_time(stamp: str, zone: tzinfo | None) -> str:
    """Render a time stamp as hours, minutes and seconds in a time zone (None: this machine's)."""
    at = parse_stamp(stamp)
    return "--:--:--" if at is None else f"{at.astimezone(zone):%H:%M:%S}"


def date_and_time(stamp: str, zone: tzinfo | None) -> str:
    """Render a time stamp with its date."""
    at = parse_stamp(stamp)
    return "?" if at is None else f"{at.astimezone(zone):%Y-%m-%d %H:%M:%S}"


def format_span(seconds: float) -> str:
    """Render a number of seconds in at most seven characters: `7 s`, `4:07`, `1 h 02`, `3 d 04`."""
    minutes, second = divmod(max(0, int(seconds)), 60)
    hours, minute = divmod(minutes, 60)
    if hours >= 24:
        return f"{hours // 24} d {hours % 24:02}"
    if hours:
        return f"{hours} h {minute:02}"
    return f"{minute}:{second:02}" if minute else f"{second} s"


def fit(text: str, width: int, *, right: bool = False) -> str:
    """Cut or pad an ASCII text to a width in cells."""
    if len(text) > width:
        return text[: width - 1] + "…" if width > 0 else ""
    return text.rjust(width) if right else text.ljust(width)


def describe(record: Frame) -> str:
    """Describe an event in words, from its own fields."""
    return _DESCRIPTIONS.get(str(record.get("event")), _other)(record)


def remarks_on(record: Frame) -> str:
    """Render the peculiarities of how a command was sent."""
    remarks = [name for name in ("pregreet", "pipelined") if record.get(name) is True]
    if record.get("eol") == "lf":
        remarks.append("bare LF")
    if number_of(record, "truncated_bytes"):
        remarks.append(f"{number_of(record, 'truncated_bytes')} bytes cut off")
    return f" [{', '.join(remarks)}]" if remarks else ""


def reply_of(record: Frame) -> str:
    """Render the reply to a command, with its code: the first line, and how many are not shown."""
    code, text, more = number_of(record, "code"), text_of(record, "reply"), number_of(record, "more_lines")
    return f"{code:03}-{text} … and {more} more line{'s' * (more > 1)}" if more > 0 else f"{code:03} {text}"


def short_command(data: str) -> str:
    """Return a command without FROM: and TO:, for a narrow place."""
    return _PATH.sub(r"\1 ", data, count=1)


def reply_class(reply: str) -> str:
    """Return whose doing a reply is: `said`, `no`, `mistake` of the caller, or `fault` of the server."""
    if reply[:1] == "4":
        return "mistake" if reply[:3] == "421" else "fault"
    return "said" if reply[:1] != "5" else "mistake" if reply[1:2] == "0" else "no"


def close_word(reason: str) -> str:
    """Return why a session ended, in at most nine characters."""
    return ENDINGS.get(reason, ("other", ""))[0]


def describe_close(record: Frame) -> str:
    """Describe how a session ended."""
    reason = text_of(record, "reason")
    duration_s = number_of(record, "duration_ms") / 1000
    duration = f"{duration_s:.1f} s" if duration_s < 60 else format_span(duration_s)
    data = f"{number_of(record, 'received_bytes')} bytes in, {number_of(record, 'sent_bytes')} out"
    not_logged = number_of(record, "not_logged")
    more = f"; {not_logged} commands were not logged" if not_logged else ""
    return f"{ENDINGS.get(reason, ('', reason))[1]} after {duration}, {data}{more}"


def _error(record: Frame) -> str:
    lost = number_of(record, "lost")
    return text_of(record, "message") + (f" ({lost} log lines lost)" if lost else "")


def _online(record: Frame) -> str:
    return f"the SMTP port is {'open' if record.get('event') == 'online' else 'closed'}, by {text_of(record, 'by')}"


def _monitor(record: Frame) -> str:
    user = text_of(record, "user")
    return text_of(record, "action").replace("_", " ") + (f" ({user})" if user else "")


def _tls(record: Frame) -> str:
    failure = text_of(record, "failure")
    return f"handshake failed: {failure}" if failure else f"{text_of(record, 'version')}, {text_of(record, 'cipher')}"


def _turned_away(record: Frame) -> str:
    reason = text_of(record, "reason")
    return f"{number_of(record, 'count')} turned away: {_TURNED_AWAY.get(reason, reason)}"


def _other(record: Frame) -> str:
    usual = ("time", "event", "slot", "session", "ip", "port")
    return printable(" ".join([f"{name}={value}" for name, value in record.items() if name not in usual]))


_TURNED_AWAY: Final = {
    "slots": "all slots are taken",
    "client": "this address has its share of the slots",
    "proxy": "this proxy sent no valid header",
    "blocked": "this address is blocked",
}
_DESCRIPTIONS: Final[Mapping[str, Callable[[Frame], str]]] = {
    "connected": lambda record: f"on port {number_of(record, 'local_port')}",
    "command": lambda record: f"{text_of(record, 'data')} -> {reply_of(record)}{remarks_on(record)}",
    "message": lambda record: f"{number_of(record, 'bytes')} bytes thrown away",
    "tls": _tls,
    "closed": describe_close,
    "turned_away": _turned_away,
    "error": _error,
    "online": _online,
    "offline": _online,
    "settings": lambda record: f"{text_of(record, 'keys').replace(',', ', ')}, by {text_of(record, 'by')}",
    "monitor": _monitor,
    "block": lambda record: f"{text_of(record, 'network')} {text_of(record, 'action')} {text_of(record, 'reason')}",
}
