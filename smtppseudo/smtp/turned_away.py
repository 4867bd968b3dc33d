"""Callers turned away, summarized so that a flood cannot fill the log."""

from typing import Final, TypeAlias

from smtppseudo.events import TurnedAway, TurnedAwayReason

PER_SECOND_MAX: Final = 100
SOURCES_MAX: Final = 10_000

Summed: TypeAlias = tuple[str, TurnedAway]  # the address, or "" for the sum of many


class TurnedAwaySummary:
    """Reports at most one event per second and source, and `per_second` in all. Later callers are counted and summed.

    The first caller of a source is reported at once. Callers from addresses beyond `sources_max` are counted together.
    """

    def __init__(self, per_second: int = PER_SECOND_MAX, sources_max: int = SOURCES_MAX) -> None:
        self._per_second = per_second
        self._sources_max = sources_max
        self._budget = per_second
        self._counts: dict[tuple[str, TurnedAwayReason], int] = {}

    def note(self, ip: str, reason: TurnedAwayReason) -> list[Summed]:
        """Count a caller; return its event if it may be reported now."""
        key = (ip, reason)
        if key not in self._counts and len(self._counts) >= self._sources_max:
            key = ("", reason)
        if key not in self._counts and self._budget and key[0]:
            self._budget -= 1
            self._counts[key] = 0
            return [(ip, TurnedAway(reason, 1))]
        self._counts[key] = self._counts.get(key, 0) + 1
        return []

    def second_passed(self) -> list[Summed]:
        """Return the events that may be reported after another second. Call it while `is_empty` is false."""
        counts = {key: count for key, count in self._counts.items() if count}
        reported = list(counts)[: self._per_second]
        self._budget = self._per_second - len(reported)
        events = [(ip, TurnedAway(reason, counts.pop((ip, reason)))) for ip, reason in reported]
        self._counts = counts | dict.fromkeys(reported, 0)  # the sums that waited longest come first next time
        return events

    def rest(self) -> list[Summed]:
        """Return everything unreported, one sum for each reason; for the end of a run."""
        sums: dict[TurnedAwayReason, int] = {}
        for (_, reason), count in self._counts.items():
            sums[reason] = sums.get(reason, 0) + count
        self._counts = {}
        return [("", TurnedAway(reason, count)) for reason, count in sums.items() if count]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to report, now or later."""
        return not self._counts
