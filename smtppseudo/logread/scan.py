r"""Scanning: the records in a block of log lines, of both formats in any mix, fast.

A `Row` is a plain tuple of strings, for there are millions of them; unpack it whole:

    for time, kind, session, ip, port, data, code, marks, reason, amount, server in rows: ...

- `time`: always of the shape `2026-11-24T13:54:36.350Z`, so times compare as strings
- `kind`: the event's name: `connected`, `command`, `closed`, `turned_away`, `message`, `online`, ...
- `session`, `port`: decimal; empty where the event belongs to no session
- `ip`: the address as the line has it, perhaps empty; no address at all where somebody edited the log
- `data`: of `command` what was sent, escaped as the line has it (`events.unescape` gives the bytes)
- `code`: of `command`, three digits
- `marks`: of `command`, what else it holds, as the line has it: ` eol=lf pregreet=true` or `,"pipelined":true`
- `reason`: of `closed` and `turned_away`
- `amount`: decimal; of `closed` `duration_ms`, of `turned_away` `count`, of `error` `lost`
- `server`: the name of the server, if it has one

A field that does not apply is empty, and all is printable ASCII. Session ids start again at 1 with each start of a
server, and several servers give the same ids: server, session, ip and port together identify a session, from
`connected` to `closed`. An event that this version does not know has a row of its kind, without `data` to `amount`.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from smtppseudo.events import Closed, Command, Error, Event, TurnedAway, escape
from smtppseudo.log.records import KINDS, place_of, read_fields, record_of

Row: TypeAlias = tuple[str, str, str, str, str, str, str, str, str, str, str]

# The lines that there are many of are read by one expression for each format. In it the empty groups behind the kind
# say which fields must follow, and the last group takes a line that is none of these, whole: `records.parse` decides
# whether that is damaged.
_TIME: Final = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
_KIND: Final = r"(command()|connected()|closed)"
_NUMBER: Final = r"\d{1,18}+"  # possessive, as all that follow: nothing is tried twice
_BARE: Final = r"[!#-<>-~]*+"
_PLAIN: Final = r"[ !#-[\]-~]*+"
_TEXT: Final = re.compile(
    rf"^(?:({_TIME}) (?:{_KIND} slot={_NUMBER} session=({_NUMBER}) ip=({_BARE}) port=({_NUMBER}) "
    rf'(?(3)data=(?:"({_PLAIN})"|("[ !#-~]*+"|{_BARE})) code=(\d\d\d) reply=(?:"[ !#-~]*+"|{_BARE})'
    rf"((?: eol=lf)?(?: pregreet=true)?(?: pipelined=true)?(?: truncated_bytes={_NUMBER})?)"
    rf"|(?(4)local_port={_NUMBER}|reason=([a-z]+) duration_ms=({_NUMBER}) received_bytes={_NUMBER}"
    rf" sent_bytes={_NUMBER} commands={_NUMBER}(?: not_logged={_NUMBER})?))"
    rf"|turned_away(?: ip=({_BARE}))? reason=([a-z]+) count=({_NUMBER}))(?: server=({_BARE}))?|(.*))\n",
    re.ASCII | re.MULTILINE,
)
_COUNT: Final = r"(?:0|[1-9]\d{0,17})"  # JSON allows no leading zeros
_STRING: Final = rf'{_PLAIN}(?:\\["\\]{_PLAIN})*'
_JSON: Final = re.compile(
    rf'^(?:{{"time":"({_TIME})","event":"(?:{_KIND}","slot":{_COUNT},"session":({_COUNT}),"ip":"({_PLAIN})",'
    rf'"port":({_COUNT}),(?(3)"data":"(?:({_PLAIN})|({_STRING}))","code":([1-9]\d\d),"reply":"{_STRING}"'
    rf'((?:,"eol":"lf")?(?:,"pregreet":true)?(?:,"pipelined":true)?(?:,"truncated_bytes":{_COUNT})?)'
    rf'|(?(4)"local_port":{_COUNT}|"reason":"([a-z]+)","duration_ms":({_COUNT}),"received_bytes":{_COUNT},'
    rf'"sent_bytes":{_COUNT},"commands":{_COUNT}(?:,"not_logged":{_COUNT})?))'
    rf'|turned_away"(?:,"ip":"({_PLAIN})")?,"reason":"([a-z]+)","count":({_COUNT}))'
    rf'(?:,"server":"({_PLAIN})")?}}|(.*))\n',
    re.ASCII | re.MULTILINE,
)
_WHOLE_TIME: Final = re.compile(_TIME, re.ASCII)
_CODE: Final = re.compile(r"(?:\d\d\d)?", re.ASCII)
_AMOUNT: Final = re.compile(r"\d{0,18}", re.ASCII)
_TEXT_QUOTE: Final = re.compile(r"\\(\\|x22)")
_JSON_ESCAPE: Final = re.compile(r'\\(["\\])')
_NOTHING: Final = ("", "", "", "", "")
_NO_ROW: Final[Row] = ("", "", "", "", "", "", "", "", "", "", "")  # in place of a damaged line


def scan(data: bytes) -> tuple[list[Row], int]:
    """Read lines, each with its LF; return their rows, and how many lines were damaged and are left out."""
    text = data.decode("latin-1")  # what is not ASCII makes no row
    rows = _rows(text, _JSON if text.startswith("{") else _TEXT)
    lines = len(rows)
    if _NO_ROW in rows:
        rows = [row for row in rows if row[0]]
    return rows, lines - len(rows)


def _rows(text: str, expression: re.Pattern[str]) -> list[Row]:
    """Make a row of every line, `_NO_ROW` of one that is damaged."""
    restored = _restore_json if expression is _JSON else _restore_text
    return [
        (
            time,
            kind or "turned_away",
            session,
            ip or refused_ip,
            port,
            data or (escaped and restored(escaped)),
            code,
            marks,
            reason or refused_reason,
            amount or count,
            server,
        )
        if time
        else _row_of_line(line, expression)
        for (
            time, kind, _, _, session, ip, port, data, escaped, code, marks, reason, amount,
            refused_ip, refused_reason, count, server, line,
        ) in expression.findall(text)
    ]  # fmt: skip


def _restore_text(value: str) -> str:
    return _TEXT_QUOTE.sub(_restore_quote, value[1:-1]) if value.startswith('"') else value


def _restore_quote(escape: re.Match[str]) -> str:
    return '"' if escape[1] == "x22" else escape[0]


def _restore_json(value: str) -> str:
    return _JSON_ESCAPE.sub(r"\1", value)


def _row_of_line(line: str, expression: re.Pattern[str]) -> Row:
    """Make a row of a line that an expression does not know."""
    other = _JSON if line.startswith("{") else _TEXT
    if other is not expression:
        return _rows(line + "\n", other)[0]
    try:
        return _row(read_fields(line)) if line.isascii() else _NO_ROW
    except ValueError:
        return _NO_ROW


def _row(fields: Mapping[str, Any]) -> Row:
    """Make a row of the fields of a line. Raises ValueError where no server can have written it."""
    kind = fields["event"]
    own = _own_fields(record_of(fields).event) if kind in KINDS else _NOTHING
    _, session, ip, port = place_of(fields)
    server = str(fields.get("server", ""))
    row = (fields["time"], kind, str(session or ""), ip, str(port or ""), *own, server)
    is_plain = all(value.isascii() and value.isprintable() for value in row)
    if not (is_plain and _WHOLE_TIME.fullmatch(row[0]) and _CODE.fullmatch(row[6]) and _AMOUNT.fullmatch(row[9])):
        raise ValueError("not a record of the server's")
    return row


def _own_fields(event: Event) -> tuple[str, str, str, str, str]:
    """Return data, code, marks, reason, amount: those that a feed counts."""
    match event:
        case Command():
            return escape(event.data), event.reply.partition(b" ")[0].decode("ascii"), _marks(event), "", ""
        case Closed():
            return "", "", "", event.reason, str(event.duration_ms)
        case TurnedAway():
            return "", "", "", event.reason, str(event.count)
        case Error():
            return "", "", "", "", str(event.lost)
        case _:
            return _NOTHING


def _marks(event: Command) -> str:
    marks = (("eol=lf", event.eol_lf), ("pregreet=true", event.pregreet), ("pipelined=true", event.pipelined))
    truncated = f" truncated_bytes={event.truncated_bytes}" if event.truncated_bytes else ""
    return "".join([f" {mark}" for mark, holds in marks if holds]) + truncated
