"""Slots: who gets one, and who has to give way."""

from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smtppseudo.slots import Admitted, ClientLimit, Evict, SlotTable, TurnedAway, source_of

EVICT_AFTER_S: Final = 5


class Guest:
    """What takes a slot."""

    def __init__(self, slot: int, now: float) -> None:
        self.slot = slot
        self.idle_since = now
        self.is_open = True

    def __repr__(self) -> str:
        return f"Guest({self.slot}, {self.idle_since}, {self.is_open})"


Table = SlotTable[Guest]


def come(table: Table, now: float) -> Guest:
    verdict = table.admit(now)
    assert isinstance(verdict, Admitted)
    guest = Guest(verdict.slot, now)
    table.enter(guest)
    return guest


def leave(table: Table, guest: Guest) -> None:
    guest.is_open = False
    table.release(guest)


def test_newcomers_take_the_lowest_free_slot() -> None:
    table = Table(5, EVICT_AFTER_S)
    guests = [come(table, 0) for _ in range(4)]
    assert [guest.slot for guest in guests] == [1, 2, 3, 4]
    for index in (2, 0, 1):
        leave(table, guests[index])
    assert [come(table, 0).slot for _ in range(4)] == [1, 2, 3, 5]
    assert table.in_use == 5


def test_to_ask_takes_nothing() -> None:
    table = Table(1, EVICT_AFTER_S)
    assert table.admit(0) == table.admit(0) == Admitted(1)
    assert table.in_use == 0
    guest = come(table, 0)
    assert table.admit(5) == table.admit(5) == Evict(guest)
    assert table.in_use == 1


def test_a_slot_keeps_its_last_occupant() -> None:
    table = Table(3, EVICT_AFTER_S)
    first, second = come(table, 0), come(table, 0)
    leave(table, first)
    assert list(table) == [first, second]
    third = come(table, 1)
    assert list(table) == [third, second]


def test_no_more_rows_are_held_than_slots_were_used() -> None:
    table = Table(60_000, EVICT_AFTER_S)
    for _ in range(100):
        leave(table, come(table, 0))
    assert len(list(table)) == 1


@pytest.mark.parametrize(("now", "evicted"), [(4.9, False), (5.0, True), (99.0, True)])
def test_an_occupant_gives_way_when_idle_for_long_enough(now: float, evicted: bool) -> None:
    table = Table(1, EVICT_AFTER_S)
    guest = come(table, 0)
    assert table.admit(now) == (Evict(guest) if evicted else TurnedAway("slots"))


def test_the_one_idle_longest_gives_way() -> None:
    table = Table(3, EVICT_AFTER_S)
    first, second, third = come(table, 0), come(table, 1), come(table, 2)
    first.idle_since = 3
    assert table.admit(20) == Evict(second)
    second.idle_since = 20
    assert table.admit(20) == Evict(third)


def test_one_that_is_closing_gives_way_to_nobody() -> None:
    table = Table(2, EVICT_AFTER_S)
    first, second = come(table, 0), come(table, 1)
    first.is_open = False
    assert table.admit(20) == Evict(second)
    second.is_open = False
    assert table.admit(20) == TurnedAway("slots")
    table.release(second)
    assert table.admit(20) == Admitted(2)


actions = st.lists(
    st.tuples(st.sampled_from(["come", "come", "act", "close", "leave", "wait", "wait"]), st.integers(0, 9)),
    max_size=80,
)


@settings(deadline=None, max_examples=200)
@given(st.integers(1, 6), actions)
def test_against_a_simple_model(count: int, actions: list[tuple[str, int]]) -> None:
    table = Table(count, EVICT_AFTER_S)
    occupants: dict[int, Guest] = {}  # by slot
    shown: dict[int, Guest] = {}
    now = 0.0
    for action, number in actions:
        present = occupants.get(number % count + 1)
        if action == "come":
            guest = admitted_as_modelled(table, occupants, count, now)
            if guest is not None:
                shown[guest.slot] = occupants[guest.slot] = guest
        elif action == "wait":
            now += number
        elif present is not None and action == "act" and present.is_open:
            present.idle_since = now
        elif present is not None and action == "close":
            present.is_open = False
        elif present is not None and action == "leave":
            leave(table, occupants.pop(present.slot))
        assert table.in_use == len(occupants)
        assert list(table) == [shown[slot] for slot in sorted(shown)]


def admitted_as_modelled(table: Table, occupants: dict[int, Guest], count: int, now: float) -> Guest | None:
    """Let one come, evicting whom the model says; None if it is turned away, as the model says."""
    if len(occupants) == count:
        verdict = table.admit(now)
        longest = min((guest.idle_since for guest in occupants.values() if guest.is_open), default=now)
        if now - longest < EVICT_AFTER_S:
            assert verdict == TurnedAway("slots")
            return None
        assert isinstance(verdict, Evict)
        occupant: Guest = verdict.occupant
        assert occupants[occupant.slot] is occupant
        assert occupant.is_open
        assert occupant.idle_since == longest
        leave(table, occupants.pop(occupant.slot))
    guest = come(table, now)
    assert guest.slot == min(set(range(1, count + 1)) - occupants.keys())
    return guest


# One client

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
def test_what_counts_as_one_client(ip: str, source: str) -> None:
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
def test_so_many_for_each_client(first: str, second: str, same: bool) -> None:
    limit = ClientLimit(2, LOOPBACK)
    for _ in range(2):
        assert limit.admits(first)
        limit.enter(first)
    assert not limit.admits(first)
    assert limit.admits(second) is not same
    limit.release(second if same else first)
    assert limit.admits(first)


def test_all_that_left_are_forgotten() -> None:
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


def test_an_exempt_address_takes_nothing_from_its_64() -> None:
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
