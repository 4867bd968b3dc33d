"""Tallies: connections per minute, and who calls most."""

from collections import Counter
from typing import Final

MINUTES: Final = 60
CALLERS_MAX: Final = 5_000
_BARS: Final = "▁▂▃▄▅▆▇█"


class Rate:
    """Connections in each of the last minutes; a minute is a whole number of them since the epoch.

    Events that were left out are made up for by the server's own count, where that is higher.
    """

    def __init__(self) -> None:
        self._seen: Counter[int] = Counter()
        self._counted: Counter[int] = Counter()
        self._last_count: int | None = None

    def add(self, minute: int, count: int = 1) -> None:
        """Take in connections that events told of."""
        self._seen[minute] += count
        if len(self._seen) > 2 * MINUTES:
            _forget(self._seen)

    def count(self, minute: int, total: int) -> None:
        """Take in the server's own count of its run, as it is in this minute."""
        if self._last_count is not None and total > self._last_count:
            self._counted[minute] += total - self._last_count
            if len(self._counted) > 2 * MINUTES:
                _forget(self._counted)
        self._last_count = total

    def restart(self) -> None:
        """Say that the server's count begins anew, or is not known to go on."""
        self._last_count = None

    def last(self, minute: int, minutes: int = MINUTES) -> list[int]:
        """Return the figures of the minutes up to one, the oldest first."""
        return [max(self._seen[at], self._counted[at]) for at in range(minute - minutes + 1, minute + 1)]


def _forget(minutes: Counter[int]) -> None:
    for minute in sorted(minutes)[:-MINUTES]:
        del minutes[minute]


def sparkline(figures: list[int]) -> str:
    """Draw figures as bars; what is not nothing is to be seen, and nothing is a dot."""
    most = max(figures, default=0)
    return "".join([_BARS[(figure * len(_BARS) - 1) // most] if figure else "·" for figure in figures])


class Callers:
    """How often each address connected, as far as this screen saw it. Rare ones are forgotten over a limit."""

    def __init__(self, callers_max: int = CALLERS_MAX) -> None:
        self._counts: Counter[str] = Counter()
        self._callers_max = callers_max

    def add(self, ip: str, count: int = 1) -> None:
        """Count a connection."""
        self._counts[ip] += count
        if len(self._counts) > self._callers_max:
            self._counts = Counter(dict(self._counts.most_common(self._callers_max // 2)))

    def top(self, count: int) -> list[tuple[str, int]]:
        """Return who called most, and how often."""
        return self._counts.most_common(count)
