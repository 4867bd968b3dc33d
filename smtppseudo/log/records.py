r"""Records: an event as one line of a log, and back.

Text is logfmt: ``time event key=value ...``. A value that is empty or contains a space, ``=`` or ``"`` stands in
double quotes; a ``"`` in it is ``\x22``. JSON is one object a line, with the same fields in the same order. Fields
without a value (slot 0, port 0, ...) are left out. If the server has a name, the last field of every record is
`server`.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from smtppseudo.events import NAMES, Closed, Command, Connected, Entry, Event, escape, printable, split_origin, unescape

if TYPE_CHECKING:
    from smtppseudo.config.settings import LogFormat

Value: TypeAlias = str | int | bool
Renderer: TypeAlias = Callable[[Iterable[Entry]], list[str]]

# The names of commit 6869f68, which older servers log and stream.
OLD_EVENTS: Final = {"refused": "turned_away"}
OLD_FIELDS: Final = {
    "received_octets": "received_bytes",
    "sent_octets": "sent_bytes",
    "truncated_octets": "truncated_bytes",
    "octets": "bytes",
    "left_out": "not_logged",
}

KINDS: Final[dict[str, type[Event]]] = {name: kind for kind, name in NAMES.items()}
_LEAP_YEAR: Final = r"(?:\d\d(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)"
_DAY: Final = (
    r"(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\d|30)|02-(?:0[1-9]|1\d|2[0-8])"
    rf"|(?<={_LEAP_YEAR}-)02-29)"
)
# Matches only times that exist, so that readers need not expect others. The server writes no leap seconds.
TIME: Final = rf"(?!0000)\d{{4}}-{_DAY}T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{{3}}Z"
_TIME: Final = re.compile(TIME, re.ASCII)
_EVENT: Final = re.compile(r"[a-z_]+")
_TEXT: Final = re.compile(r'(\S+) (\S+)((?: [a-z_]+=(?:"[^"]*"|[^ "=]*))+)')
_PAIR: Final = re.compile(r' ([a-z_]+)=(?:"([^"]*)"|([^ "=]*))')
_ESCAPE: Final = re.compile(r"\\(\\|x22)")


def fields(event: Event) -> Iterator[tuple[str, Value]]:
    """Yield the own fields of an event, those after its origin, in the documented order."""
    if isinstance(event, Command):
        yield "data", event.data
        yield "code", int(event.reply[:3])
        yield "reply", event.reply[4:]
        yield from _marks(event)
        return
    for name, value in event._asdict().items():
        if value or name not in _OMITTED_IF_EMPTY:
            yield name, value


_OMITTED_IF_EMPTY: Final = ("local_ip", "lost", "not_logged", "version", "cipher", "failure", "changes")


def _marks(event: Command) -> Iterator[tuple[str, Value]]:
    if event.eol_lf:
        yield "eol", "lf"
    for name in Command._fields[3:]:
        if value := getattr(event, name):
            yield name, value


def render_text(entries: Iterable[Entry], end: str) -> list[str]:
    """Render events as logfmt lines; `end` is the end of each line, LF included."""
    lines = []
    for time, origin, events in entries:
        for event in events:
            # The lines of every session have their own code: `fields` would add a third to a session's instructions. A
            # test compares the two.
            if isinstance(event, Command):
                data, reply, eol_lf, pregreet, pipelined, truncated_bytes, more_lines = event
                text = reply[4:]
                # Most have a space and no quotes. Not to call `_quoted` for them saves 2 % of a session's instructions.
                data = f'"{data}"' if " " in data and '"' not in data else _quoted(data)
                text = f'"{text}"' if " " in text and '"' not in text else _quoted(text)
                if eol_lf or pregreet or pipelined or truncated_bytes:
                    marks = _text_pairs(_marks(event))
                else:
                    marks = f" more_lines={more_lines}" if more_lines else ""
                line = f"{time} command{origin} data={data} code={reply[:3]} reply={text}{marks}{end}"
            elif isinstance(event, Connected) and not event.local_ip:
                line = f"{time} connected{origin} local_port={event.local_port}{end}"
            elif isinstance(event, Closed) and not event.not_logged:
                line = f"{time} closed{origin}{_CLOSED_TEXT % event[:-1]}{end}"
            else:
                line = f"{time} {NAMES[type(event)]}{origin}{_text_pairs(fields(event))}{end}"
            lines.append(line)
    return lines


# All fields but `not_logged`
_CLOSED_TEXT: Final = "".join([f" {name}=%s" for name in Closed._fields[:-1]])
_CLOSED_JSON: Final = ',"reason":"%s"' + "".join([f',"{name}":%s' for name in Closed._fields[1:-1]])


def _text_pairs(pairs: Iterable[tuple[str, Value]]) -> str:
    return "".join([f" {name}={_rendered(value, _quoted)}" for name, value in pairs])


def renderer(log_format: "LogFormat", server_name: str) -> Renderer:
    """Return the function that renders events as lines of a log; a `server_name` is the last field of each."""
    if log_format == "json":
        json_end = f',"server":"{server_name}"}}\n' if server_name else "}\n"
        return lambda entries: [f"{{{members}{json_end}" for members in json_members(entries)]
    text_end = f" server={server_name}\n" if server_name else "\n"
    return lambda entries: render_text(entries, text_end)


def render_record(record: Mapping[str, object]) -> str:
    """Render a record, even with unknown fields, as `render_text` renders an event: printable ASCII in any case."""
    pairs = [f" {name}={_any_value(value)}" for name, value in record.items() if name not in ("time", "event")]
    return printable(f"{record['time']} {record['event']}{''.join(pairs)}") + "\n"


def json_members(entries: Iterable[Entry]) -> list[str]:
    """Render events as the members of a JSON object, without the braces."""
    members = []
    for time, origin, events in entries:
        slot, session, ip, port = split_origin(origin)
        place = f',"slot":{slot},"session":{session}' if slot else ""
        if ip:
            place += f',"ip":"{ip}"'
        if port:
            place += f',"port":{port}'
        for event in events:
            # As in render_text, and for the same reason.
            if isinstance(event, Command):
                data, reply, *marks, more_lines = event
                line = (
                    f'"time":"{time}","event":"command"{place},"data":{_json_string(data)},"code":{reply[:3]}'
                    f',"reply":{_json_string(reply[4:])}'
                )
                if any(marks):
                    line += _json_pairs(_marks(event))
                elif more_lines:
                    line += f',"more_lines":{more_lines}'
            elif isinstance(event, Connected) and not event.local_ip:
                line = f'"time":"{time}","event":"connected"{place},"local_port":{event.local_port}'
            elif isinstance(event, Closed) and not event.not_logged:
                line = f'"time":"{time}","event":"closed"{place}{_CLOSED_JSON % event[:-1]}'
            else:
                line = f'"time":"{time}","event":"{NAMES[type(event)]}"{place}{_json_pairs(fields(event))}'
            members.append(line)
    return members


def _json_pairs(pairs: Iterable[tuple[str, Value]]) -> str:
    return "".join([f',"{name}":{_rendered(value, _json_string)}' for name, value in pairs])


def read_record(line: str) -> dict[str, Any]:
    """Return all fields of a line, of any event, by their current names. Raises ValueError if it is no whole record."""
    record: dict[str, Any] = {}
    if line.startswith("{"):
        record = _read_json(line)
    elif match := _TEXT.fullmatch(line.removesuffix("\n")):
        own = {name: bare or restore_text(quoted) for name, quoted, bare in _PAIR.findall(match[3])}
        record = {"time": match[1], "event": match[2], **own}
    time, event = str(record.get("time")), str(record.get("event"))
    is_cut = len(record) == len((time, event))  # every event has at least one more field
    if is_cut or not _TIME.fullmatch(time) or not _EVENT.fullmatch(event):
        raise ValueError(f"not a record: {line[:40]!r}")
    return with_current_names(record | {"time": time, "event": event})


def with_current_names(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record with current names instead of old ones."""
    event = record["event"]
    if event not in OLD_EVENTS and OLD_FIELDS.keys().isdisjoint(record):
        return record
    current = {OLD_FIELDS.get(name, name): value for name, value in record.items()}
    return {**current, "event": OLD_EVENTS.get(event, event)}


