"""Deadlines: a hashed timer wheel."""

import heapq
from typing import Final, Protocol

RESOLUTION_S: Final = 0.05
_STALE_MAX: Final = 64  # a closed connection stays in memory while a bucket refers to it


class Timed(Protocol):
    """An object with a deadline. The reactor calls `due` when that has passed, and `fault` with what `due` raises."""

    due_tick: int  # kept by the wheel: 0 = not scheduled; below 0 = scheduled elsewhere

    def due(self, now: float, /) -> None: ...
    def fault(self, error: Exception, /) -> None: ...


class Wheel:
    """Holds each item in the bucket of its deadline (monotonic seconds), so that all due items are found at once.

    Scheduling, moving and cancelling take constant time on average. An item is due at most `resolution_s` late, never
    early. A time-out that each command renews need not be moved: the owner schedules it again when it is due too early.

    Moving or cancelling leaves a stale entry in a bucket, which no longer equals the item's `due_tick`. So a bucket can
    be a list, which takes a quarter of a set's memory and half the time to add to. All stale entries are removed when
    there are more than 64, and more than there were entries in use after the last removal.
    """

    __slots__ = ("_buckets", "_last_tick", "_resolution_s", "_stale", "_stale_max", "_ticks")

    def __init__(self, resolution_s: float = RESOLUTION_S) -> None:
        self._resolution_s = resolution_s
        self._buckets: dict[int, list[Timed]] = {}
        self._ticks: list[int] = []  # a heap of the keys of _buckets
        self._last_tick = self._stale = 0
        self._stale_max = _STALE_MAX

    def schedule(self, item: Timed, deadline: float) -> None:
        """Set the deadline of an item, or move it there."""
        tick = int(deadline / self._resolution_s) + 1
        if item.due_tick:
            if item.due_tick == tick:
                return
            self.cancel(item)
        if tick == self._last_tick:
            tick = self._last_tick  # share one int object between the items of a bucket
        self._last_tick = item.due_tick = tick
        bucket = self._buckets.get(tick)
        if bucket is None:
            bucket = self._buckets[tick] = []
            heapq.heappush(self._ticks, tick)
        bucket.append(item)

    def cancel(self, item: Timed) -> None:
        """Remove an item; do nothing if it is not scheduled."""
        tick, item.due_tick = item.due_tick, 0
        if tick > 0:
            self._stale += 1
            if self._stale > self._stale_max:
                self._remove_stale()

    def next_due(self) -> float | None:
        """Return when the next item is due, or None."""
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

    def take_due(self, now: float) -> list[Timed]:
        """Remove and return the items whose deadlines have passed."""
        due: list[Timed] = []
        while self._ticks and self._ticks[0] * self._resolution_s <= now:  # the same product as in next_due
            tick = heapq.heappop(self._ticks)
            bucket = self._buckets.pop(tick)
            self._stale -= len(bucket) + len(due)
            for item in bucket:
                if item.due_tick == tick:
                    item.due_tick = 0  # now, because the bucket may hold a stale entry of the same item
                    due.append(item)
            self._stale += len(due)
        return due

    def _remove_stale(self) -> None:
        kept = {
            tick: list(dict.fromkeys(item for item in bucket if item.due_tick == tick))
            for tick, bucket in self._buckets.items()
        }
        self._buckets = {tick: bucket for tick, bucket in kept.items() if bucket}
        self._ticks = sorted(self._buckets)
        self._stale = 0
        self._stale_max = max(_STALE_MAX, sum(map(len, self._buckets.values())))
