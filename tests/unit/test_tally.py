"""Tallies: exact up to a number of names, with a known error above it."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from smtppseudo.report.report import Tally

names = st.lists(st.sampled_from("abcdefghijklmnopqrstuvwxyz"), max_size=200)


def test_counts_are_exact_up_to_the_limit() -> None:
    tally = Tally(kept=2)
    tally.add({"a": 1, "b": 5})
    tally.add({"a": 2, "c": 5, "d": 1})
    assert tally.top(3) == [("b", 5), ("c", 5), ("a", 3)]
    assert tally.in_order() == [("a", 3), ("b", 5), ("c", 5), ("d", 1)]
    assert (tally.short, tally.total, len(tally)) == (0, 14, 4)


@given(st.lists(names, max_size=20), st.integers(1, 8))
def test_count_is_never_too_high_and_at_most_short_too_low(batches: list[list[str]], kept: int) -> None:
    tally, truth = Tally(kept), Counter[str]()
    for batch in batches:
        tally.add(Counter(batch))
        truth.update(batch)
        assert len(tally) <= 2 * kept
    counts = dict(tally.in_order())
    for name, count in truth.items():
        assert count - tally.short <= counts.get(name, 0) <= count
    assert tally.total == truth.total()
    assert tally.short * kept <= tally.total
    assert tally.short == 0 or len(truth) > 2 * kept


def test_frequent_name_survives_any_number_of_rare_names() -> None:
    tally = Tally(kept=10)
    for number in range(1_000):
        tally.add({"often": 3, **{f"once{number}-{index}": 1 for index in range(20)}})
    assert tally.top(1)[0][0] == "often"
    assert len(tally) <= 20


def test_long_names_are_cut_and_empty_ones_ignored() -> None:
    tally = Tally()
    tally.add({"": 7, "a" * 128: 1, "b" * 129: 2, "b" * 1_000: 3})
    assert tally.in_order() == [("a" * 128, 1), ("b" * 125 + "...", 5)]
    assert tally.total == 6
    tally.add({"": 1})
    assert tally.total == 6
