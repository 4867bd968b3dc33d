"""Records as lines of a log, from stamped events."""

from collections.abc import Iterable

from smtppseudo.config.settings import LogFormat
from smtppseudo.events import Entry, Stamped, origin_of
from smtppseudo.log import records


def entries_of(stamped: Iterable[Stamped]) -> list[Entry]:
    """Return each event as an entry of its own."""
    return [(one.time, origin_of(one.slot, one.session, one.ip, one.port), (one.event,)) for one in stamped]


def render_text(stamped: Iterable[Stamped], server_name: str = "") -> list[str]:
    """Render events as logfmt lines."""
    return _render("text", stamped, server_name)


def render_json(stamped: Iterable[Stamped], server_name: str = "") -> list[str]:
    """Render events as JSON objects."""
    return _render("json", stamped, server_name)


def _render(log_format: LogFormat, stamped: Iterable[Stamped], server_name: str) -> list[str]:
    return records.renderer(log_format, server_name)(entries_of(stamped))
