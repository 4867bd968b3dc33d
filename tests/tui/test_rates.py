"""Connections per minute and per caller."""

from smtppseudo.tui.rates import CallerCounts, ConnectionRate, sparkline
from tests.tui.scene import MINUTE


def test_the_rate_takes_the_higher_count() -> None:
    rate = ConnectionRate()
    rate.add(MINUTE, 3)
    rate.count(MINUTE, 1_000)
    rate.count(MINUTE, 1_009)
    assert rate.last(MINUTE, 2) == [0, 9]
    rate.restart()
    rate.count(MINUTE, 5)
    assert rate.last(MINUTE, 1) == [9]


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
