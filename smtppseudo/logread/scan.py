r"""The scanner: reads blocks of log lines, in both formats, fast.

A `Row` is a plain tuple of strings, because there are millions of them. Unpack it whole:

    for time, kind, session, ip, port, data, code, marks, reason, amount, mails, server in rows: ...

- `time`: always of the shape `2026-11-24T13:54:36.350Z`, so times compare as strings
- `kind`: the event's name: `connected`, `command`, `closed`, `turned_away`, `message`, `online`, ...
- `session`, `port`: decimal; empty if the event belongs to no session
- `ip`: the address as in the line; may be empty, or no address if somebody edited the log
- `data`: of `command`, the line that the caller sent, escaped (`events.unescape` returns the bytes); of `connected`,
  the address of the server, if it is logged
- `code`: of `command`, three digits
- `marks`: of `command`, a text that contains the names of its other fields: `eol`, `pregreet`, `pipelined`, ...
- `reason`: of `closed` and `turned_away`
- `amount`: decimal; of `closed` `duration_ms`, of `turned_away` `count`, of `error` `lost`, of `Suppressed` lines
- `mails`: of `closed`, decimal, `mails_refused`; empty in logs of servers that did not count them
- `server`: the name of the server, if it has one

A field that does not apply is empty, and all is printable ASCII. Session ids start again at 1 with each start of a
server, and several servers give the same ids: server, session, ip and port together identify a session, from
`connected` to `closed`. An event that this version does not know has a row of its kind, without `data` to `mails`.

A row of the kind `Suppressed` is no event: journald's rate limit dropped `amount` lines before the next row.
"""

import re
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Final, TypeAlias

from smtppseudo.events import Closed, Command, Connected, Error, TurnedAway
from smtppseudo.log.records import KINDS, TIME, event_of, place_of, read_record, restore_text

Row: TypeAlias = tuple[str, str, str, str, str, str, str, str, str, str, str, str]
_Match: TypeAlias = Callable[[str], re.Match[str] | None]

# Quantifiers are possessive: nothing is tried twice.
_NUMBER: Final = r"(?:0|[1-9]\d{0,17}+)"
_ID: Final = r"([1-9]\d{0,17}+)"
_ADDRESS: Final = r"([\w.:%-]*+)"  # it stands in the place of `data`, which is restored
_JSON_ESCAPE: Final = re.compile(r'\\(["\\])')


@cache
def _format(*, is_json: bool) -> tuple[int, Mapping[str, _Match], Callable[[str], str]]:
    """Return how to read the usual lines of a format: four kinds, which the third letter of their names tells apart.

    First, where that letter stands in a line. Then a function for each letter: the groups of its match are the row, in
    order, with an empty group for each field that the kind lacks. Last, what removes the escapes in `data`.
    """
    if is_json:
        time, kind, after, end = '{"time":"', '","event":"', '"', "}"
        plain = r"[ !#-[\]-~]*+"
        reply = rf'{plain}(?:\\["\\]{plain})*+'
        data = f"({reply})"
    else:
        time, kind, after, end = "", " ", "", ""
        plain, quoted = r"[!#-<>-~]*+", r"[ !#-~]*+"
        reply = f'(?:"{quoted}"|{plain})'
        # A group without its quotes: after a quote up to the next one, or after `=` up to the space.
        data = f'"?+((?<="){quoted}(?=")|(?<==){plain}(?= ))"?+'
    match = {
        name[2]: re.compile(f"{time}({TIME}){kind}({name}){after}{own}{end}", re.ASCII).fullmatch
        for name, own in _fields(plain, data, reply, is_json=is_json).items()
    }
    letter = len(f"{time}2026-11-24T13:54:36.350Z{kind}co")
    return letter, match, partial(_JSON_ESCAPE.sub, r"\1") if is_json else restore_text


