"""Tallies: counts by name, in bounded memory."""

import heapq
from collections.abc import Mapping
from typing import Final

KEPT: Final = 20_000
NAME_MAX: Final = 128


class Tally:
    """Counts names; exact for at most `2 * kept` of them. Names longer than 128 characters are cut.

    With more names the rarest are forgotten (Misra and Gries, 1982). A count can then be too low by at most `short`,
    which is at most `total / kept`. A name takes about 200 bytes.
    """

    def __init__(self, kept: int = KEPT) -> None:
        self.short = 0
        self.total = 0
        self._kept = kept
        self._counts: dict[str, int] = {}

    def __len__(self) -> int:
        """Return the number of names; if `short` is not 0, there were more."""
        return len(self._counts)

    def add(self, counts: Mapping[str, int]) -> None:
        """Add counts by name. An empty name is ignored."""
        known = self._counts
        if "" in counts or max(map(len, counts), default=0) > NAME_MAX:
            counts = _with_usable_names(counts)
        for name, count in counts.items():
            known[name] = known.get(name, 0) + count
        self.total += sum(counts.values())
        if len(known) > 2 * self._kept:
            self._forget()

    def top(self, count: int) -> list[tuple[str, int]]:
        """Return the most frequent names with their counts; names with equal counts are sorted."""
        return heapq.nsmallest(count, self._counts.items(), key=lambda item: (-item[1], item[0]))

    def in_order(self) -> list[tuple[str, int]]:
        """Return all names with their counts, sorted by name."""
        return sorted(self._counts.items())

    def _forget(self) -> None:
        less = sorted(self._counts.values(), reverse=True)[self._kept]
        self._counts = {name: count - less for name, count in self._counts.items() if count > less}
        self.short += less


def _with_usable_names(counts: Mapping[str, int]) -> dict[str, int]:
    usable: dict[str, int] = {}
    for name, count in counts.items():
        if name:
            cut = name if len(name) <= NAME_MAX else name[: NAME_MAX - 3] + "..."
            usable[cut] = usable.get(cut, 0) + count
    return usable
