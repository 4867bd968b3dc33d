"""Shares of the log: no source can use up the log of a day alone."""

from collections.abc import Callable
from ipaddress import ip_network
from math import inf
from typing import Final

SHARES: Final = 64
SOURCES_MAX: Final = 10_000
SESSIONS_MAX: Final = 100
SHORT: Final = 0.75  # the part of the day's bytes from which on they are running short
_SAMPLES: Final = 256  # of a share
_SAMPLE_BYTES_MIN: Final = 1_024
_OTHERS: Final = "all other sources together"


class Shares:
    """Counts the log bytes of each source. Each may use 1/64 of `day_bytes`; 0 = no limit.

    The owner samples one byte in `sample_bytes`, and charges all `sample_bytes` to its source: this costs the sessions
    nothing, and is exact to some percent. Of a source in `above`, above its share, `sessions_max` sessions an hour are
    logged in short. `sources_max` is a security limit: sources beyond it are counted together, as one. The counts begin
    again with each `day`, a local date, and with the process.
    """

    def __init__(self, day_bytes: int, sources_max: int = SOURCES_MAX, sessions_max: int = SESSIONS_MAX) -> None:
        self.is_exempt: Callable[[str], bool] = lambda _: False  # such an address has no share
        self.above: dict[str, tuple[int, int]] = {}  # the hour of the last session, and their number in that hour
        self._share = day_bytes / SHARES or inf
        self.sample_bytes = max(_SAMPLE_BYTES_MIN, self._share / _SAMPLES)
        self._sources_max = sources_max
        self._sessions_max = sessions_max
        self._used: dict[str, float] = {}
        self._day = ""

    def charge(self, ip: str, day: str) -> str:
        """Count `sample_bytes` logged by `ip`; return its source if that uses up the share, else an empty text."""
        if day != self._day:
            self._day, self._used, self.above = day, {}, {}
        if self.is_exempt(ip):
            return ""
        source = source_of(ip)
        if source not in self._used and len(self._used) >= self._sources_max:
            source = _OTHERS
        self._used[source] = used = self._used.get(source, 0) + self.sample_bytes
        if used <= self._share or source in self.above:
            return ""
        self.above[source] = 0, 0
        return source

    def source_above(self, ip: str, day: str) -> str:
        """Return the source of an address if it is above its share, else an empty text."""
        source = source_of(ip)
        if source not in self._used:
            source = _OTHERS
        return source if day == self._day and source in self.above and not self.is_exempt(ip) else ""

    def begin_session(self, source: str, hour: int) -> bool:
        """Return whether one more session of a source above its share is logged, in short, or not at all."""
        last_hour, count = self.above[source]
        count = count + 1 if hour == last_hour else 1
        self.above[source] = hour, count
        return count <= self._sessions_max


def source_of(ip: str) -> str:
    """Return the source that an address belongs to: an IPv4 address itself, the /48 of an IPv6 address."""
    return str(ip_network((ip.partition("%")[0], 48), strict=False)) if ":" in ip else ip
