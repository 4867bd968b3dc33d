"""The overview: what the model and the standing say, in the words of the top line, the notice and the details."""

from collections.abc import Iterator
from datetime import datetime, tzinfo

from smtppseudo.service.systemd import UnitState
from smtppseudo.tui.model import Model, turned_away
from smtppseudo.tui.standing import Standing
from smtppseudo.tui.tally import sparkline
from smtppseudo.tui.texts import clock_time, date_and_time, moment, number_of, sentence, shown, span, text_of
from smtppseudo.tui.widgets.details import CALLERS_SHOWN, Section, of_callers, of_rate
from smtppseudo.tui.widgets.top import Headline


def headline(model: Model, standing: Standing, place: str, minute: int, zone: tzinfo | None) -> Headline:
    """Say what the top says."""
    figures = model.rate.last(minute)
    used = f"{model.board.open_count} of {len(model.board.rows)} slots"
    opened = standing.opened
    if opened is not None:
        is_online, place = model.state == "online", opened.place
        status = f"Online  {used}" if is_online else "Offline  the SMTP port is closed"
    else:
        is_online = None
        status = "Connecting ..." if standing.is_dialling and standing.error is None else "Offline  no connection"
    facts = [f"Last connect {_last_connect(model, minute, zone)}"]
    if opened is not None:
        facts.append(f"{model.monitors} monitor{'' if model.monitors == 1 else 's'}")
    if model.lost_log_lines:
        facts.append(f"{model.lost_log_lines} log lines lost")
    if model.dropped:
        facts.append(f"{model.dropped:,} events left out")
    return Headline(shown(place), is_online, status, tuple(facts), sparkline(figures), figures[-1])


def _last_connect(model: Model, minute: int, zone: tzinfo | None) -> str:
    if model.last_connect is None:
        return "none yet"
    stamp, ip = model.last_connect
    at = moment(stamp)
    is_old = at is not None and minute - at.timestamp() / 60 > 12 * 60
    return f"{date_and_time(stamp, zone) if is_old else clock_time(stamp, zone)} from {ip}"


def notice(model: Model, standing: Standing, now: float) -> str:
    """Say what is not as it should be, or worth knowing; empty where there is nothing."""
    opened = standing.opened
    if opened is not None:
        warnings = [opened.note] if opened.note else []
        if model.settings.get("accept_mail") is True:
            warnings.append("Accept Mail is on: honest mail is taken and thrown away, and its senders get no bounce")
        if model.settings.get("log_data_events") is False:
            warnings.append("data events are off: what callers send is neither logged nor shown")
        return "\n".join(map(sentence, warnings))
    if standing.error is None:
        return "Connecting ..."
    error = sentence(str(standing.error))
    steps = standing.next_step(now)
    if model.started_at:
        return f"No connection. {error}\n{steps} Below: how it was."
    more = "For a server on another machine: s, or `smtppseudo monitor HOST`.\n? shows the help, q quits."
    return f"No connection.\n\n{error}\n\n{steps}\n{more}"


def sections(
    model: Model, standing: Standing, minute: int, wall: datetime, zone: tzinfo | None, unit: UnitState | None
) -> Iterator[Section]:
    """Say what the details say."""
    yield Section("Server", list(_server(model, standing, wall, zone)))
    yield of_rate(model.rate.last(minute))
    yield of_callers(model.callers.top(CALLERS_SHOWN))
    yield Section("Service", _service(standing, unit))


def _server(model: Model, standing: Standing, wall: datetime, zone: tzinfo | None) -> Iterator[tuple[str, str]]:
    opened = standing.opened
    if opened is not None:
        yield "Version", shown(opened.server).removeprefix("smtppseudo ")
        yield "Login", "by cookie" if opened.user == "cookie" else "by magic word"
    started = moment(model.started_at)
    if started is not None:
        yield "Since", date_and_time(model.started_at, zone)
        yield "Up", span((wall - started).total_seconds())
    counters = model.counters
    yield "Connected", f"{number_of(counters, 'connected'):,}"
    yield "Turned away", f"{turned_away(counters):,}"
    yield "Bytes in", f"{number_of(counters, 'received_bytes'):,}"
    yield "Bytes out", f"{number_of(counters, 'sent_bytes'):,}"
    kept = counters.get("wasted_s")
    yield "Kept", span(kept) if isinstance(kept, int | float) else "0 s"
    yield "Events seen", f"{model.seen:,}"
    yield "Left out", f"{model.dropped:,}"
    yield "Greeting", text_of(model.settings, "greeting")
    accepts = model.settings.get("accept_mail") is True
    yield "Refuses at", "never: takes mail" if accepts else text_of(model.settings, "reject_at")


def _service(standing: Standing, unit: UnitState | None) -> list[tuple[str, str]]:
    opened = standing.opened
    if opened is None:
        return [("", "Shown when there is a connection.")]
    if not opened.is_own:
        return [("", f"{shown(opened.address)} is another machine:"), ("", "its service is managed there.")]
    if unit is None:
        return [("", "Asking systemd ...")]
    if unit.reason:
        return [("", unit.reason)]
    lines = [("Installed", unit.installed), ("Running", unit.running), ("At boot", unit.at_boot)]
    return [*lines, ("", "v installs, starts and stops it.")]
