r"""Scanning: the records in a block of log lines, of both formats in any mix, fast.

A `Row` is a plain tuple of strings, for there are millions of them; unpack it whole:

    for time, kind, session, ip, port, data, code, marks, reason, amount in rows: ...

- `time`: always of the shape `2026-11-24T13:54:36.350Z`, so times compare as strings
- `kind`: the event's name: `connected`, `command`, `closed`, `refused`, `message`, `online`, ...
- `session`, `port`: decimal; empty where the event belongs to no session
- `ip`: the address as the line has it, perhaps empty; no address at all where somebody edited the log
- `data`: of `command` what was sent, as `events.escape` renders it (`unescape` gives the octets); of `error` its
  `message`, of `settings` its `keys`, of `monitor` its `user`
- `code`: of `command`, three digits
- `marks`: of `command`, what else it holds, as the line has it: ` eol=lf pregreet=true` or `,"pipelined":true`
- `reason`: of `closed` and `refused`; of `online`, `offline` and `settings` it is `by`, of `monitor` `action`
- `amount`: decimal; of `closed` `duration_ms`, of `refused` `count`, of `message` `octets`, of `error` `lost`

What does not apply is empty, and all is printable ASCII. Session ids begin anew with each start of a server (`online`
with reason `start`), and servers that share a directory give the same ones: what tells sessions apart is session, ip
and port, from `connected` to `closed`.
"""

import re
from typing import Final, TypeAlias

from smtppseudo.events import (
    NAMES,
    Closed,
    Command,
    Connected,
    Error,
    Event,
    Message,
    Monitor,
    Offline,
    Online,
    Refused,
    SettingsChanged,
    Stamped,
    escape,
)
from smtppseudo.records import parse

Row: TypeAlias = tuple[str, str, str, str, str, str, str, str, str, str]

# The lines that every session has are read by one expression for each format. The empty group behind the kind says
# which fields must follow. What it does not match is left to `records.parse`, which decides what is damaged.
_TIME: Final = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
_KIND: Final = r"(command()|connected()|closed)"
_NUMBER: Final = r"\d{1,18}"
_BARE: Final = r"[!#-<>-~]*"
_TEXT: Final = re.compile(
    rf"^({_TIME}) {_KIND} slot={_NUMBER} session=({_NUMBER}) ip=({_BARE}) port=({_NUMBER}) "
    rf'(?(3)data=(?:"([ !#-~]*)"|({_BARE})) code=(\d\d\d) reply=(?:"[ !#-~]*"|{_BARE})'
    rf"((?: eol=lf)?(?: pregreet=true)?(?: pipelined=true)?(?: truncated_octets={_NUMBER})?)"
    rf"|(?(4)local_port={_NUMBER}|reason=([a-z]+) duration_ms=({_NUMBER}) received_octets={_NUMBER}"
    rf" sent_octets={_NUMBER} commands={_NUMBER}(?: left_out={_NUMBER})?))\n",
    re.ASCII | re.MULTILINE,
)
_COUNT: Final = r"(?:0|[1-9]\d{0,17})"  # JSON allows no leading zeros
_PLAIN: Final = r"[ !#-[\]-~]*"
_STRING: Final = rf'{_PLAIN}(?:\\["\\]{_PLAIN})*'
_JSON: Final = re.compile(
    rf'^{{"time":"({_TIME})","event":"{_KIND}","slot":{_COUNT},"session":({_COUNT}),"ip":"({_PLAIN})","port":({_COUNT}),'
    rf'(?(3)"data":"({_STRING})","code":([1-9]\d\d),"reply":"{_STRING}"'
    rf'((?:,"eol":"lf")?(?:,"pregreet":true)?(?:,"pipelined":true)?(?:,"truncated_octets":{_COUNT})?)'
    rf'|(?(4)"local_port":{_COUNT}|"reason":"([a-z]+)","duration_ms":({_COUNT}),"received_octets":{_COUNT},'
    rf'"sent_octets":{_COUNT},"commands":{_COUNT}(?:,"left_out":{_COUNT})?))}}\n',
    re.ASCII | re.MULTILINE,
)
_WHOLE_TIME: Final = re.compile(_TIME, re.ASCII)
_QUOTE: Final = re.compile(r"\\(\\|x22)")
_JSON_ESCAPE: Final = re.compile(r'\\(["\\])')


