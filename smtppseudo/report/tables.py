"""Tables: a report as text for people, or as one JSON object for programs."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from smtppseudo.report.report import HOURS, SPANS, Report
from smtppseudo.report.tally import Tally

WIDTH_MIN: Final = 40
_BAR_MAX: Final = 40
_BAR_MIN: Final = 8
_TITLES: Final = {
    "address": "Addresses",
    "network": "Networks (/24, /48)",
    "helo": "HELO names",
    "domain": "Sender domains",
    "sender": "Senders",
    "verb": "Commands",
    "reason": "Why sessions ended",
    "duration": "How long sessions lasted",
    "hour": "Hours of the day",
    "day": "Days",
}
_WHOLE: Final[Mapping[str, Sequence[str]]] = {"hour": HOURS, "duration": SPANS}
"""The kinds of which every value is shown, in this order."""


class View(NamedTuple):
    """How a report is shown.

    `since` and `until` are the bounds that the user gave, or empty. `zone` names the time zone of hours and days.
    `names` has the host names of addresses that were looked up. Bars are made of the character `bar`. Of all `lines`,
    `damaged` were left out.
    """

    since: str = ""
    until: str = ""
    zone: str = "UTC"
    top: int = 10
    width: int = 80
    bar: str = "#"
    names: Mapping[str, str] = {}
    lines: int = 0
    damaged: int = 0


def shown(kind: str, tally: Tally, top: int) -> list[tuple[str, int]]:
    """Return the rows of a table: the `top` most frequent values, or all values of a kind with its own order."""
    if kind == "day":
        return tally.in_order()
    if kind in _WHOLE:
        counts = dict(tally.in_order())
        return [(name, counts.get(name, 0)) for name in _WHOLE[kind]]
    return tally.top(top)


def render_text(report: Report, view: View) -> str:
    """Render a report for people, LF included; no line is wider than `view.width`, which is at least 40."""
    lines = list(_summary(report, view))
    for kind, tally in report.tallies.items():
        if len(tally):
            lines += ["", *_table(kind, tally, view)]
    return "\n".join(line[: view.width] for line in lines) + "\n"


def _summary(report: Report, view: View) -> Iterator[str]:
    if report.first:
        yield f"{'from':<16}{report.first}"
        yield f"{'to':<16}{report.last}"
    else:
        yield (
            "no events"
            + (f" since {view.since}" if view.since else "")
            + (f" until {view.until}" if view.until else "")
        )
    yield f"{'mails refused':<16}{report.mails_refused:,}"
    yield f"{'connections':<16}{report.connected:,}"
    turned_away = ", ".join(f"{reason} {count:,}" for reason, count in sorted(report.turned_away.items()))
    yield f"{'turned away':<16}{sum(report.turned_away.values()):,}" + (f" ({turned_away})" if turned_away else "")
    yield f"{'commands':<16}{report.commands:,}"
    each = f", {report.wasted_ms / report.closed / 1000:,.1f} s each" if report.closed else ""
    yield f"{'time wasted':<16}{report.wasted_ms / 1000:,.0f} s{each}"
    yield f"{'log lines':<16}{view.lines:,}" + (f", {view.damaged:,} damaged, left out" if view.damaged else "")
    if report.lost:
        yield f"{'lines lost':<16}{report.lost:,} could not be written by the server"
    if report.suppressed:
        yield f"{'suppressed':<16}{report.suppressed:,} lines, by journald's rate limit"


def _table(kind: str, tally: Tally, view: View) -> Iterator[str]:
    rows = shown(kind, tally, view.top)
    yield _title(kind, tally, len(rows), view)
    most = max(count for _, count in rows)
    whole = tally.total
    named = [(f"{name}  {view.names[name]}" if view.names.get(name) else name, count) for name, count in rows]
    digits = len(f"{most:,}")
    longest = max(len(name) for name, _ in named)
    # Names are shortened only if bars would become shorter than _BAR_MIN.
    room = view.width - digits - 11
    bar = max(_BAR_MIN, min(_BAR_MAX, room - longest - 2))
    fits = min(longest, room - bar - 2)
    for name, count in named:
        label = name if len(name) <= fits else name[: fits - 3] + "..."
        length = -(-count * bar // most) if most else 0
        yield f"  {count:>{digits},} {count / whole:>6.1%}  {label:<{fits}}  {view.bar * length}".rstrip()


def _title(kind: str, tally: Tally, count: int, view: View) -> str:
    title = _TITLES[kind]
    if kind in ("hour", "day"):
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
        "first": report.first or None,
        "last": report.last or None,
        "mails_refused": report.mails_refused,
        "connected": report.connected,
        "turned_away": report.turned_away,
        "commands": report.commands,
        "closed": report.closed,
        "wasted_s": report.wasted_ms / 1000,
        "lines": view.lines,
        "damaged": view.damaged,
        "lost": report.lost,
        "suppressed": report.suppressed,
        "zone": view.zone,
    }
    by = {kind: _members(kind, tally, view) for kind, tally in report.tallies.items()}
    return json.dumps({**found, "by": by}, indent=2) + "\n"


def _members(kind: str, tally: Tally, view: View) -> dict[str, object]:
    rows: list[dict[str, object]] = []
    for name, count in shown(kind, tally, view.top):
        rows.append({"value": name, "count": count})
        if name in view.names:
            rows[-1]["name"] = view.names[name]
    return {"values": len(tally), "short": tally.short, "top": rows}
