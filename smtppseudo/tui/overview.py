"""The overview: model and link status in words, for the top bar, the notice and the details."""

from collections.abc import Iterator
from datetime import tzinfo

from smtppseudo.events import printable
from smtppseudo.log.shares import SHORT
from smtppseudo.tui.model import Model, turned_away_count
from smtppseudo.tui.rates import sparkline
from smtppseudo.tui.server_view import ServerView
from smtppseudo.tui.texts import (
    clock_time,
    date_and_time,
    format_span,
    number_of,
    parse_stamp,
    sentence,
    text_of,
)
from smtppseudo.tui.widgets.details import CALLERS_SHOWN, Section, caller_section, rate_section
from smtppseudo.tui.widgets.top_bar import Headline

_OLD_MINUTES = 12 * 60  # a last connect before that is shown with its date


def headline(view: ServerView) -> Headline:
    """Return what the top bar shows."""
    model, link = view.model, view.link
    figures = model.rate.last(view.minute)
    is_online, place = None, f"{view.target.address} port {view.port}"
    if link.up is not None:
        is_online, place = model.state == "online", link.up.place
        used = f"Online  {model.board.open_count} of {len(model.board.rows)} slots"
        status = used if is_online else "Offline  the SMTP port is closed"
    else:
        status = "Connecting ..." if link.is_connecting and link.error is None else "Offline  no connection"
    facts = [f"Last connect {_last_connect(model, view.minute, view.zone)}"]
    if link.up is not None:
        facts.append(f"{model.monitors} monitor{'' if model.monitors == 1 else 's'}")
    if model.lost_log_lines:
        facts.append(f"{model.lost_log_lines} log lines lost")
    if model.not_shown:
        facts.append(f"{model.not_shown:,} events not shown")
    return Headline(printable(place), is_online, status, tuple(facts), sparkline(figures), figures[-1])


def _last_connect(model: Model, minute: int, zone: tzinfo | None) -> str:
    if model.last_connect is None:
        return "none yet"
    stamp, ip = model.last_connect
    at = parse_stamp(stamp)
    is_old = at is not None and minute - at.timestamp() / 60 > _OLD_MINUTES
    return f"{date_and_time(stamp, zone) if is_old else clock_time(stamp, zone)} from {ip}"


def notice(view: ServerView) -> str:
    """Return the warnings, or why there is no connection; empty if all is well."""
    model, link = view.model, view.link
    if link.up is not None:
        warnings = [link.up.note] if link.up.note else []
        if model.settings.get("accept_mail") is True:
            warnings.append("Accept Mail is on: every message is thrown away, and honest senders get no bounce")
        if model.settings.get("log_data_events") is False:
            warnings.append("data events are off: what callers send is neither logged nor shown")
        if model.log_used >= SHORT:
            warnings.append(f"the space for today's log is running short: {model.log_used:.0%} are used")
        if model.settings_error:
            warnings.append(f"settings not changed by the last reload: {model.settings_error}")
        return "\n".join(map(sentence, warnings))
    if link.error is None:
        return "Connecting ..."
    error = sentence(str(link.error))
    steps = link.next_step(view.now())
    if model.started_at:
        return f"No connection. {error}\n{steps} Below: the last state."
    more = "For a server on another machine: s, or `smtppseudo monitor HOST`.\n? shows the help, q quits."
    return f"No connection.\n\n{error}\n\n{steps}\n{more}"


def sections(view: ServerView) -> list[Section]:
    """Return the sections of the details."""
    return [
        Section("Server", list(_server(view))),
        rate_section(view.model.rate.last(view.minute)),
        caller_section(view.model.callers.top(CALLERS_SHOWN)),
        Section("Service", _service(view)),
    ]


def _server(view: ServerView) -> Iterator[tuple[str, str]]:
    model, link = view.model, view.link
    if link.up is not None:
        yield "Version", printable(link.up.server).removeprefix("smtppseudo ")
        yield "Login", "by cookie" if link.up.user == "cookie" else "by magic word"
    started = parse_stamp(model.started_at)
    if started is not None:
        yield "Since", date_and_time(model.started_at, view.zone)
        yield "Up", format_span((view.dependencies.wall() - started).total_seconds())
    counters = model.counters
    yield "Connected", f"{number_of(counters, 'connected'):,}"
    yield "Turned away", f"{turned_away_count(counters):,}"
    yield "Bytes in", f"{number_of(counters, 'received_bytes'):,}"
    yield "Bytes out", f"{number_of(counters, 'sent_bytes'):,}"
    wasted_s = counters.get("wasted_s")
    yield "Time wasted", format_span(wasted_s) if isinstance(wasted_s, int | float) else "0 s"
    yield "Events seen", f"{model.seen:,}"
    yield "Not shown", f"{model.not_shown:,}"
    yield "Greeting", text_of(model.settings, "greeting")
    accepts = model.settings.get("accept_mail") is True
    yield "Refuses at", "never: accepts mail" if accepts else text_of(model.settings, "reject_at")


def _service(view: ServerView) -> list[tuple[str, str]]:
    link, unit = view.link, view.unit
    if link.up is None:
        return [("", "Shown when there is a connection.")]
    if not link.up.is_own:
        return [("", f"{printable(link.up.address)} is another machine."), ("", "Manage its service there.")]
    if unit is None:
        return [("", "Asking systemd ...")]
    if unit.reason:
        return [("", unit.reason)]
    lines = [("Installed", unit.installed), ("Running", unit.running), ("At boot", unit.at_boot)]
    return [*lines, ("", "v installs, starts and stops it.")]
