"""Slots: which caller gets one, and which session is evicted."""

from collections import Counter
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smtppseudo.config.settings import Settings
from smtppseudo.smtp.dialogue import Dialogue, SmtpState
from smtppseudo.smtp.session import SmtpSession
from smtppseudo.smtp.slots import SlotTable

EVICT_AFTER_S: Final = 5
DIALOGUE: Final = Dialogue(Settings())
IP: Final = "192.0.2.1"
OTHER: Final = "192.0.2.9"


def is_idle(guest: SmtpSession) -> bool:
    return guest.is_open and guest.state is not SmtpState.DATA


def table_of(count: int) -> SlotTable:
    return SlotTable(count, EVICT_AFTER_S, is_idle)


def come(table: SlotTable, now: float, ip: str = IP) -> SmtpSession:
    slot = table.free_slot()
    assert slot is not None
    guest = SmtpSession(DIALOGUE, 1, slot, ip, 50_000, b"", now)
    table.enter(guest)
    return guest


def leave(table: SlotTable, guest: SmtpSession) -> None:
    guest.close_reason = "quit"
    table.release(guest.slot)


def test_callers_get_the_lowest_free_slot() -> None:
    table = table_of(5)
    guests = [come(table, 0) for _ in range(4)]
    assert [guest.slot for guest in guests] == [1, 2, 3, 4]
    for index in (2, 0, 1):
        leave(table, guests[index])
    assert [come(table, 0).slot for _ in range(4)] == [1, 2, 3, 5]
    assert table.in_use == 5


def test_asking_for_a_slot_changes_nothing() -> None:
    table = table_of(1)
    assert table.free_slot() == table.free_slot() == 1
    assert table.in_use == 0
    guest = come(table, 0)
    assert table.free_slot() is None
    assert table.occupant_to_evict(5, IP) is table.occupant_to_evict(5, IP) is guest
    assert table.in_use == 1


def test_a_slot_keeps_its_last_occupant() -> None:
    table = table_of(3)
    first, second = come(table, 0), come(table, 0)
    leave(table, first)
    assert list(table) == [first, second]
    third = come(table, 1)
    assert list(table) == [third, second]


def test_the_table_grows_only_to_the_highest_slot_used() -> None:
    table = table_of(60_000)
    for _ in range(100):
        leave(table, come(table, 0))
    assert len(list(table)) == 1


@pytest.mark.parametrize(("now", "evicted"), [(104.9, False), (105.0, True), (199.0, True)])
def test_an_occupant_is_evicted_when_idle_long_enough(now: float, evicted: bool) -> None:
    table = table_of(1)
    guest = come(table, 100)
    assert table.occupant_to_evict(now, IP) is (guest if evicted else None)


def test_the_occupant_idle_longest_is_evicted() -> None:
    table = table_of(3)
    first, second, third = come(table, 0), come(table, 1), come(table, 2)
    first.idle_since = 3
    assert table.occupant_to_evict(20, IP) is second
    second.idle_since = 20
    assert table.occupant_to_evict(20, IP) is third


def test_a_closing_occupant_is_not_evicted() -> None:
    table = table_of(2)
    first, second = come(table, 0), come(table, 1)
    first.close_reason = "quit"
    assert table.occupant_to_evict(20, IP) is second
    second.close_reason = "quit"
    assert table.occupant_to_evict(20, IP) is None
    assert table.free_slot() is None
    table.release(second.slot)
    assert table.free_slot() == 2


def test_an_occupant_at_work_is_not_evicted() -> None:
    table = table_of(2)
    first, second = come(table, 0), come(table, 1)
    first.state = SmtpState.DATA
    assert table.occupant_to_evict(20, IP) is second
    second.state = SmtpState.DATA
    assert table.occupant_to_evict(20, IP) is None
    first.state, first.idle_since = SmtpState.READY, 21
    assert table.occupant_to_evict(25.9, IP) is None
    assert table.occupant_to_evict(26, IP) is first