def _fields(plain: str, data: str, reply: str, *, is_json: bool) -> dict[str, str]:
    """Return patterns of the fields of each kind. The arguments are patterns of texts."""

    def number(name: str, pattern: str = _NUMBER) -> str:
        return f',"{name}":{pattern}' if is_json else f" {name}={pattern}"

    def text(name: str, pattern: str) -> str:
        return number(name, f'"{pattern}"' if is_json else pattern)

    def optional(*fields: str) -> str:
        return "".join(f"(?:{field})?" for field in fields)

    ip, amount, server = text("ip", f"({plain})"), f"({_NUMBER})", optional(text("server", f"({plain})"))
    place = number("slot") + number("session", _ID) + ip + number("port", _ID)
    said = text("data", data) + number("code", r"([1-9]\d\d)") + text("reply", reply)
    marks = optional(text("eol", "lf"), number("pregreet", "true"), number("pipelined", "true"))
    marks += optional(number("truncated_bytes"), number("more_lines"))
    sizes = number("received_bytes") + number("sent_bytes") + number("commands")
    sizes += optional(number("mails_refused", amount), number("not_logged"))
    return {
        "command": f"{place}{said}({marks})()()(){server}",
        "connected": f"{place}{number('local_port')}{optional(text('local_ip', _ADDRESS))}()()()()(){server}",
        "closed": f"{place}()()(){text('reason', '([a-z_]+)')}{number('duration_ms', amount)}{sizes}{server}",
        "turned_away": f"(){optional(ip)}()()()(){text('reason', '([a-z]+)')}{number('count', amount)}(){server}",
    }


_CODE: Final = re.compile(r"(?:\d\d\d)?", re.ASCII)
_AMOUNT: Final = re.compile(r"\d{0,18}", re.ASCII)
SUPPRESSED: Final = "Suppressed"  # not the name of an event: those are lower case
# As `journalctl -o cat` prints it
_SUPPRESSED: Final = re.compile(r"Suppressed (\d{1,18}) messages from \S+", re.ASCII)


def scan(data: bytes) -> tuple[list[Row], int]:
    """Read lines, each with its LF; return their rows and the number of damaged lines, which have no row."""
    letter, match_of, restore = _format(is_json=data.startswith(b"{"))
    lines = data.decode("latin-1").split("\n")
    lines.pop()  # what follows the last LF: nothing
    rows: list[Row] = []
    suppressed: list[tuple[int, str]] = []
    for line in lines:
        try:
            match = match_of[line[letter]](line)
        except LookupError:  # an unusual kind, or a short line
            match = None
        if match is not None:
            row: Row = match.groups("")  # type: ignore[assignment]
            rows.append((*row[:5], restore(row[5]), *row[6:]) if "\\" in row[5] else row)
        elif other := _row_of_line(line):
            rows.append(other)
        elif match := _SUPPRESSED.fullmatch(line):
            suppressed.append((len(rows), match[1]))
    for place, amount in reversed(suppressed if rows else ()):  # without another row there is no time for them
        time = rows[min(place, len(rows) - 1)][0]
        rows.insert(place, (time, SUPPRESSED, "", "", "", "", "", "", "", amount, "", ""))
    return rows, len(lines) - len(rows)


def _row_of_line(line: str) -> Row | None:
    """Return the row of any line; None if it is damaged."""
    if not line.isascii():
        return None
    try:
        record = read_record(line)
        event = event_of(record) if record["event"] in KINDS else None
        _, session, ip, port = place_of(record)
    except ValueError:
        return None
    data = code = marks = reason = amount = ""
    if isinstance(event, Command):
        data, code = event.data, event.reply.partition(" ")[0]
        marks = " ".join([name for name in Command._fields[2:] if getattr(event, name)])
    elif isinstance(event, Connected):
        data = event.local_ip
    elif isinstance(event, Closed):
        reason, amount = event.reason, str(event.duration_ms)
    elif isinstance(event, TurnedAway):
        reason, amount = event.reason, str(event.count)
    elif isinstance(event, Error):
        amount = str(event.lost)
    mails, server = (str(record.get(name, "")) for name in ("mails_refused", "server"))
    own = (data, code, marks, reason, amount, mails, server)
    row = (record["time"], record["event"], str(session or ""), ip, str(port or ""), *own)
    whole = "".join(row)
    is_plain = whole.isascii() and whole.isprintable()
    return (
        row if is_plain and _CODE.fullmatch(code) and _AMOUNT.fullmatch(amount) and _AMOUNT.fullmatch(mails) else None
    )
