r"""Records: a stamped event as one line of a log, and back.

Text is logfmt: ``time event key=value ...``. A value that is empty or contains a space, ``=`` or ``"`` stands in
double quotes; a ``"`` in it is ``\x22``. JSON is one object a line, with the same fields in the same order. Fields
without a value (slot 0, port 0, ...) are left out. If the server has a name, the last field of every record is
`server`.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from smtppseudo.events import NAMES, Closed, Command, Connected, Event, Stamped, escape, unescape

if TYPE_CHECKING:
    from smtppseudo.config.settings import LogFormat

Value: TypeAlias = str | int | bool
Renderer: TypeAlias = Callable[[Iterable[Stamped]], list[str]]

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
TIME: Final = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
_TIME: Final = re.compile(TIME, re.ASCII)
_EVENT: Final = re.compile(r"[a-z_]+")
_TEXT: Final = re.compile(r'(\S+) (\S+)((?: [a-z_]+=(?:"[^"]*"|[^ "=]*))+)')
_PAIR: Final = re.compile(r' ([a-z_]+)=(?:"([^"]*)"|([^ "=]*))')
_ESCAPE: Final = re.compile(r"\\(?:\\|x22)")
_UNPRINTABLE: Final = re.compile(r"[^ -~]")


def fields(stamped: Stamped) -> Iterator[tuple[str, Value]]:
    """Yield every field of an event after `time` and `event`, in the documented order."""
    for name in ("slot", "session", "ip", "port"):
        value = getattr(stamped, name)
        if value:
            yield name, value
    event = stamped.event
    if isinstance(event, Command):
        yield from _command_fields(event)
        return
    for name, value in event._asdict().items():
        if value or name not in _OMITTED_IF_ZERO:
            yield name, value


_OMITTED_IF_ZERO: Final = ("lost", "not_logged")


def _command_fields(event: Command) -> Iterator[tuple[str, Value]]:
    yield "data", escape(event.data)
    yield "code", int(event.reply[:3])
    yield "reply", escape(event.reply[4:])
    if event.eol_lf:
        yield "eol", "lf"
    if event.pregreet:
        yield "pregreet", True
    if event.pipelined:
        yield "pipelined", True
    if event.truncated_bytes:
        yield "truncated_bytes", event.truncated_bytes


def render_text(batch: Iterable[Stamped]) -> list[str]:
    """Render events as logfmt lines, LF included."""
    lines = []
    for stamped in batch:
        # The lines of every session have their own code, which takes a quarter of the time of `_render_any`. A test
        # compares the two.
        _, time, slot, session, ip, port, event = stamped
        if isinstance(event, Command) and event[2:] == _UNMARKED:
            reply = event.reply
            line = (
                f"{time} command slot={slot} session={session} ip={ip} port={port} data={_quoted(escape(event.data))}"
                f" code={reply[:3].decode()} reply={_quoted(escape(reply[4:]))}\n"
            )
        elif isinstance(event, Connected):
            line = f"{time} connected slot={slot} session={session} ip={ip} port={port} local_port={event.local_port}\n"
        elif isinstance(event, Closed) and not event.not_logged:
            line = (
                f"{time} closed slot={slot} session={session} ip={ip} port={port} reason={event.reason}"
                f" duration_ms={event.duration_ms} received_bytes={event.received_bytes}"
                f" sent_bytes={event.sent_bytes} commands={event.commands}\n"
            )
        else:
            line = _render_any(stamped)
        lines.append(line)
    return lines


_UNMARKED: Final = Command(b"", b"")[2:]


def _render_any(stamped: Stamped) -> str:
    pairs = "".join([f" {name}={_text_value(value)}" for name, value in fields(stamped)])
    return f"{stamped.time} {NAMES[type(stamped.event)]}{pairs}\n"


def render_json(batch: Iterable[Stamped]) -> list[str]:
    """Render events as JSON objects, LF included."""
    return [f"{{{members}}}\n" for members in json_members(batch)]


def renderer(log_format: "LogFormat", server_name: str) -> Renderer:
    """Return the function that renders events as lines of a log; a `server_name` is the last field of each."""
    render: Renderer = render_json if log_format == "json" else render_text
    if not server_name:
        return render
    old_end, new_end = "\n", f" server={server_name}\n"
    if log_format == "json":
        old_end, new_end = "}\n", f',"server":"{server_name}"}}\n'
    return lambda batch: [line.removesuffix(old_end) + new_end for line in render(batch)]


def render_record(record: Mapping[str, object]) -> str:
    """Render the fields of a record as `render_text` renders the event, LF included.

    Unknown events and fields are rendered, too. The line is printable ASCII, no matter what the server sent.
    """
    pairs = [f" {name}={_any_value(value)}" for name, value in record.items() if name not in ("time", "event")]
    return _UNPRINTABLE.sub(_escape_character, f"{record['time']} {record['event']}{''.join(pairs)}") + "\n"


def _escape_character(character: re.Match[str]) -> str:
    return escape(character[0].encode("utf-8", "surrogatepass"))


def json_members(batch: Iterable[Stamped]) -> list[str]:
    """Render events as the members of a JSON object, without the braces."""
    members = []
    for stamped in batch:
        # As in render_text, and for the same reason.
        _, time, slot, session, ip, port, event = stamped
        origin = f'"slot":{slot},"session":{session},"ip":"{ip}","port":{port}'
        if isinstance(event, Command) and event[2:] == _UNMARKED:
            reply = event.reply
            line = (
                f'"time":"{time}","event":"command",{origin},"data":{_json_string(escape(event.data))}'
                f',"code":{reply[:3].decode()},"reply":{_json_string(escape(reply[4:]))}'
            )
        elif isinstance(event, Connected):
            line = f'"time":"{time}","event":"connected",{origin},"local_port":{event.local_port}'
        elif isinstance(event, Closed) and not event.not_logged:
            line = (
                f'"time":"{time}","event":"closed",{origin},"reason":"{event.reason}"'
                f',"duration_ms":{event.duration_ms},"received_bytes":{event.received_bytes}'
                f',"sent_bytes":{event.sent_bytes},"commands":{event.commands}'
            )
        else:
            pairs = "".join([f',"{name}":{_json_value(value)}' for name, value in fields(stamped)])
            line = f'"time":"{time}","event":"{NAMES[type(event)]}"{pairs}'
        members.append(line)
    return members


def parse(line: str) -> Stamped:
    """Return the event on one line of either format; the LF may be missing. `seq` is 0 if the line has none.

    Unknown fields are ignored. Raises ValueError if the line is not a whole record, or the event is unknown.
    """
    record = read_record(line)
    return Stamped(_int(record.get("seq", 0)), record["time"], *place_of(record), event_of(record))


def read_record(line: str) -> dict[str, Any]:
    """Return the fields of one line, `time` and `event` included, with the names of this version.

    The event may be unknown. Raises ValueError if the line is not a whole record.
    """
    record = _read_json(line) if line.startswith("{") else _read_text(line)
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


def _read_text(line: str) -> dict[str, Any]:
    match = _TEXT.fullmatch(line.removesuffix("\n"))
    if match is None:
        raise ValueError(f"not a record: {line[:40]!r}")
    time, event, pairs = match.groups()
    own = {name: bare or _ESCAPE.sub(_restore_quote, quoted) for name, quoted, bare in _PAIR.findall(pairs)}
    return {"time": time, "event": event, **own}


def _restore_quote(escaped: re.Match[str]) -> str:
    return '"' if escaped[0] == "\\x22" else escaped[0]


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
        return _command(record) if kind is Command else _event(kind, record)
    except (KeyError, TypeError) as error:
        raise ValueError(f"a {name} record without {error}") from None


def _command(record: Mapping[str, Any]) -> Command:
    return Command(
        data=unescape(str(record["data"])),
        reply=f"{record['code']} ".encode("ascii") + unescape(str(record["reply"])),
        eol_lf="eol" in record,
        pregreet="pregreet" in record,
        pipelined="pipelined" in record,
        truncated_bytes=_int(record.get("truncated_bytes", 0)),
    )


def _event(kind: type[Event], record: Mapping[str, Any]) -> Event:
    own = {
        name: _int(record[name]) if type_ is int else str(record[name])
        for name, type_ in kind.__annotations__.items()
        if name in record
    }
    return kind(**own)  # type: ignore[arg-type]


def _int(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, OverflowError):
        raise ValueError(f"not a whole number: {value!a:.40}") from None


def _json_value(value: Value) -> str:
    if value is True:
        return "true"
    return _json_string(value) if isinstance(value, str) else str(value)


def _json_string(text: str) -> str:
    """Render printable ASCII as a JSON string."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _text_value(value: Value) -> str:
    if value is True:
        return "true"
    return _quoted(value) if isinstance(value, str) else str(value)


def _any_value(value: object) -> str:
    if isinstance(value, str | int) and value is not False:
        return _text_value(value)
    import json  # noqa: PLC0415 - as in _read_json

    return _quoted(json.dumps(value))


def _quoted(text: str) -> str:
    if '"' in text:
        text = text.replace('"', "\\x22")
    elif text and " " not in text and "=" not in text:
        return text
    return f'"{text}"'
