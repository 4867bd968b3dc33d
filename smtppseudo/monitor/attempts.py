"""Attempts: a rate limit for wrong magic words."""

from typing import Final

BURST: Final = 5
REFILL_S: Final = 60.0
SOURCES_MAX: Final = 4_096


class Attempts:
    """Allows each source five wrong words, then one a minute. Sources do not affect each other.

    `sources_max` is a security limit: beyond it, the source whose last wrong word is oldest is forgotten.
    """

    def __init__(self, sources_max: int = SOURCES_MAX) -> None:
        self._sources_max = sources_max
        self._left: dict[str, tuple[float, float]] = {}  # by source: attempts left, and the time of that value

    def wait_s(self, source: str, now: float) -> float:
        """Return how many seconds the source must wait; 0 = none."""
        return max(0.0, (1.0 - self._left_at(source, now)) * REFILL_S)

    def failed(self, source: str, now: float) -> None:
        """Count a wrong word."""
        left = self._left_at(source, now)
        self._left.pop(source, None)
        if len(self._left) >= self._sources_max:
            del self._left[next(iter(self._left))]
        self._left[source] = (left - 1, now)  # may be below 0 after attempts at the same time

    def _left_at(self, source: str, now: float) -> float:
        left, since = self._left.get(source, (float(BURST), now))
        return min(float(BURST), left + (now - since) / REFILL_S)
