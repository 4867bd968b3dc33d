r"""Records: a stamped event as one line of a log, and back.

Text is logfmt: ``time event key=value ...``. A value that is empty or holds a space, ``=`` or ``"`` stands
in double quotes; a ``"`` inside is ``\x22``. JSON is one object a line, ``time`` first, the same fields in
the same order. Numbers that are absent (slot 0, port 0, ...) are left out.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, TypeAlias

from smtppseudo.events import NAMES, Closed, Command, Connected, Event, Stamped, escape, unescape

Value: TypeAlias = str | int | bool

_KINDS: Final[dict[str, type[Event]]] = {name: kind for kind, name in NAMES.items()}
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
    """Read one line of either format; the LF may be gone. `seq` is 0 unless the line holds it.

    Raises ValueError where the line is not a whole record.
    """
    return _parse_json(line) if line.startswith("{") else _parse_text(line)


def _parse_text(line: str) -> Stamped:
    line = line.removesuffix("\n")
    time, _, rest = line.partition(" ")
    name, _, tail = rest.partition(" ")
    values: dict[str, Value] = {}
    position = 0
    tail = " " + tail if tail else ""
    while position < len(tail):
        pair = _PAIR.match(tail, position)
        if pair is None:
            raise ValueError(f"no key=value at {tail[position : position + 40]!r}")
        position = pair.end()
        quoted = pair[2]
        values[pair[1]] = pair[3] if quoted is None else _ESCAPE.sub(_restore_quote, quoted)
    return _rebuild(time, name, values)


def _restore_quote(escaped: re.Match[str]) -> str:
    return '"' if escaped[0] == "\\x22" else escaped[0]


def _parse_json(line: str) -> Stamped:
    import json  # noqa: PLC0415 - 3 ms of start-up, for readers of JSON logs alone

    try:
        record = json.loads(line)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if not isinstance(record, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - a damaged line is one kind of error
    return _rebuild(str(record.pop("time", "")), str(record.pop("event", "")), record)


def _rebuild(time: str, name: str, values: dict[str, Value]) -> Stamped:
    kind = _KINDS.get(name)
    if kind is None or len(time) != len("2026-01-01T00:00:00.000Z"):
        raise ValueError(f"not a record: {name!r}")
    try:
        seq, slot, session, port = (int(values.pop(key, 0)) for key in ("seq", "slot", "session", "port"))
        ip = str(values.pop("ip", ""))
        event = _command(values) if kind is Command else _event(kind, values)
    except (KeyError, TypeError) as error:
        raise ValueError(f"a {name} record without {error}") from None
    except OverflowError:
        raise ValueError(f"a {name} record with an infinite number") from None
    return Stamped(seq, time, slot, session, ip, port, event)


def _command(values: Mapping[str, Value]) -> Command:
    return Command(
        data=unescape(str(values["data"])),
        reply=f"{values['code']} ".encode("ascii") + unescape(str(values["reply"])),
        eol_lf="eol" in values,
        pregreet="pregreet" in values,
        pipelined="pipelined" in values,
        truncated_bytes=int(values.get("truncated_bytes", 0)),
    )


def _event(kind: type[Event], values: Mapping[str, Value]) -> Event:
    types = kind.__annotations__
    typed = {name: int(value) if types[name] is int else str(value) for name, value in values.items()}
    return kind(**typed)  # type: ignore[arg-type]


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
    import json  # noqa: PLC0415 - as in _parse_json

    return _quoted(json.dumps(value))


def _bytes_value(data: bytes) -> str:
    return _quoted(escape(data))


def _quoted(text: str) -> str:
    if '"' in text:
        text = text.replace('"', "\\x22")
    elif text and " " not in text and "=" not in text:
        return text
    return f'"{text}"'
