"""Deadlines: a hashed wheel of whatever has to be looked at again later."""

import heapq
from typing import Final, Generic, Protocol, TypeVar

RESOLUTION_S: Final = 0.05
_STALE_MAX: Final = 64  # what is closed stays in memory while it is in a bucket


class Scheduled(Protocol):
    """What a wheel holds: anything with a place for the wheel's own note."""

    due_tick: int  # kept by the wheel: 0 = not scheduled, below 0 = scheduled by somebody else


T = TypeVar("T", bound=Scheduled)


class Wheel(Generic[T]):
    """Holds each item under the tick of its deadline (monotonic seconds), so that all due are found at once.

    Scheduling, moving and cancelling take constant time, on the average. An item is due at most `resolution_s` late,
    never early. Whoever moves deadlines mostly later (a time-out that each command renews) need not tell the wheel:
    it schedules anew when the item comes due too early.

    An item that is moved or cancelled leaves its place stale, as its `due_tick` tells: a list takes a quarter of the
    memory of a set, and adding to one half the time, but nothing is taken out of its midst. When more places are
    stale than were in use, and more than 64, all of them are given up.
    """

    __slots__ = ("_buckets", "_last_tick", "_resolution_s", "_stale", "_stale_max", "_ticks")

    def __init__(self, resolution_s: float = RESOLUTION_S) -> None:
        self._resolution_s = resolution_s
        self._buckets: dict[int, list[T]] = {}
        self._ticks: list[int] = []  # a heap of the keys of _buckets
        self._last_tick = 0
        self._stale = 0
        self._stale_max = _STALE_MAX

    def schedule(self, item: T, deadline: float) -> None:
        """Put an item under a deadline, away from where it was."""
        tick = int(deadline / self._resolution_s) + 1
        if item.due_tick:
            if item.due_tick == tick:
                return
            self.cancel(item)
        if tick == self._last_tick:
            tick = self._last_tick  # one number for all, not one each
        self._last_tick = item.due_tick = tick
        bucket = self._buckets.get(tick)
        if bucket is None:
            bucket = self._buckets[tick] = []
            heapq.heappush(self._ticks, tick)
        bucket.append(item)

    def cancel(self, item: T) -> None:
        """Take an item out, if it is in."""
        tick, item.due_tick = item.due_tick, 0
        if tick > 0:
            self._stale += 1
            if self._stale > self._stale_max:
                self._give_up_stale()

    def next_due(self) -> float | None:
        """Say when the next item comes due; None if none will."""
        while self._ticks:
            tick = self._ticks[0]
            bucket = self._buckets[tick]
            while bucket and bucket[-1].due_tick != tick:
                bucket.pop()
                self._stale -= 1
            if bucket:
                return tick * self._resolution_s
            del self._buckets[heapq.heappop(self._ticks)]
        return None

    def take_due(self, now: float) -> list[T]:
        """Take out and return the items whose deadlines have passed."""
        due: list[T] = []
        while self._ticks and self._ticks[0] * self._resolution_s <= now:  # as next_due has it, to the last bit
            tick = heapq.heappop(self._ticks)
            bucket = self._buckets.pop(tick)
            self._stale -= len(bucket) + len(due)
            for item in bucket:
                if item.due_tick == tick:
                    item.due_tick = 0  # here, for it may have a stale place in the same bucket
                    due.append(item)
            self._stale += len(due)
        return due

    def _give_up_stale(self) -> None:
        kept = {
            tick: list(dict.fromkeys(item for item in bucket if item.due_tick == tick))
            for tick, bucket in self._buckets.items()
        }
        self._buckets = {tick: bucket for tick, bucket in kept.items() if bucket}
        self._ticks = sorted(self._buckets)
        self._stale = 0
        self._stale_max = max(_STALE_MAX, sum(map(len, self._buckets.values())))
