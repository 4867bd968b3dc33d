"""Slots: which one a caller gets, and which session is evicted if none is free."""

import heapq
from collections.abc import Callable, Iterator

from smtppseudo.smtp.holders import Holders
from smtppseudo.smtp.session import SmtpSession


class SlotTable:
    """The slots, numbered from 1. A released slot keeps its last occupant, to be shown, until the next one enters.

    `evict_after_s` is how long an occupant must have been idle before it can be evicted. `is_idle` returns whether it
    is idle now; each occupant's `idle_since` must restart when it becomes idle.
    """

    def __init__(self, count: int, evict_after_s: float, is_idle: Callable[[SmtpSession], bool]) -> None:
        self.count = count
        self.evict_after_s = evict_after_s
        self._is_idle = is_idle
        self._occupants: list[SmtpSession] = []  # as long as the highest slot ever used
        self._free: list[int] = []  # a heap of the indexes in _occupants of released slots
        self._candidates: list[tuple[float, int, SmtpSession]] = []  # sorted; the last has been idle longest
        self._next_sort_at = 0.0
        self._holders: Holders | None = None  # from a shortage until half of the slots are free
        self.in_use = 0
        self.is_short = False

    def __iter__(self) -> Iterator[SmtpSession]:
        """Yield the present or last occupant of every slot ever used, in order."""
        return iter(self._occupants)

    def free_slot(self) -> int | None:
        """Return the lowest free slot, or None."""
        if self._free:
            return self._free[0] + 1
        return len(self._occupants) + 1 if len(self._occupants) < self.count else None

    def occupant_to_evict(self, now: float, ip: str) -> SmtpSession | None:
        """Return the occupant that leaves for a caller from `ip`, or None. All slots are taken.

        That is the one that has been idle longest, if that is long enough; else one of a source that holds many slots.
        """
        occupant = self._idle_longest(now)
        if occupant is not None and self._may_evict(occupant, now):
            return occupant
        if self._holders is None:
            self._holders = Holders(self._occupants)
        return self._holders.session_to_evict(ip, now, self._is_idle)

    def idle_occupants(self, now: float) -> list[SmtpSession]:
        """Return all occupants that have been idle long enough to be evicted."""
        return [each for each in self._occupants if self._may_evict(each, now) and self._is_idle(each)]

    def enter(self, occupant: SmtpSession) -> None:
        """Put an occupant into its slot, the one that `free_slot` returned."""
        if self._free:
            self._occupants[heapq.heappop(self._free)] = occupant
        else:
            self._occupants.append(occupant)
        if self._holders is not None:
            self._holders.enter(occupant)
        self.in_use += 1

    def release(self, slot: int) -> None:
        """Free a slot; its occupant stays visible there."""
        heapq.heappush(self._free, slot - 1)
        self.in_use -= 1
        if self._holders is not None:
            self._holders.leave(self._occupants[slot - 1])
            if 2 * self.in_use < self.count:
                self._holders = None

    def update_shortage(self) -> bool:
        """Set and return `is_short`: true once less than a fifth of the slots is free, until a quarter is again."""
        # The gap keeps it from changing with every caller.
        free = self.count - self.in_use
        self.is_short = free * (4 if self.is_short else 5) < self.count
        return self.is_short

    def _may_evict(self, occupant: SmtpSession, now: float) -> bool:
        return now - occupant.idle_since >= self.evict_after_s

    def _idle_longest(self, now: float) -> SmtpSession | None:
        # A list sorted once stays usable: a session that was active since, or is new, comes after all the others and is
        # skipped here. So one sorting serves as many evictions as there are slots. A session that was not idle then
        # cannot be evicted before `evict_after_s` have passed, nor can a new one. So a flood of callers while all
        # sessions are at work does not sort them each time.
        while True:
            while self._candidates:
                idle_since, _, occupant = self._candidates[-1]
                if occupant.idle_since == idle_since and self._is_idle(occupant):
                    return occupant
                self._candidates.pop()
            if now < self._next_sort_at:
                return None
            self._next_sort_at = now + self.evict_after_s
            idle = [(each.idle_since, at, each) for at, each in enumerate(self._occupants) if self._is_idle(each)]
            self._candidates = sorted(idle, reverse=True)
