"""Shares of the log: which source is above its share, how many of its sessions are logged, when all begins again."""

from collections.abc import Iterable

import pytest

from smtppseudo.log.shares import SESSIONS_MAX, SHARES, SOURCES_MAX, Shares, source_of

DAY, NEXT_DAY = "2026-11-24", "2026-11-25"
A, B, C = "192.0.2.1", "192.0.2.2", "198.51.100.3"
OTHERS = "all other sources together"


def use(shares: Shares, ips: Iterable[str]) -> list[str]:
    """Log one sample of each address; return the sources that used up their share with it."""
    return [source for ip in ips if (source := shares.charge(ip, DAY))]


def small(**limits: int) -> Shares:
    """Return shares of 4 KiB, and samples of 1 KiB."""
    return Shares(64 * 4_096, **limits)


def test_the_limits() -> None:
    assert (SHARES, SOURCES_MAX, SESSIONS_MAX) == (64, 10_000, 100)
    assert Shares(1 << 30).sample_bytes == (16 << 20) / 256
    assert small().sample_bytes == 1_024


def test_a_source_is_above_its_share_after_more_than_a_64th_of_the_day() -> None:
    shares = small()
    assert use(shares, [A] * 4 + [B] * 4) == []
    assert shares.source_above(A, DAY) == ""
    assert use(shares, [A, A]) == [A]
    assert (shares.source_above(A, DAY), shares.source_above(B, DAY), shares.source_above(C, DAY)) == (A, "", "")


def test_without_a_limit_of_the_day_nobody_has_a_share() -> None:
    shares = Shares(0)
    assert use(shares, [A] * 1_000) == []
    assert shares.sample_bytes == float("inf")


@pytest.mark.parametrize(
    ("ip", "source"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:7:1::25", "2001:db8:7::/48"),
        ("2001:db8:7:ffff:1:2:3:4", "2001:db8:7::/48"),
        ("2001:0:0:5::1", "2001::/48"),
        ("fe80::1%eth0", "fe80::/48"),
    ],
)
def test_the_source_of_an_address(ip: str, source: str) -> None:
    assert source_of(ip) == source


def test_addresses_of_a_48_share() -> None:
    shares = small()
    assert use(shares, [f"2001:db8:7:{number:x}::25" for number in range(5)]) == ["2001:db8:7::/48"]
    assert shares.source_above("2001:db8:7:abcd::1", DAY) == "2001:db8:7::/48"
    assert shares.source_above("2001:db8:8::1", DAY) == ""


def test_exempt_addresses_have_no_share() -> None:
    shares = small()
    shares.is_exempt = {A, "2001:db8:7::1"}.__contains__
    assert use(shares, [A] * 99 + ["2001:db8:7::1"] * 99) == []
    use(shares, ["2001:db8:7::2"] * 5)
    assert shares.source_above("2001:db8:7::2", DAY)
    assert not shares.source_above("2001:db8:7::1", DAY)


def test_sources_beyond_the_limit_are_one() -> None:
    shares = small(sources_max=2)
    assert use(shares, [A, B, *[f"198.51.100.{number}" for number in range(5)]]) == [OTHERS]
    assert [shares.source_above(ip, DAY) for ip in (A, B, C, "203.0.113.9")] == ["", "", OTHERS, OTHERS]


def test_only_some_sessions_of_an_hour_are_logged() -> None:
    shares = small(sessions_max=2)
    use(shares, [A] * 5 + [B] * 5)
    assert [shares.begin_session(A, 7) for _ in range(4)] == [True, True, False, False]
    assert shares.begin_session(B, 7)
    assert [shares.begin_session(A, 8) for _ in range(3)] == [True, True, False]


def test_a_new_day_begins_with_whole_shares() -> None:
    shares = small()
    use(shares, [A] * 5)
    assert shares.source_above(A, DAY)
    assert not shares.source_above(A, NEXT_DAY)
    assert [shares.charge(A, NEXT_DAY) for _ in range(5)] == ["", "", "", "", A]
