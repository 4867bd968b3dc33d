"""Connections from proxies: each begins with a header that has the caller's address."""

import socket
from collections.abc import Callable
from typing import Final

from smtppseudo.events import TurnedAwayReason
from smtppseudo.loop.connection import RECEIVE_BYTES
from smtppseudo.loop.listener import close_with_reply
from smtppseudo.loop.reactor import Reactor
from smtppseudo.net.errnos import DONTWAIT, NEEDS_NONBLOCKING
from smtppseudo.net.proxy_header import ParsedHeader, ProxyHeader, parse_proxy_header
from smtppseudo.smtp.client_limits import Networks

HEADER_TIMEOUT_S: Final = 5.0
OnClosed = Callable[[str, TurnedAwayReason, float], None]
# As `OnAccept`; then what the caller has sent so far, and whether the reactor watches the socket already.
Admit = Callable[[socket.socket, str, int, int, float, bytes, bool], bool]


class ProxyGate:
    """Accepts connections; reads the header of those from `proxies` before it passes them to `admit`.

    Until then a connection has no slot and no session, and gets no reply. At most `waiting_max` wait for their headers,
    each at most 5 s. One over these limits, or with a malformed header, is closed, and reported to `on_closed`.
    """

    def __init__(self, reactor: Reactor, admit: Admit, on_closed: OnClosed, waiting_max: int) -> None:
        self.reactor = reactor
        self.admit = admit
        self.on_closed = on_closed
        self.proxies = Networks(())
        self.waiting: set[ProxiedConnection] = set()
        self.waiting_max = waiting_max

    def accept(self, sock: socket.socket, ip: str, port: int, local_port: int, now: float) -> bool:
        """Admit a caller, or read the header of a proxy's connection. The listener calls this as its accept handler."""
        if ip not in self.proxies:
            return self.admit(sock, ip, port, local_port, now, b"", False)
        return ProxiedConnection(self, sock, ip, port, local_port).begin(now)

    def close_waiting(self) -> None:
        """Close the connections that wait, and report none: the port is closed."""
        for connection in list(self.waiting):
            connection.close()


class ProxiedConnection:
    """A connection from a proxy whose header is not complete."""

    __slots__ = ("_data", "_gate", "_ip", "_local_port", "_port", "_sock", "due_tick")

    def __init__(self, gate: ProxyGate, sock: socket.socket, ip: str, port: int, local_port: int) -> None:
        self._gate = gate
        self._sock = sock
        self._ip = ip
        self._port = port
        self._local_port = local_port
        self._data = b""
        self.due_tick = 0
        if NEEDS_NONBLOCKING:
            sock.setblocking(False)

    def begin(self, now: float) -> bool:
        """Read the header, which usually comes with the connection; else wait for it. Return as `OnAccept` does."""
        header, gate = self._receive(), self._gate
        if isinstance(header, ProxyHeader):
            return self._admit(header, now)
        if header == "malformed" or len(gate.waiting) >= gate.waiting_max:
            self.due(now)
            return True
        try:
            gate.reactor.watch(self._sock.fileno(), self)
        except OSError:  # the kernel cannot watch one more
            self.due(now)
        else:
            gate.waiting.add(self)
            gate.reactor.wheel.schedule(self, now + HEADER_TIMEOUT_S)
        return True

    def ready(self, now: float) -> None:
        """Read more of the header."""
        header = self._receive()
        if isinstance(header, ProxyHeader):
            self._admit(header, now)
        elif header == "malformed":
            self.due(now)

    def due(self, now: float) -> None:
        """Close the connection, because its header has not come or is malformed."""
        self.close()
        self._gate.on_closed(self._ip, "proxy", now)

    def fault(self, error: Exception, /) -> None:
        """Close only this connection after a bug."""
        self._gate.reactor.fault(error)
        self.close()

    def close(self) -> None:
        """Close the connection without a reply."""
        if self._stop_waiting():
            self._gate.reactor.unwatch_own(self._sock.fileno())
        close_with_reply(self._sock, b"")

    def _admit(self, header: ProxyHeader, now: float) -> bool:
        ip, port = (header.ip, header.port) if header.ip else (self._ip, self._port)
        early = self._data[header.size :]
        return self._gate.admit(self._sock, ip, port, self._local_port, now, early, self._stop_waiting())

    def _stop_waiting(self) -> bool:
        """Return whether the connection was waiting, and so is watched."""
        is_watched = self in self._gate.waiting
        self._gate.waiting.discard(self)
        self._gate.reactor.wheel.cancel(self)
        return is_watched

    def _receive(self) -> ParsedHeader:
        try:
            data = self._sock.recv(RECEIVE_BYTES, DONTWAIT)
        except (BlockingIOError, InterruptedError):
            return "incomplete"
        except OSError:
            return "malformed"  # it is reset
        self._data += data
        return parse_proxy_header(self._data) if data else "malformed"
