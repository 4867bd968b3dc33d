"""Merging: the lines of several servers in one order."""

from collections.abc import Sequence
from datetime import datetime
from heapq import heappop, heappush
from typing import Final, TypeAlias

HOLD_S: Final = 1.0

Timed: TypeAlias = tuple[str, str]
"""The time stamp of an event, and its line."""


class Merge:
    """Holds lines for `hold_s`, and returns them in the order of their time stamps.

    A line whose stamp is further than that from its arrival, `now` in seconds since the epoch, counts as of its
    arrival: a wrong clock delays no other server. The lines of one server keep their order.
    """

    def __init__(self, hold_s: float = HOLD_S) -> None:
        self._hold_s = hold_s
        self._held: list[tuple[float, int, str]] = []
        self._count = 0
        self._last: dict[str, float] = {}  # by server, the latest place in the order

    def add(self, server: str, lines: Sequence[Timed], now: float) -> None:
        """Hold lines of a server."""
        for time, line in lines:
            at = _seconds(time)
            at = max(at if abs(at - now) <= self._hold_s else now, self._last.get(server, 0.0))
            self._last[server] = at
            self._count += 1
            heappush(self._held, (at, self._count, line))

    def take(self, now: float) -> list[str]:
        """Return the lines before which none can come any more, in order."""
        lines: list[str] = []
        while self._held and self._held[0][0] <= now - self._hold_s:
            lines.append(heappop(self._held)[2])
        return lines


def _seconds(time: str) -> float:
    try:
        return datetime.fromisoformat(time).timestamp()
    except (ValueError, OverflowError):  # not from an honest server
        return 0.0
