"""Slots: which caller gets one, which session is evicted for it, and which caller is turned away."""

import heapq
from collections.abc import Iterator
from typing import Generic, NamedTuple, Protocol, TypeVar

from smtppseudo.events import TurnedAwayReason


class Occupant(Protocol):
    """A session that holds a slot."""

    slot: int
    idle_since: float

    @property
    def is_open(self) -> bool:
        """False once the session has ended; the table keeps it only to be shown."""


T = TypeVar("T", bound=Occupant)


class Admit(NamedTuple):
    """The caller gets this slot."""

    slot: int


class Evict(NamedTuple, Generic[T]):
    """The caller can have the slot of this occupant: end and release it, then call `admit` again."""

    occupant: T


class TurnAway(NamedTuple):
    """The caller gets no slot."""

    reason: TurnedAwayReason


class SlotTable(Generic[T]):
    """The slots, numbered from 1. A released slot keeps its last occupant until the next one enters.

    `evict_after_s` is how long an occupant must have been idle before it can be evicted.
    """

    def __init__(self, count: int, evict_after_s: float) -> None:
        self.count = count
        self._evict_after_s = evict_after_s
        self._occupants: list[T] = []  # as long as the highest slot ever used
        self._free: list[int] = []  # a heap of the indexes in _occupants of released slots
        self._candidates: list[tuple[float, int, T]] = []  # sorted; the last has been idle longest
        self.in_use = 0
        self.is_short = False

    def __iter__(self) -> Iterator[T]:
        """Yield the present or last occupant of every slot ever used, in order."""
        return iter(self._occupants)

    def admit(self, now: float) -> Admit | Evict[T] | TurnAway:
        """Decide about a caller: it gets the lowest free slot, an idle occupant's slot, or none."""
        if self._free:
            return Admit(self._free[0] + 1)
        if len(self._occupants) < self.count:
            return Admit(len(self._occupants) + 1)
        occupant = self._idle_longest()
        if occupant is not None and now - occupant.idle_since >= self._evict_after_s:
            return Evict(occupant)
        return TurnAway("slots")

    def enter(self, occupant: T) -> None:
        """Put an occupant into its slot, the one that `admit` returned."""
        index = occupant.slot - 1
        if index == len(self._occupants):
            self._occupants.append(occupant)
        else:
            heapq.heappop(self._free)
            self._occupants[index] = occupant
        self.in_use += 1

    def release(self, occupant: T) -> None:
        """Free an occupant's slot; the occupant stays visible there."""
        heapq.heappush(self._free, occupant.slot - 1)
        self.in_use -= 1

    def update_shortage(self) -> bool:
        """Set and return `is_short`: true once less than a fifth of the slots is free, until a quarter is free again.

        The gap keeps it from changing with every caller.
        """
        free = self.count - self.in_use
        self.is_short = free * (4 if self.is_short else 5) < self.count
        return self.is_short

    def _idle_longest(self) -> T | None:
        # A list sorted once stays usable: a session that was active since, or is new, comes after all the others and is
        # skipped here. So one sorting serves as many evictions as there are slots.
        for _ in range(2):
            while self._candidates:
                idle_since, _, occupant = self._candidates[-1]
                if occupant.is_open and occupant.idle_since == idle_since:
                    return occupant
                self._candidates.pop()
            self._candidates = sorted(
                ((each.idle_since, each.slot, each) for each in self._occupants if each.is_open), reverse=True
            )
        return None
