"""Log files: which logs and times a command reads, and the display of its progress."""

import argparse
import errno
import sys
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Final, TypeVar

from smtppseudo.cli import exits
from smtppseudo.cli.messages import is_terminal, say, show_progress
from smtppseudo.cli.places import read_configuration
from smtppseudo.config.checks import duration_s
from smtppseudo.files import SYSTEM_LOGS
from smtppseudo.logread.logs import STDIN, Reading, find, instant

_Part = TypeVar("_Part")
_PROGRESS_FROM_BYTES: Final = 64 << 20
_PROGRESS_EVERY_S: Final = 0.5
_DAYS: Final = ("today", "yesterday")


def add_logs(command: argparse.ArgumentParser) -> None:
    """Add the logs to read as arguments."""
    logs = "a log, a directory of logs, or - for standard input; text or JSON, plain or gzipped (the log directory)"
    command.add_argument("logs", nargs="*", metavar="LOG", help=logs)
    command.add_argument("--config", metavar="FILE", help="the settings file, which names the log directory")


def add_period(command: argparse.ArgumentParser) -> None:
    """Add the options of a period."""
    since = "start of the period: 12h or 7d (ago), yesterday, 2026-11-01 or 2026-11-01T12:00:00Z"
    command.add_argument("--since", metavar="TIME", help=since)
    command.add_argument("--until", metavar="TIME", help="end of the period, in the same form")


def read_period(options: argparse.Namespace, now: datetime, zone: tzinfo | None = None) -> tuple[str, str]:
    """Return both ends of the period in the form of the logs, empty where none is given. Raises CommandError."""
    texts = (options.since, options.until)
    since, until = (instant(parse_time(text, now, zone)) if text else "" for text in texts)
    if since and until and since >= until:
        raise exits.CommandError(f"--until {until} is not after --since {since}; see --help", exits.USAGE)
    return since, until


def parse_time(text: str, now: datetime, zone: tzinfo | None) -> datetime:
    """Parse a duration before `now`, a day by its name, or an RFC 3339 date or time. Raises CommandError.

    `zone` is the time zone of a text without one; None = local time.
    """
    if text in _DAYS:
        text = str(now.astimezone(zone).date() - timedelta(days=_DAYS.index(text)))
    try:
        if seconds := duration_s(text):
            return now - timedelta(seconds=seconds)
        at = datetime.fromisoformat(text)
        if at.tzinfo is None:
            at = at.replace(tzinfo=zone) if zone else at.astimezone()
        return at.astimezone(UTC)
    except (ValueError, OverflowError):
        message = f"{text} is not a time such as 7d (ago), yesterday, 2026-11-01 or 2026-11-01T12:00:00Z"
        raise exits.CommandError(message, exits.USAGE) from None


def find_log_files(options: argparse.Namespace, since: str = "", until: str = "") -> list[Path]:
    """Return the named files, and the files of the named directories for the period. Raises CommandError if none."""
    named = [STDIN if name == "-" else Path(name) for name in options.logs] or [_usual_directory(options)]
    files: list[Path] = []
    try:
        for path in named:
            files += find(path, since, until) if path.is_dir() else [path]
        if not files:
            days = sorted(path.name[:10] for directory in named for path in find(directory))
            places = ", ".join(map(str, named))
            if days:
                has = f"there are logs from {days[0]} to {days[-1]}"
                raise exits.CommandError(f"no logs of this period in {places}; {has}")
            raise exits.CommandError(f"no logs (such as 2026-11-24.log) in {places}; name the logs or their directory")
    except OSError as error:
        hint = "; only root and the server's group can read the logs" if error.errno == errno.EACCES else ""
        raise exits.CommandError(f"{error.filename}: {error.strerror}{hint}") from None
    return files


def _usual_directory(options: argparse.Namespace) -> Path:
    configuration = read_configuration(options, say)
    log_dir = configuration.settings.log_dir
    if log_dir == "-":
        text = " TEXT" if options.command == "find" else ""
        raise exits.CommandError(
            'log_dir = "-": the log goes to standard output; read it from there, as in'
            f" `journalctl -u smtppseudo -o cat | smtppseudo {options.command}{text} -`"
        )
    if Path(log_dir).is_dir():
        return Path(log_dir)
    if configuration.origins["log_dir"] == "default" and SYSTEM_LOGS.is_dir():
        return SYSTEM_LOGS  # this user runs no server, but may be in the service's group
    raise exits.CommandError(f"{log_dir}: no such directory; name the logs or their directory")


def with_progress(reading: Reading, parts: Iterable[_Part]) -> Iterator[_Part]:
    """Yield parts of logs; show the progress if the logs are large and standard error is a terminal."""
    total = reading.total_bytes
    is_shown = total >= _PROGRESS_FROM_BYTES and is_terminal(sys.stderr)
    print_at = time.monotonic() + _PROGRESS_EVERY_S
    for part in parts:
        yield part
        if is_shown and time.monotonic() >= print_at:
            print_at += _PROGRESS_EVERY_S
            share = min(1.0, reading.bytes_read / total)
            show_progress(f"smtppseudo: read {reading.bytes_read >> 20:,} of {total >> 20:,} MiB, {share:.0%} ")
    if is_shown:
        show_progress("")
