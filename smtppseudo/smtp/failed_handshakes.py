"""Failed handshakes: clients that cannot use our TLS, so that STARTTLS is not offered to them for a while."""

from typing import Final

from smtppseudo.smtp.client_limits import source_of

FAILURES_MAX: Final = 2
OFFERED_AGAIN_S: Final = 3600.0
SOURCES_MAX: Final = 10_000


class FailedHandshakes:
    """Counts the failed TLS handshakes of each client since its last success.

    A mail server that shares no cipher with us would try again for days. `sources_max` is a security limit: the client
    whose failure is oldest is forgotten.
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
