r"""Records: a stamped event as one line of a log, and back.

Text is logfmt: ``time event key=value ...``. A value that is empty or holds a space, ``=`` or ``"`` stands
in double quotes; a ``"`` inside is ``\x22``. JSON is one object a line, ``time`` first, the same fields in
the same order. Numbers that are absent (slot 0, port 0, ...) are left out. If the server has a name, the last field
of every record is `server`.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from smtppseudo.events import NAMES, Closed, Command, Connected, Event, Stamped, escape, unescape

if TYPE_CHECKING:
    from smtppseudo.config.settings import LogFormat

Value: TypeAlias = str | int | bool
Renderer: TypeAlias = Callable[[Iterable[Stamped]], list[str]]

# The names of commit 6869f68, in logs and streams of servers of that time.
OLD_EVENTS: Final = {"refused": "turned_away"}
OLD_FIELDS: Final = {
    "received_octets": "received_bytes",
    "sent_octets": "sent_bytes",
    "truncated_octets": "truncated_bytes",
    "octets": "bytes",
    "left_out": "not_logged",
}

KINDS: Final[dict[str, type[Event]]] = {name: kind for kind, name in NAMES.items()}
_EVENT: Final = re.compile(r"[a-z_]+")
_ESCAPE: Final = re.compile(r"\\(?:\\|x22)")
_UNPRINTABLE: Final = re.compile(r"[^ -~]")
_PAIR: Final = re.compile(r' ([a-z_]+)=(?:"([^"]*)"|([^ "=]*))')


def fields(stamped: Stamped) -> Iterator[tuple[str, Value]]:
    """Yield every field of an event after `time` and `event`, in the order of the documents."""
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
        # The lines that every session has are written out, at a quarter of the cost of `_render_any`;
        # a test holds them to it.
        _, time, slot, session, ip, port, event = stamped
        if isinstance(event, Command) and event[2:] == _UNMARKED:
            reply = event.reply
            line = (
                f"{time} command slot={slot} session={session} ip={ip} port={port} data={_bytes_value(event.data)}"
                f" code={reply[:3].decode()} reply={_bytes_value(reply[4:])}\n"
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
    """Return the function that renders events as lines of a log. A `server_name` becomes the last field of each."""
    render: Renderer = render_json if log_format == "json" else render_text
    if not server_name:
        return render
    old_end, new_end = "\n", f" server={server_name}\n"
    if log_format == "json":
        old_end, new_end = "}\n", f',"server":"{server_name}"}}\n'
    return lambda batch: [line.removesuffix(old_end) + new_end for line in render(batch)]


def render_record(record: Mapping[str, object]) -> str:
    """Render what a JSON record holds as the line that `render_text` makes of the same event, LF included.

    A kind or a field that this version does not know is rendered all the same, and whatever the server sends,
    the line is printable ASCII.
    """
    pairs = [f" {name}={_any_value(value)}" for name, value in record.items() if name not in ("time", "event")]
    return _UNPRINTABLE.sub(_escape_character, f"{record['time']} {record['event']}{''.join(pairs)}") + "\n"


def _escape_character(character: re.Match[str]) -> str:
    return escape(character[0].encode("utf-8", "surrogatepass"))


def json_members(batch: Iterable[Stamped]) -> list[str]:
    """Render events as the members of a JSON object, `time` first, braces left out."""
    members = []
    for stamped in batch:
        # Written out as in render_text, for the same reason.
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
    """Return the event on one line of either format; the LF may be missing. `seq` is 0 unless the line holds it.

    Fields that this version does not know are ignored. Raises ValueError where the line is not a whole record, or the
    event is unknown.
    """
    fields = read_fields(line)
    return Stamped(_whole(fields.get("seq", 0)), fields["time"], *place_of(fields), event_of(fields))


def read_fields(line: str) -> dict[str, Any]:
    """Return every field of one line, `time` and `event` included, by the names of this version.

    The event may be unknown. Raises ValueError where the line is not a whole record.
    """
    fields = _json_fields(line) if line.startswith("{") else _text_fields(line)
    time, event = str(fields.get("time")), str(fields.get("event"))
    if len(time) != len("2026-01-01T00:00:00.000Z") or not _EVENT.fullmatch(event) or len(fields) == len((time, event)):
        raise ValueError(f"not a record: {line[:40]!r}")
    return with_current_names(fields | {"time": time, "event": event})


def with_current_names(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record, `event` among its fields, with the names of this version in place of old ones."""
    event = record["event"]
    if event not in OLD_EVENTS and OLD_FIELDS.keys().isdisjoint(record):
        return record
    current = {OLD_FIELDS.get(name, name): value for name, value in record.items()}
    return {**current, "event": OLD_EVENTS.get(event, event)}


