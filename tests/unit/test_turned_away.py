"""Callers turned away: every one is counted, and a flood cannot fill the log."""

from collections import Counter
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smtppseudo.events import TurnedAway, TurnedAwayReason
from smtppseudo.smtp.turned_away import PER_SECOND_MAX, SOURCES_MAX, Summed, TurnedAwaySummary

A: Final = "192.0.2.1"
B: Final = "2001:db8::1"


def test_the_limits() -> None:
    assert (PER_SECOND_MAX, SOURCES_MAX) == (100, 10_000)
    assert TurnedAwaySummary().is_empty


def test_the_first_caller_is_reported_at_once_and_the_rest_of_the_second_summed() -> None:
    summary = TurnedAwaySummary()
    assert summary.note(A, "slots") == [(A, TurnedAway("slots", 1))]
    assert not summary.is_empty
    assert [summary.note(A, "slots") for _ in range(3)] == [[], [], []]
    assert summary.note(B, "slots") == [(B, TurnedAway("slots", 1))]
    assert summary.second_passed() == [(A, TurnedAway("slots", 3))]
    assert summary.second_passed() == []
    assert summary.is_empty


def test_a_reported_sum_uses_up_the_report_of_its_second() -> None:
    summary = TurnedAwaySummary()
    summary.note(A, "slots")
    summary.note(A, "slots")
    summary.second_passed()
    assert summary.note(A, "slots") == []
    assert summary.second_passed() == [(A, TurnedAway("slots", 1))]


def test_reasons_are_counted_separately() -> None:
    summary = TurnedAwaySummary()
    assert summary.note(A, "slots") == [(A, TurnedAway("slots", 1))]
    assert summary.note(A, "client") == [(A, TurnedAway("client", 1))]
    for reason in ("slots", "client", "client"):
        summary.note(A, reason)
    assert summary.second_passed() == [(A, TurnedAway("slots", 1)), (A, TurnedAway("client", 2))]


def test_sources_over_the_limit_per_second_are_reported_later() -> None:
    summary = TurnedAwaySummary(per_second=2)
    said = [summary.note(f"192.0.2.{number}", "slots") for number in range(5)]
    assert [len(refusals) for refusals in said] == [1, 1, 0, 0, 0]
    assert summary.second_passed() == [("192.0.2.2", TurnedAway("slots", 1)), ("192.0.2.3", TurnedAway("slots", 1))]
    assert summary.note(A, "client") == []
    assert summary.second_passed() == [("192.0.2.4", TurnedAway("slots", 1)), (A, TurnedAway("client", 1))]


def test_the_sums_that_waited_longest_are_reported_first() -> None:
    summary = TurnedAwaySummary(per_second=1)
    for ip in ("192.0.2.1", "192.0.2.2", "192.0.2.3"):
        summary.note(ip, "slots")
    assert summary.second_passed() == [("192.0.2.2", TurnedAway("slots", 1))]
    summary.note("192.0.2.2", "slots")
    assert summary.second_passed() == [("192.0.2.3", TurnedAway("slots", 1))]
    assert summary.second_passed() == [("192.0.2.2", TurnedAway("slots", 1))]


def test_a_flood_from_one_source_is_one_report_a_second() -> None:
    summary = TurnedAwaySummary()
    said = [refusal for _ in range(10_000) for refusal in summary.note(A, "client")]
    said += summary.second_passed()
    assert said == [(A, TurnedAway("client", 1)), (A, TurnedAway("client", 9_999))]


def test_a_flood_from_many_sources_is_a_hundred_reports_a_second() -> None:
    summary = TurnedAwaySummary()
    said = [
        refusal for number in range(1000) for refusal in summary.note(f"10.0.{number >> 8}.{number & 255}", "slots")
    ]
    assert len(said) == 100
    for left in range(800, -1, -100):
        assert len(summary.second_passed()) == 100
        assert len([count for count in summary._counts.values() if count]) == left
    assert summary.second_passed() == []


def test_callers_over_the_source_limit_are_summed_without_an_address() -> None:
    summary = TurnedAwaySummary(sources_max=2)
    for ip in (A, B, "192.0.2.3", "192.0.2.4", A):
        summary.note(ip, "slots")
    summary.note("192.0.2.5", "client")
    assert summary.second_passed() == [
        (A, TurnedAway("slots", 1)),
        ("", TurnedAway("slots", 2)),
        ("", TurnedAway("client", 1)),
    ]


def test_the_rest_is_one_sum_for_each_reason() -> None:
    summary = TurnedAwaySummary(per_second=1)
    assert summary.rest() == []
    for ip in (A, A, B):
        summary.note(ip, "slots")
    summary.note(B, "client")
    assert summary.rest() == [("", TurnedAway("slots", 2)), ("", TurnedAway("client", 1))]
    assert summary.is_empty
    summary.second_passed()
    summary.note(A, "slots")
    assert summary.rest() == []


REASONS: Final[tuple[TurnedAwayReason, ...]] = ("slots", "client", "proxy")
moments = st.lists(st.none() | st.tuples(st.sampled_from("abcdefgh"), st.sampled_from(REASONS)), max_size=120)


@settings(max_examples=150)
@given(st.integers(1, 4), st.integers(1, 6), moments)
def test_no_caller_is_lost_and_no_second_exceeds_its_limit(
    per_second: int, sources_max: int, moments: list[tuple[str, TurnedAwayReason] | None]
) -> None:
    summary = TurnedAwaySummary(per_second, sources_max)
    seconds: list[list[Summed]] = [[]]
    for moment in moments:
        if moment is None:
            seconds.append(summary.second_passed())
        else:
            seconds[-1] += summary.note(*moment)
        assert len(summary._counts) <= sources_max + len(REASONS)
    for said in seconds:
        assert len(said) <= per_second
        assert max(Counter((ip, refused.reason) for ip, refused in said).values(), default=0) <= 1
    seconds.append(summary.rest())
    check_sums([moment for moment in moments if moment], [refusal for said in seconds for refusal in said])


def check_sums(noted: list[tuple[str, TurnedAwayReason]], said: list[Summed]) -> None:
    for reason in REASONS:
        sums: Counter[str] = Counter()
        for ip, refused in said:
            assert refused.count > 0
            if refused.reason == reason:
                sums[ip] += refused.count
        callers = Counter(ip for ip, why in noted if why == reason)
        assert sums.total() == callers.total()
        assert all(count <= callers[ip] for ip, count in sums.items() if ip)


@pytest.mark.parametrize("seconds", [1, 2, 20])
def test_the_summary_is_empty_soon_after_the_last_caller(seconds: int) -> None:
    summary = TurnedAwaySummary(per_second=1)
    for _ in range(seconds):
        summary.note(A, "slots")
        summary.second_passed()
    summary.second_passed()
    assert summary.is_empty
