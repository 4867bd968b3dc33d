"""Periods: times on the command line."""

import argparse
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

from smtppseudo.cli import exits
from smtppseudo.config.checks import duration_s
from smtppseudo.logread.logs import instant

_DAYS: Final = ("today", "yesterday")


def duration(text: str) -> int:
    """Parse a duration such as 90s, 30m, 12h, 7d or 4w; return seconds. Raises argparse.ArgumentTypeError."""
    if seconds := duration_s(text):
        return seconds
    raise argparse.ArgumentTypeError(f"{text} is not a time such as 30m, 12h, 7d or 4w")


def add_period(command: argparse.ArgumentParser) -> None:
    """Add the options of a period."""
    command.add_argument(
        "--since",
        metavar="TIME",
        help="start of the period: 12h or 7d (ago), yesterday, 2026-11-01 or 2026-11-01T12:00:00Z",
    )
    command.add_argument("--until", metavar="TIME", help="end of the period, in the same form")


def read_period(options: argparse.Namespace, now: datetime, zone: tzinfo | None = None) -> tuple[str, str]:
    """Return both ends of the period in the form of the logs, empty where none is given. Raises CommandError."""
    try:
        texts = (options.since, options.until)
        since, until = (instant(parse_time(text, now, zone)) if text else "" for text in texts)
    except argparse.ArgumentTypeError as error:
        raise exits.CommandError(str(error), exits.USAGE) from None
    if since and until and since >= until:
        raise exits.CommandError(f"--until {until} is not after --since {since}; see --help", exits.USAGE)
    return since, until


def parse_time(text: str, now: datetime, zone: tzinfo | None) -> datetime:
    """Parse a duration before `now`, a day by its name, or an RFC 3339 date or time. Raises ArgumentTypeError.

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
        raise argparse.ArgumentTypeError(message) from None
