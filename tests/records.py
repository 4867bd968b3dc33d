"""Records as lines of a log, from stamped events."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from smtppseudo.config.settings import LogFormat
from smtppseudo.events import Batch, Command, Entry, Event, escape, origin_of
from smtppseudo.log import records


class Stamped(NamedTuple):
    """An event that was read, with its time and its origin.

    `seq` is 0 if the record has none. `slot` and `session` are 0, `ip` is empty and `port` 0 if the event belongs to
    no session or address.
    """

    seq: int
    time: str
    slot: int
    session: int
    ip: str
    port: int
    event: Event


def parse(line: str) -> Stamped:
    """Return the event on one line of either format; the LF may be missing. `seq` is 0 if the line has none.

    Unknown fields are ignored. Raises ValueError if the line is not a whole record, or the event is unknown.
    """
    record = records.read_record(line)
    event = records.event_of(record)
    return Stamped(int(record.get("seq", 0)), record["time"], *records.place_of(record), event)


def command(data: bytes, reply: bytes, **marks: Any) -> Command:
    """Return the event of a line and a reply in bytes."""
    return Command(escape(data), escape(reply), **marks)


def entries_of(stamped: Iterable[Stamped]) -> list[Entry]:
    """Return each event as an entry of its own."""
    return [(one.time, origin_of(one.slot, one.session, one.ip, one.port), (one.event,)) for one in stamped]


def batch_of(stamped: Iterable[Stamped]) -> Batch:
    """Return a batch with the numbers of these events."""
    numbered = list(stamped)
    return Batch([one.seq for one in numbered], entries_of(numbered))


def fields(stamped: Stamped) -> Iterator[tuple[str, records.Value]]:
    """Yield every field of a record after `time` and `event`, those of the origin first."""
    for name in ("slot", "session", "ip", "port"):
        if value := getattr(stamped, name):
            yield name, value
    yield from records.fields(stamped.event)


def render_text(stamped: Iterable[Stamped], server_name: str = "") -> list[str]:
    """Render events as logfmt lines."""
    return _render("text", stamped, server_name)


def render_json(stamped: Iterable[Stamped], server_name: str = "") -> list[str]:
    """Render events as JSON objects."""
    return _render("json", stamped, server_name)


def _render(log_format: LogFormat, stamped: Iterable[Stamped], server_name: str) -> list[str]:
    return records.renderer(log_format, server_name)(entries_of(stamped))
