"""`report`: a summary of the logs."""

import argparse
import contextlib
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from smtppseudo.cli import exits
from smtppseudo.cli.log_files import add_logs, add_period, find_log_files, read_period, with_progress
from smtppseudo.cli.messages import BAR, print_text, say
from smtppseudo.cli.options import describe
from smtppseudo.cli.pager import print_in_pager
from smtppseudo.files import SECRET_MODE, replace
from smtppseudo.logread.logs import Reading, instant
from smtppseudo.report import page, tables
from smtppseudo.report.report import KINDS, Report

_ROWS_MAX: Final = 10_000
_ONLY_BY: Final = ("sender", "recipient", "day", "refused", "server", "local")  # they would repeat much of the others
_USUAL: Final = tuple(kind for kind in KINDS if kind not in _ONLY_BY)


def add_report(command: argparse.ArgumentParser) -> None:
    describe(
        command, "smtppseudo report --since 7d\n  smtppseudo report --by network --top 50 /srv/logs/mx1 /srv/logs/mx2"
    )
    add_logs(command)
    add_period(command)
    add = command.add_argument
    add("--top", type=_row_count, default=10, metavar="N", help="rows of each table (10)")
    kinds, only_by = ", ".join(KINDS), ", ".join(_ONLY_BY)
    by_help = f"print only this table: {kinds}; may be repeated, or a list with commas (all but {only_by})"
    add("--by", type=_kinds, action="extend", metavar="KIND", help=by_help)
    add("--utc", action="store_true", help="print hours, days and dates in UTC, not local time")
    form = command.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one JSON object")
    form.add_argument("--html", metavar="FILE", help="replace this file with a page of charts, and print nothing")
    add("--resolve", action="store_true", help="ask DNS for the names of the printed addresses, for 5 s at most")


def _row_count(text: str) -> int:
    if text.isdecimal() and 0 < int(text[:9]) <= _ROWS_MAX:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text} is not a number of rows: 1 to {_ROWS_MAX}")


def _kinds(text: str) -> list[str]:
    for kind in (kinds := text.split(",")):
        if kind not in KINDS:
            raise argparse.ArgumentTypeError(f"{kind} is not one of {', '.join(KINDS)}")
    return kinds


def run(options: argparse.Namespace) -> int:
    """Read the logs and print or write the report; return 1 if a log was unreadable."""
    zone = UTC if options.utc else None
    now = datetime.now(UTC)
    since, until = read_period(options, now, zone)
    report = Report(options.by or (page.KINDS if options.html else _USUAL), zone)
    start, quarter = _period_before(since, until or instant(now))
    before = Report((), zone) if start else None
    reading = _read(options, (start, since, until), report, before)
    if before and not "" < before.first <= quarter:
        before = None  # without the logs of that time the numbers seem to grow
    hours = "UTC" if options.utc else f"local time, now {now.astimezone():%z}"
    width = max(tables.WIDTH_MIN, shutil.get_terminal_size().columns)
    bar = BAR if BAR.encode(sys.stdout.encoding, "ignore") else "#"
    names: dict[str, str] = {}
    if options.resolve and "address" in report.tallies:
        from smtppseudo.cli.reverse_dns import look_up

        names = look_up([name for name, _ in report.tallies["address"].top(options.top)])
    view = tables.View(since, until, hours, before, options.top, width, bar, names, reading.lines, reading.damaged)
    if options.html:
        path = Path(options.html)
        with exits.file_error(path, "--html must be a file that this user can replace"):
            # A new page is as secret as the logs; an old one keeps its mode.
            mode = path.stat().st_mode & 0o777 if path.is_file() else SECRET_MODE
            replace(path, page.render_html(report, view), mode)
    elif options.json:
        print_text(tables.render_json(report, view))
    else:
        print_in_pager(tables.render_text(report, view))
    return exits.FAILED if reading.problems else exits.GOOD


def _read(options: argparse.Namespace, times: tuple[str, str, str], report: Report, before: Report | None) -> Reading:
    """Read the logs of the period, and of that before it, if any, from the first of the times to the second."""
    start, since, until = times
    files = find_log_files(options, since, until)  # raises CommandError if this period has none
    reading = Reading(find_log_files(options, start, until) if before else files, start or since, until)
    for rows in with_progress(reading, reading):
        if before:
            before.add([row for row in rows if row[0] < since])
        report.add([row for row in rows if row[0] >= since] if before else rows)
    for problem in reading.problems:
        say(problem)
    return reading


def _period_before(since: str, until: str) -> tuple[str, str]:
    """Return the start of the period of this length before, and the end of its first quarter; empty for none."""
    if since and since < until:
        start = datetime.fromisoformat(since)
        length = datetime.fromisoformat(until) - start
        with contextlib.suppress(OverflowError):
            return instant(start - length), instant(start - length * 3 / 4)
    return "", ""
