"""The page: a report as one HTML file without script, for a browser, a printer or a mail.

Every text in it passes through `_text`: names come from callers. It begins with `head.html`, which is dark only on a
screen, so that paper stays white; its policy forbids all that a forgotten escape could load.
"""

import html
from collections.abc import Sequence
from typing import Final

from smtppseudo.events import printable
from smtppseudo.report.report import Report, cut
from smtppseudo.report.tables import DAYS, View, shown_to_people, summary, title

KINDS: Final = ("refused", "hour", "network", "domain", "reason", "verb", "address")
"""The charts without --by; callers are a table."""
_COLUMNS_MAX: Final = 400
_LABELS_MAX: Final = 12
_NAME_MAX: Final = 32


def render_html(report: Report, view: View) -> str:
    """Render a report as a whole document, LF included."""
    from importlib import resources  # noqa: PLC0415 - only for pages; reads from a zip file, too

    head = resources.files("smtppseudo").joinpath("report", "head.html").read_text("ascii")
    totals = dict(summary(report, view))
    refused = totals.pop("mails refused")
    rows = [f"<dt>{_text(name)}<dd>{_text(value)}\n" for name, value in totals.items()]
    sections = [_section(kind, report, view) for kind, tally in report.tallies.items() if len(tally)]
    number, _, change = refused.partition(", ")
    small = f"mails refused{change and f', {change} compared with the period before'}"
    heading = f"<h1>{_text(number)} <small>{_text(small)}</small></h1>"
    return f"{head}{heading}\n<dl>\n{''.join(rows)}</dl>\n<main>\n{''.join(sections)}</main>\n</html>\n"


def _text(text: str) -> str:
    return html.escape(printable(text))


def _section(kind: str, report: Report, view: View) -> str:
    rows = shown_to_people(kind, report, view)
    heading = title(kind, report.tallies[kind], len(rows), view)
    if kind == "address":
        body = _callers(rows, report.tallies[kind].total, view)
    elif kind == "hour" or kind in DAYS:
        body = _columns(rows[-_COLUMNS_MAX:], heading)
    else:
        body = _bars(rows, heading)
    return f"<section>\n<h2>{_text(heading)}</h2>\n{body}</section>\n"


def _svg(height: int, heading: str, parts: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 640 {height}" role="img" aria-label="{_text(heading)}">\n{"".join(parts)}</svg>\n'


def _columns(rows: Sequence[tuple[str, int]], heading: str) -> str:
    """Draw a column for each hour or day, with some of their names below and at least the highest count above."""
    most, step = max(count for _, count in rows) or 1, 640 / len(rows)
    every = -(-len(rows) // _LABELS_MAX)
    parts = ['<line x1="0" x2="640" y1="170.5" y2="170.5"/>\n']
    highest = [count for _, count in rows].index(max(count for _, count in rows))
    for index, (name, count) in enumerate(rows):
        width, height, middle = min(48.0, step * 0.75), count * 150 / most, (index + 0.5) * step
        parts.append(
            f'<rect x="{middle - width / 2:.1f}" y="{170 - height:.1f}" width="{width:.1f}" height="{height:.1f}">'
            f"<title>{_text(name)}: {count:,}</title></rect>\n"
        )
        if every == 1 or index == highest:
            at = min(max(middle, 20), 620)
            parts.append(f'<text x="{at:.1f}" y="{165 - height:.1f}" text-anchor="middle">{count:,}</text>\n')
        if index % every == 0:
            label = _text(name[-5:])  # of a date, month and day
            parts.append(f'<text class="dim" x="{middle:.1f}" y="188" text-anchor="middle">{label}</text>\n')
    return _svg(192, heading, parts)


def _bars(rows: Sequence[tuple[str, int]], heading: str) -> str:
    """Draw a bar for each value, between its name and its count."""
    most = max(count for _, count in rows) or 1
    parts = []
    for index, (name, count) in enumerate(rows):
        y, width = index * 24, count * 310 / most
        parts.append(
            f'<g><title>{_text(name)}: {count:,}</title><text x="0" y="{y + 16}">{_text(cut(name, _NAME_MAX))}</text>'
            f'<rect x="240" y="{y + 4}" width="{width:.1f}" height="16"/>'
            f'<text x="{248 + width:.1f}" y="{y + 16}">{count:,}</text></g>\n'
        )
    return _svg(24 * len(rows), heading, parts)


def _callers(rows: Sequence[tuple[str, int]], total: int, view: View) -> str:
    lines = [
        f"<tr><td>{_text(view.label(name))}<td>{count:,}<td>{_text(f'{count / total:.1%}')}\n" for name, count in rows
    ]
    return f"<table>\n<tr><th>Caller<th>Connections<th>Share\n{''.join(lines)}</table>\n"
