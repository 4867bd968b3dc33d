"""Tables: a report as text for people, or as one JSON object for programs."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, timedelta
from typing import Final, NamedTuple

from smtppseudo.events import ending_of
from smtppseudo.report.report import HOURS, KINDS, SPANS, Report, Tally, cut, local

WIDTH_MIN: Final = 40
_BAR_MAX: Final = 40
_BAR_MIN: Final = 8
_WHOLE: Final[Mapping[str, Sequence[str]]] = {"hour": HOURS, "duration": SPANS}
"""The kinds of which every value is shown, in this order."""
DAYS: Final = ("day", "refused")
_FILLED_DAYS_MAX: Final = 400
_HOUR: Final = timedelta(hours=1)


class View(NamedTuple):
    """How a report is shown.

    `since` and `until` are the bounds that the user gave, or empty. `zone` names the time zone of hours and days.
    `before` is a report of the period before, which the totals are compared with.
    `names` has the host names of addresses that were looked up. Bars are made of the character `bar`. Of all `lines`,
    `damaged` were left out.
    """

    since: str = ""
    until: str = ""
    zone: str = "UTC"
    before: Report | None = None
    top: int = 10
    width: int = 80
    bar: str = "#"
    names: Mapping[str, str] = {}
    lines: int = 0
    damaged: int = 0

    def label(self, name: str) -> str:
        """Return a name, with the host name of an address that was looked up."""
        return f"{name}  {self.names[name]}" if self.names.get(name) else name


def shown(kind: str, tally: Tally, top: int) -> list[tuple[str, int]]:
    """Return the rows of a table: the `top` most frequent values, or all values of a kind with its own order."""
    if kind in DAYS:
        return tally.in_order()
    if kind in _WHOLE:
        counts = dict(tally.in_order())
        return [(name, counts.get(name, 0)) for name in _WHOLE[kind]]
    return tally.top(top)


def shown_to_people(kind: str, report: Report, view: View) -> list[tuple[str, int]]:
    """Return the rows of a table, with every day in between, and only the hours of a period that is shorter than a day.

    Such hours are in the order of time, as 22, 23, 00.
    """
    tally = report.tallies[kind]
    start, end = local(view.since or report.first, report.zone), local(view.until or report.last, report.zone)
    if kind == "hour" and start and end:
        start, end = start.astimezone(UTC), end.astimezone(UTC)  # no hour is missing there
        end -= timedelta(milliseconds=1 if view.until else 0)  # `until` is exclusive
        times = [*(start + each * _HOUR for each in range(min((end - start) // _HOUR, 24) + 1)), end]
        hours = {HOURS[time.astimezone(report.zone).hour]: 0 for time in times} | dict(tally.in_order())
        return list(hours.items()) if len(hours) < len(HOURS) else sorted(hours.items())
    start, end = local(report.first, report.zone), local(report.last, report.zone)
    if kind in DAYS and start and end and (end.date() - start.date()).days < _FILLED_DAYS_MAX:
        days = {str(start.date() + timedelta(each)): 0 for each in range((end.date() - start.date()).days + 1)}
        return list((days | dict(tally.in_order())).items())
    rows = shown(kind, tally, view.top)
    return [(ending_of(reason), count) for reason, count in rows] if kind == "reason" else rows


def render_text(report: Report, view: View) -> str:
    """Render a report for people, LF included; no line is wider than `view.width`, which is at least 40."""
    lines = [f"{name:<16}{value}" for name, value in summary(report, view)]
    for kind, tally in report.tallies.items():
        if len(tally):
            lines += ["", *_table(kind, report, view)]
    return "\n".join(line[: view.width] for line in lines) + "\n"


def summary(report: Report, view: View) -> Iterator[tuple[str, str]]:
    """Yield the totals, each with its name; times are in the zone of the report."""
    before = view.before

    def compared(field: str) -> str:
        return change(getattr(report, field), getattr(before, field)) if before else ""

    def at(time: str) -> str:
        found = local(time, report.zone)
        return f"{found:%Y-%m-%d %H:%M:%S %z}" if found else time

    if report.first:
        yield "from", at(report.first)
        yield "to", at(report.last)
    else:
        since, until = view.since and f"since {at(view.since)}", view.until and f"until {at(view.until)}"
        yield "no events", f"{since} {until}".strip()
    if before:
        yield "compared with", f"{at(before.first)} to {at(before.last)}"
    yield "mails refused", f"{report.mails_refused:,}{compared('mails_refused')}"
    yield "connections", f"{report.connected:,}{compared('connected')}"
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in sorted(report.turned_away.items()))
    count = report.turned_away.total()
    more = change(count, before.turned_away.total()) if before else ""
    yield "turned away", f"{count:,}{more}" + (f" ({reasons})" if reasons else "")
    yield "commands", f"{report.commands:,}{compared('commands')}"
    each = f", {duration(report.wasted_ms / report.closed)} each" if report.closed else ""
    yield "time wasted", f"{duration(report.wasted_ms)}{compared('wasted_ms')}{each}"
    yield "log lines", f"{view.lines:,}" + (f", {view.damaged:,} damaged, left out" if view.damaged else "")
    if report.lost:
        yield "lines lost", f"{report.lost:,} could not be written by the server"
    if report.suppressed:
        yield "suppressed", f"{report.suppressed:,} lines, by journald's rate limit"


def change(count: int, before: int) -> str:
    """Render a change as `, +12 %`; empty if there was nothing before."""
    return f", {round(100 * (count - before) / before):+,} %" if before else ""


def duration(milliseconds: float) -> str:
    """Render a duration as people say it: `0.5 s`, `9 min 5 s`, `13 h 9 min`, `3 d 4 h`."""
    if milliseconds < 59_950:
        return f"{milliseconds / 1000:.1f} s"
    seconds = round(milliseconds / 1000)
    for unit, name, part, part_name in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min")):
        if seconds >= unit:
            return f"{seconds // unit:,} {name} {seconds % unit // part} {part_name}"
    return f"{seconds // 60} min {seconds % 60} s"


def _table(kind: str, report: Report, view: View) -> Iterator[str]:
    tally = report.tallies[kind]
    rows = shown_to_people(kind, report, view)
    yield title(kind, tally, len(rows), view)
    most = max(count for _, count in rows)
    named = [(view.label(name), count) for name, count in rows]
    digits = len(f"{most:,}")
    longest = max(len(name) for name, _ in named)
    # Names are shortened only if bars would become shorter than _BAR_MIN.
    room = view.width - digits - 11
    bar = max(_BAR_MIN, min(_BAR_MAX, room - longest - 2))
    fits = min(longest, room - bar - 2)
    for name, count in named:
        label = cut(name, fits)
        length = -(-count * bar // most) if most else 0
        yield f"  {count:>{digits},} {count / tally.total:>6.1%}  {label:<{fits}}  {view.bar * length}".rstrip()


def title(kind: str, tally: Tally, count: int, view: View) -> str:
    """Return the title of a table that shows `count` values."""
    title = KINDS[kind]
    if kind == "hour" or kind in DAYS:
        return f"{title} ({view.zone})"
    if count < len(tally) or tally.short:
        title += f", top {count:,} of {'more than ' if tally.short else ''}{len(tally):,}"
    if tally.short:
        title += f"; each may be up to {tally.short:,} more"
    return title


def render_json(report: Report, view: View) -> str:
    """Render a report as one JSON object, LF included. Times are RFC 3339; a count can be too low by `short`."""
    found = {
        "since": view.since or None,
        "until": view.until or None,
        **_totals(report),
        "before": _totals(view.before) if view.before else None,
        "lines": view.lines,
        "damaged": view.damaged,
        "lost": report.lost,
        "suppressed": report.suppressed,
        "zone": view.zone,
    }
    by = {kind: _members(kind, tally, view) for kind, tally in report.tallies.items()}
    return json.dumps({**found, "by": by}, indent=2) + "\n"


def _totals(report: Report) -> dict[str, object]:
    names = ("mails_refused", "connected", "turned_away", "commands", "closed")
    counts = {name: getattr(report, name) for name in names}
    return {"first": report.first or None, "last": report.last or None, **counts, "wasted_s": report.wasted_ms / 1000}


def _members(kind: str, tally: Tally, view: View) -> dict[str, object]:
    rows = [
        {"value": name, "count": count} | ({"name": view.names[name]} if name in view.names else {})
        for name, count in shown(kind, tally, view.top)
    ]
    return {"values": len(tally), "short": tally.short, "top": rows}