def test_a_source_that_holds_most_makes_room_for_one_that_holds_none() -> None:
    table = table_of(7)
    most = [come(table, at, f"2001:db8::{at}") for at in range(3)]
    fewer = [come(table, 0, "192.0.2.2"), come(table, 0, "192.0.2.2")]
    lone = come(table, 0, OTHER)
    come(table, 0, "192.0.2.3").state = SmtpState.DATA
    for guest in (*most, *fewer, lone):
        guest.idle_since = 10
    assert table.occupant_to_evict(10, OTHER) is table.occupant_to_evict(10, "2001:db8::9") is None
    most[0].idle_since = 11
    newcomers = [f"198.51.100.{number}" for number in range(5)]
    evicted = []
    for newcomer in newcomers:
        if leaving := table.occupant_to_evict(11, newcomer):
            evicted.append(leaving)
            leave(table, leaving)
            come(table, 11, newcomer)
    # One of three; then one of each two, of the source first that has had two longest. Nobody loses its last one.
    assert evicted == [most[1], fewer[0], most[2]]


def test_sources_are_forgotten_when_half_of_the_slots_are_free() -> None:
    table = table_of(4)
    guests = [come(table, 0, f"192.0.2.{number % 2}") for number in range(4)]
    assert table.occupant_to_evict(1, IP) is None
    assert table.occupant_to_evict(1, OTHER) is guests[0]
    assert table._holders is not None
    for guest in guests[:3]:
        leave(table, guest)
    assert table._holders is None


def test_an_occupant_at_work_or_new_does_not_make_room() -> None:
    table = table_of(4)
    guests = [come(table, 100) for _ in range(4)]
    assert table.occupant_to_evict(100.9, OTHER) is None
    assert table.occupant_to_evict(101, OTHER) is guests[0]
    for guest in guests[:3]:
        guest.state = SmtpState.DATA
    assert table.occupant_to_evict(101, OTHER) is guests[3]
    guests[3].close_reason = "quit"
    assert table.occupant_to_evict(101, OTHER) is None
    guests[1].state, guests[1].idle_since = SmtpState.READY, 101
    assert table.occupant_to_evict(101.05, OTHER) is None  # it looks again only after a tenth of a second
    assert table.occupant_to_evict(101.2, OTHER) is guests[1]


def test_a_flood_from_new_sources_looks_at_a_limited_number_of_occupants() -> None:
    looks = 0

    def look(guest: SmtpSession) -> bool:
        nonlocal looks
        looks += 1
        return is_idle(guest)

    table = SlotTable(5_000, EVICT_AFTER_S, look)
    guests = [come(table, 0, "192.0.2.1" if at < 1_000 else f"10.1.{at // 200}.{at // 5 % 40}") for at in range(5_000)]
    for guest in guests:
        guest.state = SmtpState.DATA
    assert table.occupant_to_evict(2, OTHER) is None
    looks = 0
    for _ in range(1_000):
        assert table.occupant_to_evict(3, OTHER) is None
    assert looks == 64 + 15 * 5
    guests[4_321].state = guests[999].state = SmtpState.READY
    found = {table.occupant_to_evict(4 + number, OTHER) for number in range(100)}
    assert found == {None, guests[999]}  # the source that holds most comes first, and all its sessions in turn


def test_idle_occupants_have_been_idle_long_enough() -> None:
    table = table_of(4)
    first, second, third, fourth = (come(table, 0) for _ in range(4))
    second.state = SmtpState.DATA
    third.close_reason = "quit"
    fourth.idle_since = 1
    assert table.idle_occupants(4.9) == []
    assert table.idle_occupants(5) == [first]
    assert table.idle_occupants(6) == [first, fourth]


