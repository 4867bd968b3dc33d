"""Periods: times on the command line."""

import argparse
import contextlib
import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_duration(text: str) -> timedelta:
    """Parse a duration such as 90s, 30m, 12h, 7d or 4w. Raises argparse.ArgumentTypeError."""
    match = re.fullmatch(r"(\d{1,6})([smhdw])", text, re.ASCII)
    if match is None or not int(match[1]):
        raise argparse.ArgumentTypeError(f"{text} is not a time such as 30m, 12h, 7d or 4w")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def parse_time(text: str, now: datetime, zone: tzinfo | None) -> datetime:
    """Parse a duration before `now`, or an RFC 3339 date or time. Raises argparse.ArgumentTypeError.

    `zone` is the time zone of a text without one; None = local time.
    """
    try:
        with contextlib.suppress(argparse.ArgumentTypeError):
            return now - parse_duration(text)
        at = datetime.fromisoformat(text)
        if at.tzinfo is None:
            at = at.replace(tzinfo=zone) if zone else at.astimezone()
        return at.astimezone(UTC)
    except (ValueError, OverflowError):
        message = f"{text} is not a time such as 7d (ago), 2026-11-01 or 2026-11-01T12:00:00Z"
        raise argparse.ArgumentTypeError(message) from None
