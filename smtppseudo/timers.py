"""Deadlines: a hashed wheel of whatever has to be looked at again later."""

import heapq
from typing import Final, Generic, Protocol, TypeVar

RESOLUTION_S: Final = 0.05


class Timed(Protocol):
    """What a wheel holds: anything hashable with a place for the wheel's own note."""

    due_tick: int  # 0 = not scheduled; kept by the wheel


T = TypeVar("T", bound=Timed)


class Wheel(Generic[T]):
    """Holds each item under the tick of its deadline (monotonic seconds), so that all due are found at once.

    Scheduling, moving and cancelling take constant time. An item is due at most `resolution_s` late, never
    early. Whoever moves deadlines mostly later (a time-out that each command renews) need not tell the wheel:
    it schedules anew when the item comes due too early.
    """

    __slots__ = ("_buckets", "_last_tick", "_resolution_s", "_ticks")

    def __init__(self, resolution_s: float = RESOLUTION_S) -> None:
        self._resolution_s = resolution_s
        # Dictionaries serve as sets: a set takes three times the memory of an entry.
        self._buckets: dict[int, dict[T, None]] = {}
        self._ticks: list[int] = []  # a heap of the keys of _buckets
        self._last_tick = 0

    def schedule(self, item: T, deadline: float) -> None:
        """Put an item under a deadline, away from where it was."""
        tick = int(deadline / self._resolution_s) + 1
        if item.due_tick == tick:
            return
        if item.due_tick:
            self._take_out(item)
        if tick == self._last_tick:
            tick = self._last_tick  # one number for all, not one each
        self._last_tick = item.due_tick = tick
        bucket = self._buckets.get(tick)
        if bucket is None:
            bucket = self._buckets[tick] = {}
            heapq.heappush(self._ticks, tick)
        bucket[item] = None

    def cancel(self, item: T) -> None:
        """Take an item out, if it is in."""
        if item.due_tick:
            self._take_out(item)
            item.due_tick = 0

    def next_due(self) -> float | None:
        """Say when the next item comes due; None if none will."""
        while self._ticks and not self._buckets[self._ticks[0]]:
            del self._buckets[heapq.heappop(self._ticks)]
        return self._ticks[0] * self._resolution_s if self._ticks else None

    def take_due(self, now: float) -> list[T]:
        """Take out and return the items whose deadlines have passed."""
        due: list[T] = []
        while self._ticks and self._ticks[0] * self._resolution_s <= now:  # as next_due has it, to the last bit
            due.extend(self._buckets.pop(heapq.heappop(self._ticks)))
        for item in due:
            item.due_tick = 0
        return due

    def _take_out(self, item: T) -> None:
        bucket = self._buckets[item.due_tick]
        del bucket[item]
        if not bucket:
            bucket.clear()  # an emptied dictionary keeps its table, and a tick may be half a minute away
