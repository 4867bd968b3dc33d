"""Policy: which sources are listed, and for how long."""

import pytest

from smtppseudo.blocklist.policy import DAY_S, Entry, Hits, Policy, entry_of, policy_of
from smtppseudo.config.settings import Settings

WINDOW, EXPIRE = 1_000, 300
POLICY = Policy(3, WINDOW, EXPIRE)
IP = "192.0.2.7"


def listed(times: list[int], now: int, policy: Policy = POLICY) -> int | None:
    """Return when the listing expires; None if there is none."""
    entry = entry_of(policy, IP, times, now)
    return entry.expires if entry is not None else None


def test_default_policy() -> None:
    assert policy_of(Settings()) == Policy(3, 30 * DAY_S, 7 * DAY_S)
    half = Settings(blocklist_min_hits=1, blocklist_window_days=0.5, blocklist_expire_days=0.01)
    assert policy_of(half) == Policy(1, DAY_S // 2, 864)


def test_default_policy_does_not_list_two_hits() -> None:
    policy = policy_of(Settings())
    assert listed([0], 1, policy) is None
    assert listed([0, DAY_S], DAY_S, policy) is None
    assert listed([0, DAY_S, 2 * DAY_S], 2 * DAY_S, policy) == 9 * DAY_S


@pytest.mark.parametrize(
    ("times", "now", "until"),
    [
        ([], 0, None),
        ([10, 20], 20, None),
        ([10, 20, 30], 30, 330),
        ([10, 10, 10], 10, 310),
        ([10, 20, 30], 329, 330),
        ([10, 20, 30], 330, None),  # no longer listed at the moment of expiry
        ([10, 20, 30], 29, None),  # the third hit is in the future
        ([0, 500, WINDOW], WINDOW, WINDOW + EXPIRE),  # both ends belong to the window
        ([0, 500, WINDOW + 1], WINDOW + 1, None),
        ([0, 10, 20, 900], 900, 1_200),  # each further hit within the window renews it
        ([0, 10, 20, 900, 950], 1_000, 1_250),
        ([0, 10, 20, 1_100], 1_100, None),
        ([0, 980, 990, 1_290], 1_290, 1_590),  # expired at that moment, but one more hit lists it again
    ],
)
def test_window_and_expiry(times: list[int], now: int, until: int | None) -> None:
    assert listed(times, now) == until


def test_later_hit_outside_the_window_does_not_extend_the_listing() -> None:
    policy = Policy(3, 100, 1_000)
    assert listed([0, 10, 20, 500], 600, policy) == 1_020


def test_one_hit_lists_with_min_hits_1() -> None:
    policy = Policy(1, WINDOW, EXPIRE)
    assert listed([5], 5, policy) == 305
    assert (policy.needed_hits, policy.kept_hits) == (1, 32)


def test_hits_are_sorted_and_limited() -> None:
    hits = Hits(POLICY)
    for at in range(0, 40, 2):
        hits.add(IP, at)
        hits.add(IP, 39 - at)
    assert (POLICY.needed_hits, POLICY.kept_hits) == (5, 32)
    assert list(hits.times_of(IP)) == list(range(8, 40))
    assert not hits.times_of("192.0.2.8")


def test_add_returns_whether_the_source_became_listed() -> None:
    hits = Hits(POLICY)
    assert [hits.add(IP, at) for at in (10, 20, 30, 40, 5_000)] == [False, False, True, False, False]


def test_review_yields_listed_sources_and_removes_old_ones() -> None:
    hits = Hits(POLICY)
    for source, times in {"192.0.2.1": (0, 1, 2), "192.0.2.2": (1_500,), "192.0.2.3": (1_400, 1_401, 1_402)}.items():
        for at in times:
            hits.add(source, at)
    assert list(hits.review([*hits.sources(), "192.0.2.9"], 1_500)) == [Entry("192.0.2.3", 1_402, 1_702)]
    assert hits.sources() == ["192.0.2.2", "192.0.2.3"]
    assert len(hits.sources()) == 2


def test_sources_are_limited_and_the_oldest_are_removed_first() -> None:
    hits = Hits(POLICY, sources_max=3)
    for at, source in enumerate("abcad"):
        hits.add(source, at)
    assert "d" in hits.sources()
    assert len(hits.sources()) <= 3
    assert hits.forgotten
    many = Hits(POLICY, sources_max=5_000)
    for at in range(20_000):
        many.add("busy", at)
        many.add(str(at), at)
    assert len(many.sources()) <= 5_000
    assert "busy" in many.sources()
    assert str(19_999) in many.sources()
    assert len(many.sources()) + len(many.forgotten) == 20_001


def test_sources_with_one_hit_are_forgotten_first_and_listed_ones_last() -> None:
    hits = Hits(POLICY, sources_max=4)
    for source in ("listed", "listed", "listed", "twice", "twice", "once"):
        hits.add(source, 1)
    forgotten: list[str] = []
    for at in range(2, 20):
        before = set(hits.sources())
        hits.add(f"new {at}", at)
        hits.add(f"new {at}", at)
        forgotten += before - set(hits.sources())
        assert "listed" in hits.sources()
    assert forgotten == ["once", "twice", *(f"new {at}" for at in range(2, 17))]
    assert (len(hits.forgotten), hits.lost) == (17, 0)
    for source in ("a", "b", "c", "d"):
        for _ in range(3):
            hits.add(source, 20)
    assert hits.sources() == ["a", "b", "c", "d"]  # of the listed ones, the one that was quiet longest
    assert hits.lost == 1


def test_a_48_has_at_most_some_64s_that_are_not_listed() -> None:
    hits = Hits(POLICY, unlisted_per_48=3)
    listed, others = "2a01:0:0:ffff::/64", ["2a01:0:1::/64", "20.1.1.1", "2a02::/64"]
    first, second, third, fourth = ("2a01::/64", *(f"2a01:0:0:{number}::/64" for number in (1, 2, 3)))
    for source in (listed, listed, listed, *others, first, second, third, first):
        hits.add(source, 1)
    assert set(hits.sources()) == {listed, *others, first, second, third}  # a listed source takes no place
    hits.add(fourth, 2)
    assert set(hits.sources()) == {listed, *others, first, third, fourth}
    assert [entry.source for entry in hits.review(hits.sources(), 2)] == [listed]
    assert list(hits.review(hits.sources(), 1 + EXPIRE)) == []  # it expires, and takes a place again
    assert set(hits.sources()) == {listed, *others, first, fourth}
    for source in hits.sources():
        hits._remove(source)
    assert not hits._by_48


@pytest.mark.parametrize("now", [2, 3 + EXPIRE, -1])
def test_a_source_is_listed_and_unlisted_as_the_clock_says(now: int) -> None:
    hits = Hits(POLICY)
    for at in (1, 2, 3):
        hits.add(IP, at)
    assert list(hits.review([IP], now)) == []
    assert hits.sources() == [IP]
    assert list(hits.review([IP], 4)) == [Entry(IP, 3, 3 + EXPIRE)]


def test_of_sources_that_return_in_turn_most_are_kept() -> None:
    """A tenth is too many; if the oldest alone were forgotten, each source would be forgotten before it returns."""
    hits = Hits(POLICY, sources_max=2_000)
    for at in range(3):
        for number in range(2_200):
            hits.add(str(number), at)
    assert sum(1 for _ in hits.review(hits.sources(), 3)) > 1_500


def test_sources_of_which_hits_were_forgotten_are_missing_if_they_may_be_listed() -> None:
    hits = Hits(POLICY, sources_max=3)
    for source in ("once", "again", "often", "often", "often", "a", "b", "c", "d", "again", "again", "d", "d"):
        hits.add(source, 1)
    assert set(hits.forgotten) == {"once", "again", "a", "b", "c"}
    assert set(hits.sources()) == {"often", "again", "d"}
    assert hits.forgotten["again"] == 1
    assert [len(list(hits.missing(least))) for least in (1, 2, 3, 4)] == [5, 1, 1, 0]
    assert list(hits.missing(3)) == ["again"]
    assert not hits.has_forgotten_more


def test_memory_of_forgotten_sources_is_limited() -> None:
    hits = Hits(POLICY, sources_max=2, forgotten_max=3)
    for source in "abcde":
        hits.add(source, 1)
    assert (list(hits.forgotten), hits.has_forgotten_more) == (["a", "b", "c"], False)
    hits.add("f", 1)
    assert (list(hits.forgotten), hits.has_forgotten_more) == (["a", "b", "c"], True)
