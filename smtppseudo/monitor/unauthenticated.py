"""The connections that are not logged in: how many there may be, and which one must leave for a new one."""

from typing import Final, NamedTuple

from smtppseudo.monitor.session import MonitorSession, MonitorState

PER_SOURCE: Final = 2


class Source(NamedTuple):
    """Where a connection comes from: what `client_limits.source_of` returns, and whether that is a loopback address."""

    name: str
    is_local: bool

    @property
    def guesser(self) -> str:
        """The source whose wrong magic words are counted together: a local user has 16 million loopback addresses."""
        return "loopback" if self.is_local else self.name


class Unauthenticated:
    """Keeps at most `per_side` connections from loopback addresses and as many from others, and two of one source.

    A connection that is not logged in has a place until its socket is closed. `per_side` is a security limit.
    """

    def __init__(self, per_side: int) -> None:
        self._per_side = per_side
        self._sources: dict[MonitorSession, Source] = {}  # in the order of arrival

    def enter(self, session: MonitorSession, source: Source) -> None:
        """Add a connection."""
        self._sources[session] = source

    def leave(self, session: MonitorSession) -> None:
        """Forget a connection whose socket is closed."""
        del self._sources[session]

    def source_of(self, session: MonitorSession) -> Source:
        """Return the source of a connection."""
        return self._sources[session]

    def leaving_for(self, source: Source) -> MonitorSession | None:
        """Return the connection that must be closed before another may enter; None if there is room.

        A failed connection leaves first, then the one that has waited longest without `auth`, then the one that has
        waited longest with it. So connections that only wait keep nobody out.
        """
        waiting = [session for session in self._sources if session.state is not MonitorState.AUTHENTICATED]
        side = [session for session in waiting if self._sources[session].is_local == source.is_local]
        same = [session for session in side if self._sources[session] == source]
        if len(same) >= PER_SOURCE:
            return min(same, key=_claim)  # the oldest of equals
        return min(side, key=_claim) if len(side) >= self._per_side else None


def _claim(session: MonitorSession) -> int:
    """Return 0 for a connection that has failed, 1 without a login that has begun, else 2."""
    return 0 if session.state is not MonitorState.LOGGING_IN else 1 + session.has_begun_login