def scan(octets: bytes) -> tuple[list[Row], int]:
    """Read lines, each with its LF; return their rows, and how many lines were damaged and are left out."""
    try:
        text = octets.decode("ascii")
    except UnicodeDecodeError:
        return _scan_line_by_line(octets)
    rows = _json_rows(text) if text.startswith("{") else _text_rows(text)
    return (rows, 0) if len(rows) == text.count("\n") else _scan_line_by_line(octets)


def _text_rows(text: str) -> list[Row]:
    rows = [
        (time, kind, session, ip, port, quoted or bare, code, marks, reason, amount)
        for time, kind, _, _, session, ip, port, quoted, bare, code, marks, reason, amount in _TEXT.findall(text)
    ]
    # The server writes this only where a value stands in quotes, for a quote in it.
    return [_with_data(row, _QUOTE.sub(_restore_quote, row[5])) for row in rows] if "\\x22" in text else rows


def _json_rows(text: str) -> list[Row]:
    rows = [
        (time, kind, session, ip, port, data, code, marks, reason, amount)
        for time, kind, _, _, session, ip, port, data, code, marks, reason, amount in _JSON.findall(text)
    ]
    return [_with_data(row, _JSON_ESCAPE.sub(r"\1", row[5])) for row in rows] if "\\" in text else rows


def _with_data(row: Row, data: str) -> Row:
    return (*row[:5], data, *row[6:])


def _restore_quote(escape: re.Match[str]) -> str:
    return '"' if escape[1] == "x22" else escape[0]


def _scan_line_by_line(octets: bytes) -> tuple[list[Row], int]:
    rows: list[Row] = []
    damaged = 0
    for line in octets.split(b"\n")[:-1]:
        try:
            text = line.decode("ascii") + "\n"
            rows += (_json_rows(text) if text.startswith("{") else _text_rows(text)) or [_row(parse(text))]
        except ValueError:
            damaged += 1
    return rows, damaged


def _row(stamped: Stamped) -> Row:
    """Make a row of an event. Raises ValueError where the server cannot have written it."""
    event = stamped.event
    session, port = (str(number) if number else "" for number in (stamped.session, stamped.port))
    row = (stamped.time, NAMES[type(event)], session, stamped.ip, port, *_own_fields(event))
    if not _WHOLE_TIME.fullmatch(stamped.time) or not all(value.isascii() and value.isprintable() for value in row):
        raise ValueError("not a record of the server's")
    return row


def _own_fields(event: Event) -> tuple[str, str, str, str, str]:
    """Return data, code, marks, reason, amount."""
    match event:
        case Command():
            return escape(event.data), event.reply[:3].decode("ascii"), _marks(event), "", ""
        case Closed():
            return "", "", "", event.reason, str(event.duration_ms)
        case Refused():
            return "", "", "", event.reason, str(event.count)
        case Message():
            return "", "", "", "", str(event.octets)
        case Error():
            return event.message, "", "", "", str(event.lost)
        case SettingsChanged():
            return event.keys, "", "", event.by, ""
        case Monitor():
            return event.user, "", "", event.action, ""
        case Online() | Offline():
            return "", "", "", event.by, ""
        case Connected():
            return "", "", "", "", ""


def _marks(event: Command) -> str:
    marks = (("eol=lf", event.eol_lf), ("pregreet=true", event.pregreet), ("pipelined=true", event.pipelined))
    truncated = f" truncated_octets={event.truncated_octets}" if event.truncated_octets else ""
    return "".join([f" {mark}" for mark, holds in marks if holds]) + truncated
