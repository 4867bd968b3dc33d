"""Connections that are not logged in: which one must leave for a new one."""

from collections.abc import Callable, Iterable

import pytest

from smtppseudo.monitor.session import MonitorSession
from smtppseudo.server.console import leaving_for
from tests.unit.monitor_driver import Driver

HERE = "127.0.0.1"
NEXT = "127.0.0.2"
AWAY = "192.0.2.1"

Make = Callable[[], MonitorSession]


def silent(ip: str = HERE) -> MonitorSession:
    return Driver(ip).session


def begun() -> MonitorSession:
    driver = Driver(HERE)
    driver.challenge()
    return driver.session


def refused() -> MonitorSession:
    """A wrong proof came; the refusal follows."""
    driver = Driver(HERE)
    driver.say(driver.final(secret="wrong"))
    return driver.session


def failed() -> MonitorSession:
    """Everything is sent, and the socket lingers."""
    driver = Driver(HERE)
    driver.say(b"GET / HTTP/1.1\n")
    return driver.session


def logged_in() -> MonitorSession:
    driver = Driver(HERE)
    driver.log_in()
    return driver.session


def leaving(ip: str, sessions: Iterable[MonitorSession], per_side: int = 32) -> MonitorSession | None:
    return leaving_for(ip, sessions, per_side)


@pytest.mark.parametrize("make", [silent, begun, refused, failed])
def test_the_third_of_a_source_gets_the_place_of_the_older(make: Make) -> None:
    older, newer = make(), make()
    assert leaving(HERE, [older]) is None
    assert leaving(HERE, [older, newer]) is older
    assert leaving(NEXT, [older, newer]) is None
    assert leaving(HERE, [newer]) is None


@pytest.mark.parametrize("ended", [refused, failed])
def test_a_failed_connection_leaves_before_one_that_waits(ended: Make) -> None:
    waits, over = silent(), ended()
    assert leaving(HERE, [waits, over]) is over


def test_a_silent_connection_leaves_before_one_that_has_begun_its_login() -> None:
    first, second = begun(), silent()
    assert leaving(HERE, [first, second]) is second


def test_monitors_that_are_logged_in_have_no_place() -> None:
    assert leaving(HERE, [logged_in() for _ in range(8)]) is None


def test_a_monitor_whose_connection_ends_has_a_place_again() -> None:
    driver = Driver(HERE)
    driver.log_in()
    sessions = [driver.session, silent()]
    assert leaving(HERE, sessions) is None
    driver.say(b"GET / HTTP/1.1\n")
    assert leaving(HERE, sessions) is driver.session


def test_loopback_and_other_addresses_are_counted_apart() -> None:
    sessions = [silent(f"127.0.1.{number}") for number in range(3)]
    assert leaving(AWAY, sessions, 3) is None
    assert leaving(HERE, sessions, 3) is sessions[0]
    sessions += [silent(f"198.51.100.{number}") for number in range(3)]
    assert leaving(AWAY, sessions, 3) is sessions[3]
    assert leaving(HERE, sessions, 3) is sessions[0]
