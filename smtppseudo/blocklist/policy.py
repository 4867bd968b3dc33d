"""Policy: which sources are listed, and for how long, by the times of their hits."""

from array import array
from bisect import bisect_right, insort
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Final, NamedTuple

from smtppseudo.config.settings import Settings
from smtppseudo.net.addresses import source_number

DAY_S: Final = 86_400
KEPT_HITS_MIN: Final = 32
KEPT_HITS_MAX: Final = 1_000
SOURCES_MAX: Final = 2_000_000
_FORGET_ONE_IN: Final = 200  # sources, each time


class Policy(NamedTuple):
    """A source is listed at its `min_hits`-th hit within `window_s`, until `expire_s` after the latest such hit.

    Hits before an expiry count again: after it, one more hit lists the source if it makes `min_hits` within the
    window. A source is an IPv4 address or an IPv6 /64.
    """

    min_hits: int
    window_s: int
    expire_s: int

    @property
    def needed_hits(self) -> int:
        """How many of a source's latest hits can decide whether it is listed. Older hits need not be kept.

        After the hit that lists the source, every `min_hits` - 1 hits that do not list it again span more than
        `window_s`. After `expire_s` that hit no longer matters.
        """
        spans = -(-self.expire_s // self.window_s)
        return min(KEPT_HITS_MAX, self.min_hits + (self.min_hits - 1) * spans)

    @property
    def kept_hits(self) -> int:
        """How many of a source's latest hits are kept: enough for most other policies, too."""
        return max(KEPT_HITS_MIN, self.needed_hits)

    @property
    def span_s(self) -> int:
        """The age in seconds after which a hit decides nothing, not even with newer hits from another server."""
        return self.window_s + self.expire_s

    def listed_at(self, times: Sequence[int]) -> int | None:
        """Return the latest of these sorted hits that lists the source; None if none does."""
        before = self.min_hits - 1
        for index in range(len(times) - 1, before - 1, -1):
            if times[index] - times[index - before] <= self.window_s:
                return times[index]
        return None


def policy_of(settings: Settings) -> Policy:
    """Return the policy in the settings."""
    window_s, expire_s = round(settings.blocklist_window_days * DAY_S), round(settings.blocklist_expire_days * DAY_S)
    return Policy(settings.blocklist_min_hits, window_s, expire_s)


class Entry(NamedTuple):
    """A listed source: the time of the hit that lists it, and when it expires. Seconds since 1970."""

    source: str
    last: int
    expires: int


class Hits:
    """The times of the latest hits of each source. Hits may arrive in any order, before 2106. A source takes 300 bytes.

    `sources_max` is a security limit. Beyond it, sources with one hit are forgotten first, and listed ones last; of
    these, the one without hits for the longest time and, evenly, others: so of sources that return in turn most are
    kept. `lost` counts the listed ones. `forgotten` has how many hits of a source were forgotten, of `forgotten_max`
    sources at most; `has_forgotten_more` if there were more.
    An IPv6 /48 has at most `unlisted_per_48` /64s that are not listed; beyond it, the oldest is removed.
    """

    def __init__(
        self, policy: Policy, sources_max: int = SOURCES_MAX, unlisted_per_48: int = 0, forgotten_max: int = SOURCES_MAX
    ) -> None:
        self.policy = policy
        self.lost = 0
        self.forgotten: dict[str, int] = {}
        self.has_forgotten_more = False
        self._kept = policy.kept_hits
        self._forgotten_max = forgotten_max
        self._sources_max = sources_max
        self._unlisted_per_48 = unlisted_per_48  # 0 = no limit
        # Sources with one hit, with several, and listed ones. In each, the source with the latest hit is the last.
        self._tiers: tuple[dict[str, array[int]], ...] = ({}, {}, {})
        self._by_48: dict[int, list[str]] = {}  # unlisted, the oldest first

    def add(self, source: str, *at: int) -> bool:
        """Add hits at these times (seconds since 1970); return whether they have listed the source."""
        was_listed = source in self._tiers[2]
        times = self._remove(source)
        if times is None:
            if sum(map(len, self._tiers)) >= self._sources_max:
                self._forget()
            times = array("I")
        for each in at:
            insort(times, each)
        del times[: -self._kept]
        last = self.policy.listed_at(times)
        is_listed = last is not None and times[-1] < last + self.policy.expire_s
        self._put(source, times, is_listed=is_listed)
        return is_listed and not was_listed

    def times_of(self, source: str) -> "array[int]":
        """Return the times of the latest hits of a source, sorted; none if it is unknown."""
        once, often, listed = self._tiers
        return listed.get(source) or often.get(source) or once.get(source) or array("I")

    def sources(self) -> list[str]:
        """Return all known sources."""
        return list(chain(*self._tiers))

    def missing(self, least: int) -> list[str]:
        """Return the sources of which hits were forgotten, and which had at least `least` hits with these."""
        return [source for source, hits in self.forgotten.items() if hits + len(self.times_of(source)) >= least]

    def review(self, sources: Iterable[str], now: int) -> Iterator[Entry]:
        """Yield the entries of listed sources; remove sources whose latest hit no longer matters."""
        oldest = now - self.policy.span_s
        for source in sources:
            times = self.times_of(source)
            if not times:
                continue  # removed since the caller listed the sources
            if times[-1] < oldest:
                self._remove(source)
            elif len(times) >= self.policy.min_hits:
                entry = entry_of(self.policy, source, times, now)
                if (entry is not None) != (source in self._tiers[2]):
                    self._remove(source)
                    self._put(source, times, is_listed=entry is not None)
                if entry is not None:
                    yield entry

    def _put(self, source: str, times: "array[int]", *, is_listed: bool) -> None:
        self._tiers[2 if is_listed else len(times) > 1][source] = times
        if not is_listed and self._unlisted_per_48 and ":" in source:
            siblings = self._by_48.setdefault(source_number(source) >> 80, [])
            siblings.append(source)
            if len(siblings) > self._unlisted_per_48:
                self._remove(siblings[0])

    def _remove(self, source: str) -> "array[int] | None":
        once, often, listed = self._tiers
        if times := listed.pop(source, None):
            return times
        times = often.pop(source, None) or once.pop(source, None)
        if times and self._unlisted_per_48 and ":" in source:
            network = source_number(source) >> 80
            self._by_48[network].remove(source)
            if not self._by_48[network]:
                del self._by_48[network]
        return times

    def _forget(self) -> None:
        tier = next(tier for tier in self._tiers if tier)
        for source in list(islice(tier, 0, None, _FORGET_ONE_IN)):  # several, because a step takes long
            if source in self.forgotten or len(self.forgotten) < self._forgotten_max:
                self.forgotten[source] = self.forgotten.get(source, 0) + len(tier[source])
            else:
                self.has_forgotten_more = True
            self.lost += tier is self._tiers[2]
            self._remove(source)


def entry_of(policy: Policy, source: str, times: Sequence[int], now: int) -> Entry | None:
    """Return a source's entry; None if it is not listed. Hits after `now` do not count."""
    last = policy.listed_at(times if times and times[-1] <= now else times[: bisect_right(times, now)])
    if last is None or now >= last + policy.expire_s:
        return None
    return Entry(source, last, last + policy.expire_s)
