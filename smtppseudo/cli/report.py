"""`report`: what the logs say."""

import argparse
import shutil
import sys
from datetime import UTC, datetime, tzinfo
from typing import Final

from smtppseudo.cli import exits
from smtppseudo.cli.log_files import given_files, with_progress
from smtppseudo.cli.periods import moment
from smtppseudo.logread.logs import Reading, instant
from smtppseudo.report import tables
from smtppseudo.report.report import KINDS, Report

# What is counted where `--by` names nothing: the rest would say much the same again.
_USUAL: Final = tuple(kind for kind in KINDS if kind not in ("sender", "day"))


def run(options: argparse.Namespace) -> int:
    """Read the logs and print the report; 1 where some of them could not be read."""
    zone = UTC if options.utc else None
    now = datetime.now(UTC)
    since, until = (_instant(text, now, zone) for text in (options.since, options.until))
    if since and until and since >= until:
        raise exits.CommandError(f"--until {until} is not after --since {since}; see --help", exits.USAGE)
    report = Report(options.by or _USUAL, zone)
    reading = Reading(given_files(options, since, until), since, until)
    for rows in with_progress(reading):
        report.add(rows)
    for problem in reading.problems:
        print(f"smtppseudo: {problem}", file=sys.stderr)
    view = tables.View(
        since=since,
        until=until,
        zone="UTC" if options.utc else f"local time, now {now.astimezone():%z}",
        top=options.top,
        width=max(tables.WIDTH_MIN, shutil.get_terminal_size().columns),
        bar="█" if _can_encode("█") else "#",
        lines=reading.lines,
        damaged=reading.damaged,
    )
    if options.resolve and "address" in report.tallies:
        from smtppseudo.cli.reverse_dns import look_up

        view = view._replace(names=look_up([name for name, _ in report.tallies["address"].top(options.top)]))
    print(tables.render_json(report, view) if options.json else tables.render_text(report, view), end="")
    return exits.FAILED if reading.problems else exits.GOOD


def _instant(text: str | None, now: datetime, zone: tzinfo | None) -> str:
    try:
        return instant(moment(text, now, zone)) if text else ""
    except argparse.ArgumentTypeError as error:
        raise exits.CommandError(str(error), exits.USAGE) from None


def _can_encode(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        return False
    return True