def restore_text(quoted: str) -> str:
    r"""Return a value of logfmt with ``"`` for each ``\x22`` that stands for one."""
    return _ESCAPE.sub(lambda escape: '"' if escape[1] == "x22" else escape[0], quoted)


def _read_json(line: str) -> dict[str, Any]:
    import json  # noqa: PLC0415 - 3 ms of start-up, only for readers of JSON logs

    try:
        record = json.loads(line)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if not isinstance(record, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - one kind of error for all damaged lines
    return record


def place_of(record: Mapping[str, Any]) -> tuple[int, int, str, int]:
    """Return slot, session, ip and port of a record; 0 or empty if it has none. Raises ValueError."""
    slot, session, port = (_int(record.get(name, 0)) for name in ("slot", "session", "port"))
    return slot, session, str(record.get("ip", "")), port


def event_of(record: Mapping[str, Any]) -> Event:
    """Return the event that a record describes. Raises ValueError if it is unknown, or a field is missing or wrong."""
    name = record["event"]
    kind = KINDS.get(name)
    if kind is None:
        raise ValueError(f"unknown event: {name}")
    try:
        if kind is Command:
            return _command(record)
        own = {
            field: _int(record[field]) if type_ is int else str(record[field])
            for field, type_ in kind.__annotations__.items()
            if field in record
        }
        return kind(**own)  # type: ignore[arg-type]
    except (KeyError, TypeError) as error:
        raise ValueError(f"a {name} record without {error}") from None


def _command(record: Mapping[str, Any]) -> Command:
    data, reply = _escaped(record["data"]), _escaped(f"{record['code']} {record['reply']}")
    eol_lf, pregreet, pipelined = (name in record for name in ("eol", "pregreet", "pipelined"))
    truncated_bytes, more_lines = (_int(record.get(name, 0)) for name in ("truncated_bytes", "more_lines"))
    return Command(data, reply, eol_lf, pregreet, pipelined, truncated_bytes, more_lines)


def _escaped(text: Any) -> str:
    """Return text as `escape` renders it, also if somebody else made the record. Raises ValueError."""
    return escape(unescape(str(text)))


def _int(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, OverflowError):
        raise ValueError(f"not a whole number: {value!a:.40}") from None


def _rendered(value: Value, quoted: Callable[[str], str]) -> str:
    return "true" if value is True else quoted(value) if isinstance(value, str) else str(value)


def _json_string(text: str) -> str:
    """Render printable ASCII as a JSON string."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _any_value(value: object) -> str:
    if isinstance(value, str | int) and value is not False:
        return _rendered(value, _quoted)
    import json  # noqa: PLC0415 - as in _read_json

    return _quoted(json.dumps(value))


def _quoted(text: str) -> str:
    if '"' in text:
        text = text.replace('"', "\\x22")
    elif text and " " not in text and "=" not in text:
        return text
    return f'"{text}"'