def test_a_flood_looks_at_occupants_at_work_once_a_while() -> None:
    looks = 0

    def is_idle(guest: SmtpSession) -> bool:
        nonlocal looks
        looks += 1
        return False

    table = SlotTable(100, EVICT_AFTER_S, is_idle)
    for _ in range(100):
        come(table, 0)
    for number in range(1000):
        assert table.occupant_to_evict(20 + number / 100, IP) is None
    assert looks == 200


def test_slots_are_short_below_a_fifth_free_until_a_quarter_is_free() -> None:
    table = table_of(24)
    guests = [come(table, 0) for _ in range(19)]  # 5 of 24 are free, more than a fifth
    assert not table.update_shortage()
    guests.append(come(table, 0))
    assert table.update_shortage()
    leave(table, guests.pop())  # more than a fifth again, but not yet a quarter
    assert table.update_shortage()
    leave(table, guests.pop())
    assert not table.update_shortage()


actions = st.lists(
    st.tuples(
        st.sampled_from(["come", "come", "act", "begin", "finish", "close", "leave", "wait", "wait"]), st.integers(0, 9)
    ),
    max_size=80,
)


@settings(max_examples=200)
@given(st.integers(1, 6), actions)
def test_against_a_simple_model(count: int, actions: list[tuple[str, int]]) -> None:
    table = table_of(count)
    occupants: dict[int, SmtpSession] = {}  # by slot
    shown: dict[int, SmtpSession] = {}
    now, failed_at = 0.0, -1.0
    for action, number in actions:
        present = occupants.get(number % count + 1)
        if action == "come":
            may_look = failed_at != now
            guest = admitted_as_modelled(table, occupants, count, now, f"192.0.2.{number % 4}", may_look=may_look)
            failed_at = now if guest is None else failed_at
            if guest is not None:
                shown[guest.slot] = occupants[guest.slot] = guest
        elif action == "wait":
            now += number
        elif present is not None and action == "act" and present.is_open:
            present.idle_since = now
        elif present is not None and action == "begin":
            present.state = SmtpState.DATA
        elif present is not None and action == "finish" and present.state is SmtpState.DATA:
            present.state, present.idle_since = SmtpState.READY, now
        elif present is not None and action == "close":
            present.close_reason = "quit"
        elif present is not None and action == "leave":
            leave(table, occupants.pop(present.slot))
        assert table.in_use == len(occupants)
        assert list(table) == [shown[slot] for slot in sorted(shown)]


def admitted_as_modelled(
    table: SlotTable, occupants: dict[int, SmtpSession], count: int, now: float, ip: str, *, may_look: bool
) -> SmtpSession | None:
    """Admit a caller, after an eviction if the model demands it; return None if the model turns it away."""
    if len(occupants) == count:
        assert table.free_slot() is None
        longest = min((guest.idle_since for guest in occupants.values() if is_idle(guest)), default=now)
        occupant = table.occupant_to_evict(now, ip)
        if now - longest >= EVICT_AFTER_S:
            assert occupant is not None
            assert occupant.idle_since == longest
        else:
            assert occupant in may_make_room(list(occupants.values()), now, ip) or (occupant is None and not may_look)
        if occupant is None:
            return None
        assert occupants[occupant.slot] is occupant
        assert is_idle(occupant)
        leave(table, occupants.pop(occupant.slot))
    guest = come(table, now, ip)
    assert guest.slot == min(set(range(1, count + 1)) - occupants.keys())
    return guest


def may_make_room(occupants: list[SmtpSession], now: float, ip: str) -> list[SmtpSession | None]:
    """Return the occupants of which one leaves for a caller: each the one idle longest of a source that holds most."""
    held = Counter(guest.ip for guest in occupants)
    able = [guest for guest in occupants if held[guest.ip] > 1 and is_idle(guest) and now - guest.started_at >= 1]
    if ip in held or not able:
        return [None]
    most = max(held[guest.ip] for guest in able)
    longest = {guest.ip: min(other.idle_since for other in able if other.ip == guest.ip) for guest in able}
    return [guest for guest in able if held[guest.ip] == most and guest.idle_since == longest[guest.ip]]
