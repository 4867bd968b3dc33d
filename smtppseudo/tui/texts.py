r"""Texts: how values read on the screen.

What a server sends is shown as printable ASCII, whatever it is: the machine behind the link lets no control
character through, but letters of double width, combining marks and the like still could upset a table.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from typing import Final

from smtppseudo.monitor.codec import Frame

_MINUTE_S: Final = 60
_HOUR_S: Final = 3_600
_DAY_S: Final = 86_400


def shown(text: str) -> str:
    """Return a text of the server's as printable ASCII."""
    if text.isascii() and text.isprintable():
        return text
    return "".join([char if " " <= char <= "~" else char.encode("unicode_escape").decode("ascii") for char in text])


def sentence(text: str) -> str:
    """Return a text, such as an error's, as a sentence: with a full stop, and a capital unless a name begins it."""
    first = text.partition(" ")[0]
    start = text[:1].upper() if first.isalpha() and first != "smtppseudo" else text[:1]
    return shown(start + text[1:] + ("" if text.endswith((".", "!", "?")) else "."))


def text_of(frame: Mapping[str, object], name: str) -> str:
    """Return a field as it is shown; empty where there is none."""
    value = frame.get(name)
    return shown(value) if isinstance(value, str) else ""


def number_of(frame: Mapping[str, object], name: str) -> int:
    """Return a field that is a number; 0 where there is none."""
    value = frame.get(name)
    return value if type(value) is int else 0


@lru_cache(maxsize=512)
def moment(stamp: str) -> datetime | None:
    """Read a time stamp of the server's; None if it is none."""
    try:
        at = datetime.fromisoformat(stamp)
    except ValueError:
        return None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


@lru_cache(maxsize=2_048)
def clock_time(stamp: str, zone: tzinfo | None) -> str:
    """Render a time stamp as the time of day in a zone (None: this machine's), to the second."""
    at = moment(stamp)
    return "--:--:--" if at is None else f"{at.astimezone(zone):%H:%M:%S}"


def date_and_time(stamp: str, zone: tzinfo | None) -> str:
    """Render a time stamp with its date."""
    at = moment(stamp)
    return "?" if at is None else f"{at.astimezone(zone):%Y-%m-%d %H:%M:%S}"


def span(seconds: float) -> str:
    """Render a span of time in at most seven characters: `7 s`, `4:07`, `1 h 02`, `3 d 04`."""
    whole = max(0, int(seconds))
    if whole < _MINUTE_S:
        return f"{whole} s"
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S}:{whole % _MINUTE_S:02}"
    if whole < _DAY_S:
        return f"{whole // _HOUR_S} h {whole % _HOUR_S // _MINUTE_S:02}"
    return f"{whole // _DAY_S} d {whole % _DAY_S // _HOUR_S:02}"


def lasted(milliseconds: int) -> str:
    """Render how long a session lasted."""
    return f"{milliseconds / 1000:.1f} s" if milliseconds < _MINUTE_S * 1000 else span(milliseconds / 1000)


def fitted(text: str, width: int, *, right: bool = False) -> str:
    """Return a text cut or padded to a width; the texts here are one cell a character."""
    if len(text) > width:
        return text[: width - 1] + "…" if width > 0 else ""
    return text.rjust(width) if right else text.ljust(width)


def told(record: Frame) -> str:
    """Render an event's own fields in words."""
    tell = _TELLS.get(str(record.get("event")))
    return tell(record) if tell is not None else _anything(record)


def marks_of(record: Frame) -> str:
    """Render what is odd about how a command was sent."""
    marks = [name for name in ("pregreet", "pipelined") if record.get(name) is True]
    if record.get("eol") == "lf":
        marks.append("bare LF")
    if number_of(record, "truncated_bytes"):
        marks.append(f"{number_of(record, 'truncated_bytes')} bytes cut off")
    return f" [{', '.join(marks)}]" if marks else ""


def reply_of(record: Frame) -> str:
    """Render a command's reply with its code."""
    return f"{number_of(record, 'code'):03} {text_of(record, 'reply')}"


def closing(record: Frame) -> str:
    """Render how a session ended."""
    data = f"{number_of(record, 'received_bytes')} bytes in, {number_of(record, 'sent_bytes')} out"
    not_logged = number_of(record, "not_logged")
    more = f"; {not_logged} commands were not logged" if not_logged else ""
    return f"{text_of(record, 'reason')} after {lasted(number_of(record, 'duration_ms'))}, {data}{more}"


def _connected(record: Frame) -> str:
    return f"on port {number_of(record, 'local_port')}"


def _command(record: Frame) -> str:
    return f"{text_of(record, 'data')} -> {reply_of(record)}{marks_of(record)}"


def _message(record: Frame) -> str:
    return f"{number_of(record, 'data')} bytes thrown away"


def _turned_away(record: Frame) -> str:
    count = number_of(record, "count")
    return f"{count} turned away: {_REFUSALS.get(text_of(record, 'reason'), text_of(record, 'reason'))}"


def _error(record: Frame) -> str:
    lost = number_of(record, "lost")
    return text_of(record, "message") + (f" ({lost} log lines lost)" if lost else "")


def _switched(record: Frame) -> str:
    return f"the SMTP port is {'open' if record.get('event') == 'online' else 'closed'}, by {text_of(record, 'by')}"


def _settings(record: Frame) -> str:
    return f"{text_of(record, 'keys').replace(',', ', ')}, by {text_of(record, 'by')}"


def _monitor(record: Frame) -> str:
    user = text_of(record, "user")
    return text_of(record, "action").replace("_", " ") + (f" ({user})" if user else "")


def _anything(record: Frame) -> str:
    usual = ("time", "event", "slot", "session", "ip", "port")
    return shown(" ".join([f"{name}={value}" for name, value in record.items() if name not in usual]))


_REFUSALS: Final = {"slots": "all slots are taken", "client": "it has its share of slots"}
_TELLS: Final = {
    "connected": _connected,
    "command": _command,
    "message": _message,
    "closed": closing,
    "turned_away": _turned_away,
    "error": _error,
    "online": _switched,
    "offline": _switched,
    "settings": _settings,
    "monitor": _monitor,
}
