"""Limits per client: which addresses count as one, how many slots each may hold, and whether it may use STARTTLS."""

from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final

FAILURES_MAX: Final = 2
OFFERED_AGAIN_S: Final = 3600.0
SOURCES_MAX: Final = 10_000


def source_of(ip: str) -> str:
    """Return the client that an address belongs to: an IPv4 address itself, the /64 of an IPv6 address."""
    if ":" not in ip:
        return ip
    # Half the time of `ip_network`.
    return f"{IPv6Address(int(IPv6Address(ip.partition('%')[0])) >> 64 << 64)}/64"


class Networks:
    """A set of networks, which contains addresses."""

    def __init__(self, networks: tuple[str, ...]) -> None:
        self._networks = list(map(ip_network, networks))

    def __contains__(self, ip: str) -> bool:
        address = ip_address(ip)
        return any(address in network for network in self._networks)


class ClientLimit:
    """Counts the slots of each client, except of clients in `exempt` networks. A `most` of 0 means no limit."""

    def __init__(self, most: int, exempt: tuple[str, ...]) -> None:
        self._most = most
        self.exempt = Networks(exempt)
        self._counts: dict[str, int] = {}

    def admits(self, ip: str) -> bool:
        """Return whether the client of this address may have one more slot."""
        return not self._most or self._counts.get(source_of(ip), 0) < self._most or ip in self.exempt

    def enter(self, ip: str) -> None:
        """Count one more slot."""
        source = self._counted_source(ip) if ":" in ip else ip
        if source:
            self._counts[source] = self._counts.get(source, 0) + 1

    def release(self, ip: str) -> None:
        """Count one slot less."""
        source = self._counted_source(ip) if ":" in ip else ip
        if source:
            count = self._counts[source] = self._counts[source] - 1
            if not count:
                del self._counts[source]

    def _counted_source(self, ip: str) -> str:
        """Return the client of an IPv6 address; none if that is exempt, because it must not count for its /64."""
        return "" if ip in self.exempt else source_of(ip)


class FailedHandshakes:
    """Counts the failed TLS handshakes of each client since its last success, of at most `sources_max` clients.

    A mail server that shares no cipher with us would try again for days.
    """

    def __init__(self, sources_max: int = SOURCES_MAX) -> None:
        self._sources_max = sources_max
        self._failures: dict[str, tuple[int, float]] = {}  # the count and the time of the last; the oldest first

    def record(self, ip: str, now: float, *, has_failed: bool) -> None:
        """Record how a handshake ended."""
        source = source_of(ip)
        count, _ = self._failures.pop(source, (0, now))
        if has_failed:
            self._failures[source] = (count + 1, now)
            if len(self._failures) > self._sources_max:
                del self._failures[next(iter(self._failures))]

    def offers_tls(self, ip: str, now: float) -> bool:
        """Return whether STARTTLS may be offered to this address."""
        count, failed_at = self._failures.get(source_of(ip), (0, now))
        return count < FAILURES_MAX or now - failed_at >= OFFERED_AGAIN_S