def _text_fields(line: str) -> dict[str, Any]:
    line = line.removesuffix("\n")
    time, _, rest = line.partition(" ")
    name, _, tail = rest.partition(" ")
    values = {"time": time, "event": name}
    position = 0
    tail = " " + tail if tail else ""
    while position < len(tail):
        pair = _PAIR.match(tail, position)
        if pair is None:
            raise ValueError(f"no key=value at {tail[position : position + 40]!r}")
        position = pair.end()
        quoted = pair[2]
        values[pair[1]] = pair[3] if quoted is None else _ESCAPE.sub(_restore_quote, quoted)
    return values


def _restore_quote(escaped: re.Match[str]) -> str:
    return '"' if escaped[0] == "\\x22" else escaped[0]


def _json_fields(line: str) -> dict[str, Any]:
    import json  # noqa: PLC0415 - 3 ms of start-up, only for readers of JSON logs

    try:
        values = json.loads(line)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if not isinstance(values, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - a damaged line is one kind of error
    return values


def place_of(fields: Mapping[str, Any]) -> tuple[int, int, str, int]:
    """Return slot, session, ip and port of a record of any event; 0 or empty if it has none. Raises ValueError."""
    slot, session, port = (_whole(fields.get(name, 0)) for name in ("slot", "session", "port"))
    return slot, session, str(fields.get("ip", "")), port


def event_of(fields: Mapping[str, Any]) -> Event:
    """Return the event that the fields of a record describe. Raises ValueError if one is missing or wrong."""
    name = fields["event"]
    kind = KINDS.get(name)
    if kind is None:
        raise ValueError(f"unknown event: {name}")
    try:
        return _command(fields) if kind is Command else _event(kind, fields)
    except (KeyError, TypeError) as error:
        raise ValueError(f"a {name} record without {error}") from None


def _whole(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, OverflowError):
        raise ValueError(f"not a whole number: {value!a:.40}") from None


def _command(fields: Mapping[str, Any]) -> Command:
    return Command(
        data=unescape(str(fields["data"])),
        reply=f"{fields['code']} ".encode("ascii") + unescape(str(fields["reply"])),
        eol_lf="eol" in fields,
        pregreet="pregreet" in fields,
        pipelined="pipelined" in fields,
        truncated_bytes=_whole(fields.get("truncated_bytes", 0)),
    )


def _event(kind: type[Event], fields: Mapping[str, Any]) -> Event:
    own = {
        name: _whole(fields[name]) if type_ is int else str(fields[name])
        for name, type_ in kind.__annotations__.items()
        if name in fields
    }
    return kind(**own)  # type: ignore[arg-type]


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
    import json  # noqa: PLC0415 - as in _json_fields

    return _quoted(json.dumps(value))


def _bytes_value(data: bytes) -> str:
    return _quoted(escape(data))


def _quoted(text: str) -> str:
    if '"' in text:
        text = text.replace('"', "\\x22")
    elif text and " " not in text and "=" not in text:
        return text
    return f'"{text}"'
