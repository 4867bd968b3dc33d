"""Connections that are not logged in: which one must leave for a new one."""

from collections.abc import Callable

import pytest

from smtppseudo.monitor.session import MonitorSession
from smtppseudo.monitor.unauthenticated import Source, Unauthenticated
from tests.unit.monitor_driver import Driver

HERE = Source("127.0.0.1", is_local=True)
NEXT = Source("127.0.0.2", is_local=True)
AWAY = Source("192.0.2.1", is_local=False)

Make = Callable[[], MonitorSession]


def silent() -> MonitorSession:
    return Driver().session


def begun() -> MonitorSession:
    driver = Driver()
    driver.challenge()
    return driver.session


def refused() -> MonitorSession:
    """A wrong proof came; the refusal follows."""
    driver = Driver()
    driver.say(driver.final(secret="wrong"))
    return driver.session


def failed() -> MonitorSession:
    """Everything is sent, and the socket lingers."""
    driver = Driver()
    driver.say(b"GET / HTTP/1.1\n")
    return driver.session


def logged_in() -> MonitorSession:
    driver = Driver()
    driver.log_in()
    return driver.session


def filled(*sessions: MonitorSession, source: Source = HERE, per_side: int = 32) -> Unauthenticated:
    waiting = Unauthenticated(per_side)
    for session in sessions:
        waiting.enter(session, source)
    return waiting


@pytest.mark.parametrize("make", [silent, begun, refused, failed])
def test_the_third_of_a_source_gets_the_place_of_the_older(make: Make) -> None:
    older, newer = make(), make()
    waiting = filled(older)
    assert waiting.leaving_for(HERE) is None
    waiting.enter(newer, HERE)
    assert waiting.leaving_for(HERE) is older
    assert waiting.leaving_for(NEXT) is None
    waiting.leave(older)
    assert waiting.leaving_for(HERE) is None


@pytest.mark.parametrize("ended", [refused, failed])
def test_a_failed_connection_leaves_before_one_that_waits(ended: Make) -> None:
    waits, over = silent(), ended()
    assert filled(waits, over).leaving_for(HERE) is over


def test_a_silent_connection_leaves_before_one_that_has_begun_its_login() -> None:
    first, second = begun(), silent()
    assert filled(first, second).leaving_for(HERE) is second


def test_monitors_that_are_logged_in_have_no_place() -> None:
    assert filled(*(logged_in() for _ in range(8))).leaving_for(HERE) is None


def test_a_monitor_whose_connection_ends_has_a_place_again() -> None:
    driver = Driver()
    driver.log_in()
    waiting = filled(driver.session, silent())
    assert waiting.leaving_for(HERE) is None
    driver.say(b"GET / HTTP/1.1\n")
    assert waiting.leaving_for(HERE) is driver.session


def test_loopback_and_other_addresses_are_counted_apart() -> None:
    waiting, sessions = Unauthenticated(3), [silent() for _ in range(6)]
    for number, session in enumerate(sessions[:3]):
        waiting.enter(session, Source(f"127.0.1.{number}", is_local=True))
    assert waiting.leaving_for(AWAY) is None
    assert waiting.leaving_for(HERE) is sessions[0]
    for number, session in enumerate(sessions[3:]):
        waiting.enter(session, Source(f"198.51.100.{number}", is_local=False))
    assert waiting.leaving_for(AWAY) is sessions[3]
    assert waiting.leaving_for(HERE) is sessions[0]


def test_wrong_words_from_all_loopback_addresses_count_together() -> None:
    assert HERE.guesser == NEXT.guesser != AWAY.guesser == "192.0.2.1"
