"""Connections per minute, and which callers connect most."""

from collections import Counter
from typing import Final

MINUTES: Final = 60
CALLERS_MAX: Final = 5_000
_BARS: Final = "▁▂▃▄▅▆▇█"


class ConnectionRate:
    """Connections in each of the last 60 minutes. Minutes are numbered since the epoch.

    Two counts are kept, from the events and from the server's counters. The higher one is right: events can be
    missing.
    """

    def __init__(self) -> None:
        self._seen: Counter[int] = Counter()
        self._counted: Counter[int] = Counter()
        self._last_total: int | None = None

    def add(self, minute: int, count: int = 1) -> None:
        """Count connections from events."""
        _add(self._seen, minute, count)

    def count(self, minute: int, total: int) -> None:
        """Count the connections since the last call, from the server's total."""
        if self._last_total is not None and total > self._last_total:
            _add(self._counted, minute, total - self._last_total)
        self._last_total = total

    def restart(self) -> None:
        """Forget the server's last total: the next one may be of another run."""
        self._last_total = None

    def last(self, minute: int, minutes: int = MINUTES) -> list[int]:
        """Return the figures of the minutes up to this one, the oldest first."""
        return [max(self._seen[at], self._counted[at]) for at in range(minute - minutes + 1, minute + 1)]


def _add(minutes: Counter[int], minute: int, count: int) -> None:
    minutes[minute] += count
    if len(minutes) > 2 * MINUTES:
        for old in sorted(minutes)[:-MINUTES]:
            del minutes[old]


def sparkline(figures: list[int]) -> str:
    """Return figures as bars. Non-zero values get at least one bar; zero is a dot."""
    most = max(figures, default=0)
    return "".join([_BARS[(figure * len(_BARS) - 1) // most] if figure else "·" for figure in figures])


class CallerCounts:
    """How often each address connected, as far as this screen saw. Over the limit, rare callers are forgotten."""

    def __init__(self, callers_max: int = CALLERS_MAX) -> None:
        self._counts: Counter[str] = Counter()
        self._callers_max = callers_max

    def add(self, ip: str) -> None:
        """Count a connection."""
        self._counts[ip] += 1
        if len(self._counts) > self._callers_max:
            self._counts = Counter(dict(self._counts.most_common(self._callers_max // 2)))

    def top(self, count: int) -> list[tuple[str, int]]:
        """Return the callers with the most connections, with their number."""
        return self._counts.most_common(count)
