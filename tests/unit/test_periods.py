"""Times on the command line."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from smtppseudo.cli.log_files import parse_time

NOW = datetime(2026, 11, 1, 23, 30, tzinfo=UTC)
EAST = timezone(timedelta(hours=2))  # where it is 2 November


@pytest.mark.parametrize(
    ("text", "hours_ago", "hours_ago_in_the_east"),
    [("90m", 1.5, 1.5), ("today", 23.5, 1.5), ("yesterday", 47.5, 25.5), ("2026-10-31", 47.5, 49.5)],
)
def test_days_begin_at_midnight_of_the_zone(text: str, hours_ago: float, hours_ago_in_the_east: float) -> None:
    assert NOW - parse_time(text, NOW, UTC) == timedelta(hours=hours_ago)
    assert NOW - parse_time(text, NOW, EAST) == timedelta(hours=hours_ago_in_the_east)
