"""Slots: which one a caller gets, and which session is evicted if none is free."""

import heapq
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import Final

from smtppseudo.smtp.client_limits import source_of
from smtppseudo.smtp.session import SmtpSession

YOUNG_S: Final = 1.0
SOURCES_MAX: Final = 16  # to look at for one caller; a security limit, like the next two
SESSIONS_MAX: Final = 64  # of one source
RETRY_S: Final = 0.1


class Holders:
    """The sessions of each source, and the sources by how many they hold. A change takes constant time."""

    def __init__(self, sessions: Iterable[SmtpSession]) -> None:
        self._sessions: dict[str, dict[SmtpSession, None]] = {}
        self._sources: dict[int, dict[str, None]] = {}  # by the number of their sessions, from 2
        self._retry_at = 0.0
        for session in sessions:
            self.enter(session)

    def enter(self, session: SmtpSession) -> None:
        """Add a session."""
        source = source_of(session.ip)
        held = self._sessions.setdefault(source, {})
        held[session] = None
        self._move(source, len(held) - 1, len(held))

    def leave(self, session: SmtpSession) -> None:
        """Remove a session."""
        source = source_of(session.ip)
        held = self._sessions[source]
        del held[session]
        self._move(source, len(held) + 1, len(held))
        if not held:
            del self._sessions[source]

    def session_to_evict(self, ip: str, now: float, is_idle: Callable[[SmtpSession], bool]) -> SmtpSession | None:
        """Return the session that leaves for a caller from `ip`, or None.

        If the caller's source holds no slot, that is the session idle longest of the source that holds most, if those
        are two or more. It is idle now, and not younger than `YOUNG_S`.
        """
        # A flood of callers costs little: a look at some sessions, then at others; after a failure, `RETRY_S` later.
        if now < self._retry_at or source_of(ip) in self._sessions:
            return None
        most_first = chain.from_iterable(self._sources[count] for count in sorted(self._sources, reverse=True))
        for source in list(islice(most_first, SOURCES_MAX)):
            held = self._sessions[source]
            some = list(islice(held, SESSIONS_MAX))
            idle = [each for each in some if now - each.started_at >= YOUNG_S and is_idle(each)]
            if idle:
                return min(idle, key=lambda each: each.idle_since)
            for each in some:
                held[each] = held.pop(each)
            self._move(source, len(held), len(held))
        self._retry_at = now + RETRY_S
        return None

    def _move(self, source: str, before: int, after: int) -> None:
        if before > 1:
            sources = self._sources[before]
            del sources[source]
            if not sources:
                del self._sources[before]
        if after > 1:
            self._sources.setdefault(after, {})[source] = None


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
        """Return the occupant that leaves for a caller from `ip`, or None. All slots are taken."""
        occupant = self._idle_longest(now)
        if occupant is not None and self._may_evict(occupant, now):
            return occupant  # else one of a source that holds many slots
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
