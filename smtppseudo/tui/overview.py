"""The overview: model and link status in words, for the top bar, the notice and the details."""

from collections.abc import Iterable, Iterator
from datetime import tzinfo
from typing import Final

from textual.content import Content

from smtppseudo.events import printable
from smtppseudo.log.shares import SHORT
from smtppseudo.tui.model import Model, turned_away_count
from smtppseudo.tui.rates import CallerCounts
from smtppseudo.tui.server_view import ServerView
from smtppseudo.tui.texts import clock_time, date_and_time, format_span, number_of, parse_stamp, sentence, text_of
from smtppseudo.tui.widgets.bars import Headline
from smtppseudo.tui.widgets.caller_pane import CALLERS_SHOWN

_OLD_S: Final = 12 * 3_600  # a last connect before that is shown with its date


def headline(view: ServerView) -> Headline:
    """Return what the top bar shows."""
    model, link = view.model, view.link
    host = text_of(model.settings, "hostname")
    port = number_of(model.settings, "port")
    target = view.full_target
    place = (f"{host}:{port}" if port else host) or f"{target.host} port {target.port}"
    is_online = None if link.up is None else model.state == "online"
    if is_online is None:
        status = "Connecting ..." if link.is_connecting and link.error is None else "Offline  no connection"
    else:
        used = f"Online {model.board.open_count}/{len(model.board.rows)}"
        status = used if is_online else "Offline  the SMTP port is closed"
    last = last_connect(view)
    facts = [_refused_since(model, view.zone), f"last {last}" if last else ""]
    return Headline(printable(place), is_online, status, tuple(filter(None, facts)))


def mails_refused(count: int) -> str:
    """Return a number of refused mails in words."""
    return f"{count:,} mail{'' if count == 1 else 's'} refused"


def _refused_since(model: Model, zone: tzinfo | None) -> str:
    count, since = model.mails_refused_today, text_of(model.counters, "mails_refused_since")
    if count is None:
        return ""
    began_today = since <= model.started_at  # the server's midnight is later than its start on any other day
    return f"{mails_refused(count)} {f'since {clock_time(since, zone)[:5]}' if began_today else 'today'}"


def last_connect(view: ServerView) -> str:
    """Return when the last caller connected, with the date if that was long ago; empty if none did."""
    stamp, _ = view.model.last_caller
    at = parse_stamp(stamp)
    if at is None:
        return ""
    is_old = view.second - at.timestamp() > _OLD_S
    return (date_and_time if is_old else clock_time)(stamp, view.zone)


def notice(view: ServerView, *, is_fleet: bool = False) -> str:
    """Return the warnings, or why there is no connection; empty if all is well. That of a fleet is short."""
    model, link = view.model, view.link
    if link.up is not None:
        warnings = [link.up.note] if link.up.note else []
        if model.settings.get("accept_mail") is True:
            warnings.append("Accept mail is on: every message is thrown away, and honest senders get no bounce")
        if model.settings.get("log_data_events") is False:
            warnings.append("data events are off: what callers send is neither logged nor shown")
        if lost := number_of(model.status, "lost_log_lines"):
            warnings.append(f"{lost:,} log lines could not be written")
        used = model.status.get("log_used")
        if isinstance(used, int | float) and used >= SHORT:
            warnings.append(f"the space for today's log is running short: {used:.0%} are used")
        if mistake := text_of(model.status, "settings_error"):
            warnings.append(f"settings not changed by the last reload: {mistake}")
        return "\n".join(map(sentence, warnings))
    if link.error is None:
        return "Connecting ..."
    error = sentence(str(link.error))
    steps = link.next_step(view.now())
    if is_fleet:
        return f"{error}\n{steps}"
    if model.started_at:
        return f"No connection. {error}\n{steps} Below: the last state."
    more = "For a server on another machine: s, or `smtppseudo monitor HOST`.\n? shows the help, q quits."
    return f"No connection.\n\n{error}\n\n{steps}\n{more}"


def details(view: ServerView, *, has_callers: bool = False) -> Content:
    """Return the text of the details; with the callers that connect most, and why sessions ended, if asked for."""
    sections = [_section("Server", _server(view)), _section("Service", _service(view))]
    if has_callers:
        counts = view.model.callers
        callers = [("", f"{count:>6,}  {ip}") for ip, count in counts.top(CALLERS_SHOWN)]
        title = callers_title(counts, view.zone)
        sections.insert(0, _section(title, [*callers, ("Ended", counts.endings_text())]))
    return Content("\n\n").join(sections)


def _section(title: str, lines: Iterable[tuple[str, str]]) -> Content:
    """Return a heading, and lines of a name and a value. A line without a name is plain text."""
    parts = [Content.assemble((f" {name:<13} " if name else " ", "$muted"), value) for name, value in lines]
    return Content("\n").join([Content.styled(f" {title}", "bold"), *parts])


def callers_title(counts: CallerCounts, zone: tzinfo | None) -> str:
    """Return the heading of the top callers."""
    return f"Top callers since {clock_time(counts.since, zone)[:5]}" if counts.since else "Top callers"


def _server(view: ServerView) -> Iterator[tuple[str, str]]:
    model, link = view.model, view.link
    if link.up is not None:
        yield "Version", printable(link.up.server).removeprefix("smtppseudo ")
        yield "Monitor port", printable(link.up.place)
        yield "Monitors", f"{number_of(model.status, 'monitors')}"
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
