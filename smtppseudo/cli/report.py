"""`report`: what the logs say."""

import argparse
import errno
import shutil
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Final

from smtppseudo.cli import exits
from smtppseudo.cli.periods import moment
from smtppseudo.cli.places import read_configuration
from smtppseudo.feeds import tables
from smtppseudo.feeds.logs import Reading, find, instant
from smtppseudo.feeds.report import KINDS, Report
from smtppseudo.feeds.scan import Row

_PROGRESS_FROM_OCTETS: Final = 64 << 20
_PROGRESS_EVERY_S: Final = 0.5
_STDIN: Final = Path("/dev/stdin")
# What is counted where `--by` names nothing: the rest would say much the same again.
_USUAL: Final = tuple(kind for kind in KINDS if kind not in ("sender", "day"))


def run(options: argparse.Namespace) -> int:
    """Read the logs and print the report; 1 where some of them could not be read."""
    zone = UTC if options.utc else None
    now = datetime.now(UTC)
    since, until = (_instant(text, now, zone) for text in (options.since, options.until))
    if since and until and since >= until:
        raise exits.CommandError(f"the period ends ({until}) before it begins ({since})", exits.USAGE)
    report = Report(options.by or _USUAL, zone)
    reading = Reading(_files(options, since, until), since, until)
    for rows in _with_progress(reading):
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
        from smtppseudo.cli.names import look_up

        view = view._replace(names=look_up([name for name, _ in report.tallies["address"].top(options.top)]))
    print(tables.render_json(report, view) if options.json else tables.render_text(report, view), end="")
    return exits.FAILED if reading.problems else exits.GOOD


def _instant(text: str | None, now: datetime, zone: tzinfo | None) -> str:
    try:
        return instant(moment(text, now, zone)) if text else ""
    except argparse.ArgumentTypeError as error:
        raise exits.CommandError(str(error), exits.USAGE) from None


def _files(options: argparse.Namespace, since: str, until: str) -> list[Path]:
    """Return the files to read: those named, and those of the directories. Raises CommandError if there are none."""
    given = [_STDIN if name == "-" else Path(name) for name in options.logs] or [_usual_directory(options)]
    files: list[Path] = []
    try:
        for path in given:
            files += find(path, since, until) if path.is_dir() else [path]
        if not files:
            raise exits.CommandError(_no_logs(given))
    except OSError as error:
        way_out = "; root and the group of the server may read them" if error.errno == errno.EACCES else ""
        raise exits.CommandError(f"{error.filename}: {error.strerror}{way_out}") from None
    return files


def _usual_directory(options: argparse.Namespace) -> Path:
    log_dir = read_configuration(options).settings.log_dir
    if log_dir == "-":
        raise exits.CommandError(
            'log_dir = "-": the log went to standard output; give it to `smtppseudo report -`, as in'
            " `journalctl -u smtppseudo -o cat | smtppseudo report -`"
        )
    path = Path(log_dir)
    if not path.is_dir():
        raise exits.CommandError(f"{path}: no such directory: no server has logged here; name a log or a directory")
    return path


def _no_logs(directories: list[Path]) -> str:
    days = sorted(path.name[:10] for directory in directories for path in find(directory))
    places = ", ".join(map(str, directories))
    if days:
        return f"no logs of that time in {places}; there are some from {days[0]} to {days[-1]}"
    return f"no logs in {places}: their names are as 2026-11-24.log; name a log or a directory"


def _with_progress(reading: Reading) -> Iterator[list[Row]]:
    """Say how far it is, where somebody waits at a terminal for a long input."""
    total = reading.total_octets
    if total < _PROGRESS_FROM_OCTETS or not sys.stderr.isatty():
        yield from reading
        return
    say_at = time.monotonic() + _PROGRESS_EVERY_S
    for rows in reading:
        yield rows
        if time.monotonic() >= say_at:
            say_at += _PROGRESS_EVERY_S
            share = min(1.0, reading.octets / total)
            print(
                f"\rsmtppseudo: read {reading.octets >> 20:,} of {total >> 20:,} MiB, {share:.0%} ",
                end="",
                file=sys.stderr,
                flush=True,
            )
    print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _can_encode(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        return False
    return True
