"""The server's side of a TLS handshake, in steps."""

from typing import TYPE_CHECKING, Protocol

from smtppseudo.events import CloseReason
from smtppseudo.loop.reactor import READ, WRITE, Reactor
from smtppseudo.net.errnos import DONTWAIT

if TYPE_CHECKING:
    from smtppseudo.net.tls import Tls, TlsSocket


class Secured(Protocol):
    """The connection that waits for the handshake."""

    def secured(self, now: float) -> None: ...
    def close(self, reason: CloseReason, now: float) -> None: ...
    def fault(self, error: Exception, /) -> None: ...


class Handshake:
    """Is watched instead of its connection until the handshake is done; the connection keeps the deadline."""

    __slots__ = ("_connection", "_reactor", "_sock", "_tls", "fault")

    def __init__(self, connection: Secured, sock: "TlsSocket", tls: "Tls", reactor: Reactor) -> None:
        self.fault = connection.fault
        self._connection = connection
        self._sock = sock
        self._tls = tls
        self._reactor = reactor

    def ready(self, mask: int, now: float) -> None:
        """Do the next step, unless this turn has had enough of them: then the socket stays ready for the next turn."""
        if not self._tls.may_step(self._reactor.turns):
            return
        try:
            is_done = self._sock.shake_hands(DONTWAIT)
            if not is_done:
                self._reactor.rewatch(self._sock.fileno(), self, WRITE if self._sock.has_unsent else READ)
        except OSError:
            self._connection.close("tls", now)
            return
        if is_done:
            self._connection.secured(now)
