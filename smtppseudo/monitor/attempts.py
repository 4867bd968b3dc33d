"""Attempts: how often somebody may try a magic word."""

from typing import Final

BURST: Final = 5
REFILL_S: Final = 60.0
SOURCES_MAX: Final = 4_096


class Attempts:
    """Five wrong words, then one a minute, for each source; no source is held up by another.

    `sources_max` is a security limit: when as many are remembered, the one that erred longest ago is forgotten.
    """

    __slots__ = ("_left", "_sources_max")

    def __init__(self, sources_max: int = SOURCES_MAX) -> None:
        self._sources_max = sources_max
        self._left: dict[str, tuple[float, float]] = {}  # source: attempts left, and when that was so

    def wait_s(self, source: str, now: float) -> float:
        """Say in how many seconds the source may try again; 0 = now."""
        return max(0.0, (1.0 - self._left_at(source, now)) * REFILL_S)

    def failed(self, source: str, now: float) -> None:
        """Count a wrong word."""
        left = self._left_at(source, now)
        self._left.pop(source, None)
        if len(self._left) >= self._sources_max:
            del self._left[next(iter(self._left))]
        self._left[source] = (left - 1, now)  # may be below 0: two may have tried at the same time

    def _left_at(self, source: str, now: float) -> float:
        left, since = self._left.get(source, (float(BURST), now))
        return min(float(BURST), left + (now - since) / REFILL_S)
