"""Holders: which source holds most slots, and which of its sessions leaves for a caller whose source holds none."""

from collections.abc import Callable, Iterable
from itertools import chain, islice
from typing import Final

from smtppseudo.smtp.client_limits import source_of
from smtppseudo.smtp.session import SmtpSession

YOUNG_S: Final = 1.0
SOURCES_MAX: Final = 16  # to look at for one caller; a security limit, like the next two
SESSIONS_MAX: Final = 64  # of one source
RETRY_S: Final = 0.1


class Holders:
    """The sessions of each source, and the sources by how many they hold. A change takes constant time.

    `session_to_evict` looks at a limited number of sessions, then at others the next time. After a failure it looks
    again only `RETRY_S` later. So a flood of callers costs little.
    """

    def __init__(self, sessions: Iterable[SmtpSession]) -> None:
        self._sessions: dict[str, dict[SmtpSession, None]] = {}
        self._sources: dict[int, dict[str, None]] = {}  # by the number of their sessions, from 2
        self._retry_at = 0.0
        for session in sessions:
            self.enter(session)

    def enter(self, session: SmtpSession) -> None:
        """Add a session."""
        source = source_of(session.ip)
        held = self._sessions.setdefault(source, {})
        held[session] = None
        self._move(source, len(held) - 1, len(held))

    def leave(self, session: SmtpSession) -> None:
        """Remove a session."""
        source = source_of(session.ip)
        held = self._sessions[source]
        del held[session]
        self._move(source, len(held) + 1, len(held))
        if not held:
            del self._sessions[source]

    def session_to_evict(self, ip: str, now: float, is_idle: Callable[[SmtpSession], bool]) -> SmtpSession | None:
        """Return the session that leaves for a caller from `ip`, or None.

        If the caller's source holds no slot, that is the session idle longest of the source that holds most, if those
        are two or more. It is idle now, and not younger than `YOUNG_S`.
        """
        if now < self._retry_at or source_of(ip) in self._sessions:
            return None
        most_first = chain.from_iterable(self._sources[count] for count in sorted(self._sources, reverse=True))
        for source in list(islice(most_first, SOURCES_MAX)):
            held = self._sessions[source]
            some = list(islice(held, SESSIONS_MAX))
            idle = [each for each in some if now - each.started_at >= YOUNG_S and is_idle(each)]
            if idle:
                return min(idle, key=lambda each: each.idle_since)
            for each in some:
                held[each] = held.pop(each)
            self._move(source, len(held), len(held))
        self._retry_at = now + RETRY_S
        return None

    def _move(self, source: str, before: int, after: int) -> None:
        if before > 1:
            sources = self._sources[before]
            del sources[source]
            if not sources:
                del self._sources[before]
        if after > 1:
            self._sources.setdefault(after, {})[source] = None
