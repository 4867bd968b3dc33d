"""Policy: which sources are listed, and for how long, by the times of their hits."""

from array import array
from bisect import bisect_right, insort
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final, NamedTuple

from smtppseudo.config.settings import Settings
from smtppseudo.smtp.client_limits import source_of

DAY_S: Final = 86_400
KEPT_HITS_MAX: Final = 1_000
SOURCES_MAX: Final = 2_000_000
_FORGOTTEN_AT_ONCE: Final = 1_000
_TIME_MAX: Final = 1 << 35  # seconds since 1970; beyond the year 3000


class Policy(NamedTuple):
    """A source is listed at its `min_hits`-th hit within `window_s`, until `expire_s` after the latest such hit.

    Hits before an expiry count again: after it, one more hit lists the source if it makes `min_hits` within the
    window. A source is an IPv4 address or an IPv6 /64.
    """

    min_hits: int
    window_s: int
    expire_s: int

    @property
    def kept_hits(self) -> int:
        """How many of a source's latest hits can decide whether it is listed. Older hits need not be kept.

        After the hit that lists the source, every `min_hits` - 1 hits that do not list it again span more than
        `window_s`. After `expire_s` that hit no longer matters.
        """
        spans = -(-self.expire_s // self.window_s)
        return min(KEPT_HITS_MAX, self.min_hits + (self.min_hits - 1) * spans)

    def listed_at(self, times: Sequence[int]) -> int | None:
        """Return the latest of these sorted hits that lists the source; None if none does."""
        before = self.min_hits - 1
        for index in range(len(times) - 1, before - 1, -1):
            if times[index] - times[index - before] <= self.window_s:
                return times[index]
        return None


def policy_of(settings: Settings) -> Policy:
    """Return the policy in the settings."""
    return Policy(
        settings.blocklist_min_hits,
        round(settings.blocklist_window_days * DAY_S),
        round(settings.blocklist_expire_days * DAY_S),
    )


class Entry(NamedTuple):
    """A listed source: the time of the hit that lists it, and when it expires. Seconds since 1970."""

    source: str
    last: int
    expires: int


class Hits:
    """The times of the latest hits of each source. Hits may arrive in any order. A source takes about 300 bytes.

    `sources_max` is a security limit. Beyond it the sources without hits for the longest time are removed, and
    counted in `forgotten`.
    """

    __slots__ = ("_kept", "_sources_max", "_times", "forgotten", "policy")

    def __init__(self, policy: Policy, sources_max: int = SOURCES_MAX) -> None:
        self.policy = policy
        self.forgotten = 0
        self._kept = policy.kept_hits
        self._sources_max = sources_max
        self._times: dict[str, array[int]] = {}  # the source with the latest hit is the last

    def add(self, source: str, at: int) -> int | None:
        """Add a hit at `at` (seconds since 1970); return the time of the hit that lists the source now, if any."""
        times = self._times.pop(source, None)
        if times is None:
            times = array("q")
            if len(self._times) >= self._sources_max:
                self._forget()
        self._times[source] = times
        insort(times, at)
        if len(times) > self._kept:
            del times[0]
        return self.policy.listed_at(times)

    def times_of(self, source: str) -> Sequence[int]:
        """Return the times of the latest hits of a source, sorted."""
        return self._times.get(source, ())

    def sources(self) -> list[str]:
        """Return all known sources."""
        return list(self._times)

    def review(self, sources: Iterable[str], now: int) -> Iterator[Entry]:
        """Yield the entries of listed sources; remove sources whose latest hit no longer matters."""
        oldest = now - max(self.policy.window_s, self.policy.expire_s)
        for source in sources:
            times = self._times.get(source)
            if times is None:
                continue  # removed since the caller listed the sources
            if times[-1] < oldest:
                del self._times[source]
                continue
            entry = entry_of(self.policy, source, times, now)
            if entry is not None:
                yield entry

    def render(self, sources: Iterable[str]) -> Iterator[str]:
        """Render the hits of sources for the next run, one line a source."""
        for source in sources:
            times = self._times.get(source)
            if times is not None:
                yield f"{source} {' '.join(map(str, times))}\n"

    def _forget(self) -> None:
        for source in list(islice(self._times, min(_FORGOTTEN_AT_ONCE, self._sources_max))):
            del self._times[source]
            self.forgotten += 1


def parse_hits(line: str) -> tuple[str, list[int]]:
    """Parse a line of `Hits.render`: a source and the times of its hits. Raises ValueError."""
    source, *words = line.split()
    times = [int(word) for word in words]
    is_source = source == source_of(source.removesuffix("/64"))  # `order` and readers of lists fail for other forms
    if not is_source or not times or not all(0 <= at < _TIME_MAX for at in times):
        raise ValueError(f"not a source and times: {line!r}")
    return source, times


def entry_of(policy: Policy, source: str, times: Sequence[int], now: int) -> Entry | None:
    """Return a source's entry; None if it is not listed. Hits after `now` do not count."""
    known = times[: bisect_right(times, now)]
    last = policy.listed_at(known)
    if last is None or now >= last + policy.expire_s:
        return None
    return Entry(source, last, last + policy.expire_s)
