"""Attempts: a rate limit for wrong magic words, and for other things that must stay rare."""

from typing import Final

BURST: Final = 5
REFILL_S: Final = 60.0
SOURCES_MAX: Final = 4_096


class Attempts:
    """Allows each source `burst` attempts, then one in `refill_s` seconds. It forgets the oldest of `sources_max`."""

    def __init__(self, burst: int = BURST, refill_s: float = REFILL_S, sources_max: int = SOURCES_MAX) -> None:
        self._burst = float(burst)
        self._refill_s = refill_s
        self._sources_max = sources_max
        self._left: dict[str, tuple[float, float]] = {}  # by source: attempts left, and the time of that value

    def wait_s(self, source: str, now: float) -> float:
        """Return how many seconds the source must wait; 0 = none."""
        return max(0.0, (1.0 - self._left_at(source, now)) * self._refill_s)

    def count(self, source: str, now: float) -> None:
        """Count an attempt."""
        left = self._left_at(source, now)
        self._left.pop(source, None)
        if len(self._left) >= self._sources_max:
            del self._left[next(iter(self._left))]
        self._left[source] = (left - 1, now)

    def _left_at(self, source: str, now: float) -> float:
        left, since = self._left.get(source, (self._burst, now))
        return min(self._burst, left + (now - since) / self._refill_s)
