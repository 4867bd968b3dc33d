"""Connections per minute and per caller."""

from smtppseudo.tui.rates import CallerCounts, ConnectionRate, sparkline
from tests.tui.scene import SECOND


def test_the_rate_has_what_the_events_missed() -> None:
    rate = ConnectionRate()
    rate.begin(1_000)
    rate.add(SECOND - 59, 2, is_new=False)
    rate.add(SECOND - 60, 7, is_new=False)
    rate.add(SECOND, 3)
    rate.correct(SECOND, 1_003)
    assert rate.last_minute(SECOND) == 5
    rate.correct(SECOND, 1_009)
    assert rate.last_minute(SECOND) == 11
    assert rate.last_minute(SECOND + 8) == 9  # whatever the minute of the clock


def test_bars_are_short_while_the_first_connection_is_young() -> None:
    rate = ConnectionRate()
    rate.add(SECOND - 15, 4)
    rate.add(SECOND)
    assert rate.bars(SECOND)[-3:] == [0, 4, 1]
    rate.add(SECOND - 400)
    assert rate.bars(SECOND)[-7:] == [1, 0, 0, 0, 0, 0, 5]


def test_a_sparkline_shows_every_non_zero_value() -> None:
    assert sparkline([0, 1, 50, 100]) == "·▁▄█"
    assert sparkline([]) == ""


def test_callers_are_bounded() -> None:
    callers = CallerCounts(callers_max=10)
    for _ in range(5):
        callers.add("192.0.2.1")
    for at in range(50):
        callers.add(f"198.51.100.{at}")
    assert callers.top(1) == [("192.0.2.1", 5)]


def test_why_sessions_ended_is_shown_in_per_cent() -> None:
    callers = CallerCounts()
    callers.endings.update({"quit": 71, "hung up": 22, "time-out": 7})
    assert callers.endings_text() == "quit 71 %, hung up 22 %, time-out 7 %"
