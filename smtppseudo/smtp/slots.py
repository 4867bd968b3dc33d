"""Slots: who gets one, who has to give way for it, and who is turned away."""

import heapq
from collections.abc import Iterator
from typing import Generic, NamedTuple, Protocol, TypeVar

from smtppseudo.events import TurnedAwayReason


class Occupant(Protocol):
    """What takes a slot."""

    slot: int
    idle_since: float

    @property
    def is_open(self) -> bool:
        """False once it is closed and only shown."""


T = TypeVar("T", bound=Occupant)


class Admit(NamedTuple):
    """The newcomer may have this slot."""

    slot: int


class Evict(NamedTuple, Generic[T]):
    """The newcomer may have a slot once this occupant has been released; ask again then."""

    occupant: T


class TurnAway(NamedTuple):
    """The newcomer has to go."""

    reason: TurnedAwayReason


class SlotTable(Generic[T]):
    """The slots, numbered from 1. A slot that closed keeps its last occupant until the next comes.

    `evict_after_s` is how long an occupant must have been idle to give way.
    """

    __slots__ = ("_candidates", "_evict_after_s", "_free", "_occupants", "count", "in_use", "is_short")

    def __init__(self, count: int, evict_after_s: float) -> None:
        self.count = count
        self._evict_after_s = evict_after_s
        self._occupants: list[T] = []  # only as long as slots were ever used
        self._free: list[int] = []  # a heap of the indexes in _occupants that are closed
        self._candidates: list[tuple[float, int, T]] = []  # idle longest last
        self.in_use = 0
        self.is_short = False

    def __iter__(self) -> Iterator[T]:
        """Yield the occupants, present and past, of all slots ever used, in order."""
        return iter(self._occupants)

    def admit(self, now: float) -> Admit | Evict[T] | TurnAway:
        """Say what becomes of a newcomer: the lowest free slot, or an idle occupant's, or none."""
        if self._free:
            return Admit(self._free[0] + 1)
        if len(self._occupants) < self.count:
            return Admit(len(self._occupants) + 1)
        occupant = self._idle_longest()
        if occupant is not None and now - occupant.idle_since >= self._evict_after_s:
            return Evict(occupant)
        return TurnAway("slots")

    def enter(self, occupant: T) -> None:
        """Give an occupant the slot that `admit` named, and that it holds in `slot`."""
        index = occupant.slot - 1
        if index == len(self._occupants):
            self._occupants.append(occupant)
        else:
            heapq.heappop(self._free)
            self._occupants[index] = occupant
        self.in_use += 1

    def release(self, occupant: T) -> None:
        """Free an occupant's slot; it stays to be seen there."""
        heapq.heappush(self._free, occupant.slot - 1)
        self.in_use -= 1

    def update_shortage(self) -> bool:
        """Set `is_short`, and return it: from when fewer than a fifth are free until a quarter are again.

        The gap keeps it from changing with each that comes and goes.
        """
        free = self.count - self.in_use
        self.is_short = free * (4 if self.is_short else 5) < self.count
        return self.is_short

    def _idle_longest(self) -> T | None:
        # A list sorted once stays in order: whoever was active since has moved behind all the others and is
        # passed over, newcomers are behind them too. So each sorting serves as many evictions as there are slots.
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
