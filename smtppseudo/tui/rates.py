"""Connections of the last half hour, and which callers connect most."""

from collections import Counter
from typing import Final

BARS: Final = 30
_MINUTE_S: Final = 60
_YOUNG_S: Final = 10  # seconds of a bar while all connections fit in
CALLERS_MAX: Final = 5_000
_BARS: Final = "▁▂▃▄▅▆▇█"


class ConnectionRate:
    """Connections by second, numbered since the epoch.

    Events are counted one by one. What the server's total has beyond them was missed, and counts for the second in
    which the total came.
    """

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self._total = 0

    def add(self, second: int, count: int = 1, *, is_new: bool = True) -> None:
        """Count connections from events; not `is_new`: the server's total has them already."""
        self._counts[second] += count
        self._total += count if is_new else 0
        if len(self._counts) > 2 * BARS * _MINUTE_S:
            for old in sorted(self._counts)[: -BARS * _MINUTE_S]:
                del self._counts[old]

    def begin(self, total: int) -> None:
        """Begin with the server's total at a login."""
        self._total = total

    def correct(self, second: int, total: int) -> None:
        """Count the connections that the server's total has and the events had not."""
        if total > self._total:
            self.add(second, total - self._total)

    def last_minute(self, second: int) -> int:
        """Return the number of connections in the 60 seconds up to this one."""
        return sum([self._counts[at] for at in range(second - _MINUTE_S + 1, second + 1)])

    def bars(self, second: int) -> list[int]:
        """Return the connections in spans of 60 s, the latest at the end; in the first 5 minutes, of 10 s."""
        ages = [(second - at, count) for at, count in self._counts.items() if 0 <= second - at < BARS * _MINUTE_S]
        is_young = all(age < BARS * _YOUNG_S for age, _ in ages)
        figures = [0] * BARS
        for age, count in ages:
            figures[-1 - age // (_YOUNG_S if is_young else _MINUTE_S)] += count
        return figures


def sparkline(figures: list[int]) -> str:
    """Return figures as bars. Non-zero values get at least one bar; zero is a dot."""
    most = max(figures, default=0)
    return "".join([_BARS[(figure * len(_BARS) - 1) // most] if figure else "·" for figure in figures])


class CallerCounts:
    """How often each address connected and why sessions ended, as far as this screen saw, since the time stamp `since`.

    Over the limit, rare callers are forgotten.
    """

    def __init__(self, callers_max: int = CALLERS_MAX) -> None:
        self.since = ""
        self.endings: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()
        self._callers_max = callers_max

    def add(self, ip: str, time: str = "") -> None:
        """Count a connection."""
        self.since = self.since or time
        self._counts[ip] += 1
        if len(self._counts) > self._callers_max:
            self._counts = Counter(dict(self._counts.most_common(self._callers_max // 2)))

    def top(self, count: int) -> list[tuple[str, int]]:
        """Return the callers with the most connections, with their number."""
        return self._counts.most_common(count)

    def endings_text(self) -> str:
        """Return the most frequent reasons of a close, in per cent."""
        total = self.endings.total()
        return ", ".join([f"{word} {count * 100 / total:.0f} %" for word, count in self.endings.most_common(4)])
