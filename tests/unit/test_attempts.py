"""Attempts at the magic word: five, then one a minute, for each source."""

import pytest

from smtppseudo.monitor.attempts import Attempts

HERE = "192.0.2.1"
THERE = "198.51.100.2"
START = 1_000.0


def failed(attempts: Attempts, count: int, now: float = START, source: str = HERE) -> None:
    for _ in range(count):
        assert attempts.wait_s(source, now) == 0
        attempts.count(source, now)


def test_a_new_source_does_not_wait() -> None:
    assert Attempts().wait_s(HERE, START) == 0


def test_after_five_wrong_words_a_source_waits_a_minute() -> None:
    attempts = Attempts()
    failed(attempts, 5)
    assert attempts.wait_s(HERE, START) == 60


def test_wait_s_changes_nothing() -> None:
    attempts = Attempts()
    failed(attempts, 4)
    assert [attempts.wait_s(HERE, START) for _ in range(100)] == [0] * 100


def test_the_wait_passes_with_time() -> None:
    attempts = Attempts()
    failed(attempts, 5)
    assert attempts.wait_s(HERE, START + 20) == pytest.approx(40)
    assert attempts.wait_s(HERE, START + 59) == pytest.approx(1)
    assert attempts.wait_s(HERE, START + 60) == 0


def test_then_one_a_minute() -> None:
    attempts = Attempts()
    failed(attempts, 5)
    for minute in range(1, 10):
        failed(attempts, 1, START + 60 * minute)
        assert attempts.wait_s(HERE, START + 60 * minute) == pytest.approx(60)


def test_five_attempts_return_in_five_minutes_and_never_more() -> None:
    attempts = Attempts()
    failed(attempts, 5)
    later = START + 5 * 60
    failed(attempts, 5, later)
    assert attempts.wait_s(HERE, later) == pytest.approx(60)
    much_later = START + 86_400
    failed(attempts, 5, much_later)
    assert attempts.wait_s(HERE, much_later) == pytest.approx(60)


def test_the_burst_and_the_time_to_refill_are_arguments() -> None:
    attempts = Attempts(burst=2, refill_s=3)
    failed(attempts, 2)
    assert attempts.wait_s(HERE, START) == 3
    assert attempts.wait_s(HERE, START + 3) == 0


def test_sources_do_not_affect_each_other() -> None:
    attempts = Attempts()
    failed(attempts, 5)
    assert attempts.wait_s(THERE, START) == 0
    failed(attempts, 5, source=THERE)
    assert attempts.wait_s(THERE, START) == 60


def test_attempts_at_the_same_time_all_count() -> None:
    """More may be counted than are left. On average it is still one a minute."""
    attempts = Attempts()
    failed(attempts, 4)
    attempts.count(HERE, START)
    attempts.count(HERE, START)
    assert attempts.wait_s(HERE, START) == pytest.approx(120)


def test_over_the_limit_the_oldest_source_is_forgotten() -> None:
    attempts = Attempts(sources_max=3)
    for source in ("a", "b", "c"):
        failed(attempts, 5, source=source)
    failed(attempts, 1, START + 60, source="a")  # it failed again, so the last failure of "b" is the oldest
    failed(attempts, 1, START + 60, source="d")
    waits = {source: attempts.wait_s(source, START + 60) for source in "abcd"}
    assert waits == {"a": 60, "b": 0, "c": 0, "d": 0}
    failed(attempts, 5, START + 60, source="b")
    assert attempts.wait_s("b", START + 60) == 60


def test_the_number_of_sources_is_bounded() -> None:
    attempts = Attempts()
    for number in range(10_000):
        attempts.count(str(number), START)
    assert len(attempts._left) == 4_096
