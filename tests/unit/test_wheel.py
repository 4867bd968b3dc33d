"""The timer wheel: an item is never due early, and late by the resolution at most."""

from hypothesis import given, settings
from hypothesis import strategies as st

from smtppseudo.loop.wheel import RESOLUTION_S, Timed, Wheel

NOW = 1000.0


class Item:
    """An item of a wheel."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.due_tick = 0

    def __repr__(self) -> str:
        return self.name

    def due(self, now: float) -> None: ...
    def fault(self, error: Exception, /) -> None: ...


def test_an_empty_wheel_has_nothing_due() -> None:
    wheel = Wheel()
    assert wheel.next_due() is None
    assert wheel.take_due(1e12) == []


def test_an_item_is_due_once() -> None:
    wheel = Wheel(0.25)
    item = Item()
    wheel.schedule(item, NOW + 1)
    assert wheel.take_due(NOW + 0.999) == []
    assert wheel.take_due(NOW + 1.25) == [item]
    assert item.due_tick == 0
    assert wheel.take_due(NOW + 9) == []
    assert wheel.next_due() is None


def test_all_due_items_come_together_and_the_others_stay() -> None:
    wheel = Wheel(0.25)
    items = [Item(str(number)) for number in range(5)]
    for number, item in enumerate(items):
        wheel.schedule(item, NOW + number)
    assert set(wheel.take_due(NOW + 2.25)) == set(items[:3])
    assert wheel.next_due() == NOW + 3.25
    assert wheel.take_due(NOW + 3.25) == [items[3]]


def test_a_moved_item_is_due_only_at_its_new_deadline() -> None:
    wheel = Wheel(0.25)
    item, other = Item(), Item()
    wheel.schedule(item, NOW + 1)
    wheel.schedule(other, NOW + 9)
    wheel.schedule(item, NOW + 5)
    assert wheel.next_due() == NOW + 5.25
    assert wheel.take_due(NOW + 4) == []
    wheel.schedule(item, NOW + 3)
    wheel.schedule(item, NOW + 3.1)
    assert wheel.take_due(NOW + 4) == [item]
    assert wheel.take_due(NOW + 99) == [other]


def test_a_cancelled_item_is_not_due() -> None:
    wheel = Wheel()
    item, other = Item(), Item()
    wheel.schedule(item, NOW)
    wheel.schedule(other, NOW)
    wheel.cancel(item)
    wheel.cancel(item)
    wheel.cancel(Item())
    assert wheel._stale == 1
    assert wheel.take_due(NOW + 1) == [other]
    wheel.cancel(other)
    wheel.schedule(item, NOW + 2)
    assert wheel.take_due(NOW + 3) == [item]


def test_a_deadline_in_the_past_is_due_at_once() -> None:
    wheel = Wheel()
    item = Item()
    wheel.take_due(NOW)
    wheel.schedule(item, NOW - 500)
    assert wheel.take_due(NOW) == [item]


def test_an_empty_bucket_is_removed() -> None:
    wheel = Wheel(0.25)
    item = Item()
    for _ in range(3):
        wheel.schedule(item, NOW)
        wheel.cancel(item)
        assert wheel.next_due() is None
        assert (wheel._buckets, wheel._stale) == ({}, 0)
    wheel.schedule(item, NOW)
    assert wheel.next_due() == NOW + 0.25


def entries(wheel: Wheel) -> int:
    """Return the number of entries, stale ones included."""
    return sum(map(len, wheel._buckets.values()))


def test_an_item_that_is_scheduled_again_for_the_same_time_adds_no_entry() -> None:
    wheel = Wheel()
    item = Item()
    for _ in range(3):
        wheel.schedule(item, NOW)
    assert (entries(wheel), wheel._stale) == (1, 0)


def test_stale_entries_leave_with_their_buckets() -> None:
    wheel = Wheel()
    items = [Item() for _ in range(9)]
    for number, item in enumerate(items):
        wheel.schedule(item, NOW + number % 3)
    for item in items[:4]:
        wheel.schedule(item, NOW + 7)
    assert wheel._stale == 4
    assert len(wheel.take_due(NOW + 3)) == 5
    assert (wheel._stale, entries(wheel)) == (0, 4)


def test_stale_entries_do_not_pile_up() -> None:
    wheel = Wheel()
    stays, moves = [Item() for _ in range(200)], Item()
    for item in stays:
        wheel.schedule(item, NOW + 50)
    for number in range(10_000):
        item = Item()
        wheel.schedule(item, NOW + number % 7)
        wheel.schedule(moves, NOW + number % 5)
        wheel.cancel(item)
        assert entries(wheel) <= 2 * 201 + 2
    before = entries(wheel)
    for _ in range(150 - wheel._stale):  # they are removed rarely, because that looks at all entries
        wheel.schedule(moves, NOW + 8)
        wheel.cancel(moves)
    assert entries(wheel) >= before
    assert wheel.take_due(NOW + 49) == []
    assert wheel.take_due(NOW + 51) == stays
    assert (wheel._stale, entries(wheel), wheel.next_due()) == (0, 0, None)


def test_an_item_that_is_scheduled_elsewhere_has_no_entry() -> None:
    wheel = Wheel()
    item = Item()
    item.due_tick = -1
    wheel.cancel(item)
    assert (item.due_tick, wheel._stale) == (0, 0)
    item.due_tick = -1
    wheel.schedule(item, NOW)
    assert wheel.take_due(NOW + 1) == [item]


def test_the_resolution_is_50_ms() -> None:
    assert RESOLUTION_S == 0.05


@settings(max_examples=200)
@given(st.floats(0.001, 1e7))
def test_the_next_item_is_due_at_the_time_that_next_due_returns(deadline: float) -> None:
    # Otherwise a loop on a clock that stands still between two turns would wait without end.
    wheel = Wheel()
    item = Item()
    wheel.schedule(item, deadline)
    due_at = wheel.next_due()
    assert due_at is not None
    assert deadline <= due_at <= deadline + RESOLUTION_S * (1 + 1e-9)
    assert wheel.take_due(due_at) == [item]


waits = st.sampled_from([0.0, 0.01, 0.05, 0.1, 0.5, 3.0]) | st.floats(0, 2)
steps = st.lists(
    st.tuples(st.just("schedule"), st.integers(0, 5), waits)
    | st.tuples(st.just("cancel"), st.integers(0, 5), st.just(0.0))
    | st.tuples(st.just("wait"), st.just(0), waits),
    max_size=60,
)


@settings(max_examples=150)
@given(steps, st.sampled_from([RESOLUTION_S, 0.25]))
def test_never_early_and_late_by_the_resolution_at_most(steps: list[tuple[str, int, float]], resolution: float) -> None:
    wheel = Wheel(resolution)
    items = [Item(str(number)) for number in range(6)]
    deadlines: dict[Timed, float] = {}
    now = NOW
    slack = resolution * (1 + 1e-9)
    for step, number, seconds in steps:
        item = items[number]
        if step == "schedule":
            wheel.schedule(item, now + seconds)
            deadlines[item] = now + seconds
        elif step == "cancel":
            wheel.cancel(item)
            deadlines.pop(item, None)
        else:
            now += seconds
            due = wheel.take_due(now)
            assert len(due) == len(set(due))
            assert all(deadlines.pop(item) <= now for item in due)
            assert all(deadline > now - slack for deadline in deadlines.values())
        check_next_due(wheel.next_due(), deadlines, slack)
        assert {item for item in items if item.due_tick} == deadlines.keys()


def check_next_due(next_due: float | None, deadlines: dict[Timed, float], slack: float) -> None:
    if next_due is None:
        assert not deadlines
    else:
        assert min(deadlines.values()) <= next_due <= min(deadlines.values()) + slack
