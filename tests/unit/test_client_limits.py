"""Limits per client: which addresses count as one client, and that none gets more slots than allowed."""

from typing import Final

import pytest

from smtppseudo.smtp.client_limits import ClientLimit, source_of

LOOPBACK: Final = ("127.0.0.0/8", "::1/128")


@pytest.mark.parametrize(
    ("ip", "source"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("2001:db8:0:1:ffff:ffff:ffff:ffff", "2001:db8:0:1::/64"),
        ("2001:db8:0:2::1", "2001:db8:0:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
    ],
)
def test_source_of_returns_the_client(ip: str, source: str) -> None:
    assert source_of(ip) == source


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
    ],
)
def test_each_client_has_its_limit(first: str, second: str, same: bool) -> None:
    limit = ClientLimit(2, LOOPBACK)
    for _ in range(2):
        assert limit.admits(first)
        limit.enter(first)
    assert not limit.admits(first)
    assert limit.admits(second) is not same
    limit.release(second if same else first)
    assert limit.admits(first)


def test_released_clients_are_forgotten() -> None:
    limit = ClientLimit(2, LOOPBACK)
    for ip in ("192.0.2.1", "192.0.2.1", "2001:db8::1", "2001:db8::2", "127.0.0.1"):
        limit.enter(ip)
    for ip in ("192.0.2.1", "192.0.2.1", "2001:db8::2", "2001:db8::1", "127.0.0.1"):
        limit.release(ip)
    assert not limit._counts


@pytest.mark.parametrize("ip", ["127.0.0.1", "127.255.255.255", "::1", "192.0.2.200", "2001:db8::1", "fe80::1%eth0"])
def test_exempt_networks_are_not_counted(ip: str) -> None:
    limit = ClientLimit(1, (*LOOPBACK, "192.0.2.128/25", "2001:db8::/32", "fe80::/10"))
    for _ in range(3):
        assert limit.admits(ip)
        limit.enter(ip)
    for _ in range(3):
        limit.release(ip)


def test_an_exempt_address_does_not_count_for_its_64() -> None:
    limit = ClientLimit(1, ("2001:db8::25/128",))
    limit.enter("2001:db8::25")
    assert limit.admits("2001:db8::25")
    assert limit.admits("2001:db8::26")
    limit.enter("2001:db8::26")
    assert not limit.admits("2001:db8::26")
    assert limit.admits("2001:db8::25")
    limit.release("2001:db8::25")
    assert not limit.admits("2001:db8::26")
    limit.release("2001:db8::26")
    assert not limit._counts


@pytest.mark.parametrize("ip", ["128.0.0.1", "192.0.2.127", "::2", "2001:db9::1", "2001:db9::7f00:1", "0.0.0.1"])
def test_the_neighbours_of_exempt_networks_are_counted(ip: str) -> None:
    limit = ClientLimit(1, (*LOOPBACK, "192.0.2.128/25", "2001:db8::/32"))
    assert limit.admits(ip)
    limit.enter(ip)
    assert not limit.admits(ip)


def test_0_is_no_limit() -> None:
    limit = ClientLimit(0, ())
    for _ in range(100):
        assert limit.admits("192.0.2.1")
        limit.enter("192.0.2.1")
    for _ in range(100):
        limit.release("192.0.2.1")
    assert not limit._counts
