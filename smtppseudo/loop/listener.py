"""The listener: accepts connections in batches, and pauses when descriptors run out."""

import contextlib
import errno
import os
import socket
import sys
from collections.abc import Callable
from typing import Any, Final

from smtppseudo.config.settings import Warn
from smtppseudo.files import is_root
from smtppseudo.loop.reactor import Reactor, Timer
from smtppseudo.net.addresses import plain_address, set_port_options, socket_address
from smtppseudo.net.errnos import ACCEPT_NEXT, DONTWAIT

BACKLOG: Final = 1024
BATCH_MAX: Final = 64
PAUSE_S: Final = 1.0
REPORT_EVERY_S: Final = 60.0
_CAN_SUSPEND: Final = sys.platform == "linux"

# Takes the socket, the peer's address and port, our port, and the time. Returns False to end the batch.
OnAccept = Callable[[socket.socket, str, int, int, float], bool]


class _Socket4(socket.socket):
    """A listening socket. `accept` reads its family and type; as plain numbers these save 3 us."""

    __slots__ = ()
    family = socket.AF_INET.value  # type: ignore[assignment]
    type = socket.SOCK_STREAM.value  # type: ignore[assignment]

    def __init__(self, fileno: int | None = None) -> None:
        super().__init__(self.family, self.type, fileno=fileno)

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept a connection, without the default time-out: this saves 1 % of a session's instructions."""
        # The connection is of the base class, which is written in C: this saves another 2 %.
        fd, address = self._accept()  # type: ignore[attr-defined]  # not in typeshed, but in CPython and PyPy
        return socket.SocketType(self.family, self.type, 0, fd), address  # type: ignore[return-value]


class _Socket6(_Socket4):
    """The same for IPv6."""

    __slots__ = ()
    family = socket.AF_INET6.value


class ListenError(Exception):
    """The server cannot listen on `address` and `port`. `overlaps`: one of its own addresses, if that is the reason."""

    def __init__(self, address: str, port: int, error: OSError) -> None:
        super().__init__(f"{address} port {port}: {error.strerror}")
        self.address = address
        self.port = port
        self.errno = error.errno
        self.overlaps = ""


def listen(address: str, port: int) -> socket.socket:
    """Open a listening socket on an IPv4 or IPv6 address; port 0 = any free port. Raises ListenError."""
    try:
        if port == 0:
            # A socket that was bound to port 0 loses its port in `suspend`: find a free port, then bind that.
            with _listen(address, 0) as sock:
                port = sock.getsockname()[1]
        return _listen(address, port)
    except OSError as error:
        raise ListenError(address, port, error) from None


def _listen(address: str, port: int) -> socket.socket:
    sock = (_Socket6 if ":" in address else _Socket4)()
    try:
        set_port_options(sock)
        sock.bind(socket_address(address, port))
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def adopt(fd: int) -> socket.socket:
    """Return the listening socket of a descriptor that the parent process opened.

    Raises OSError unless it is a TCP socket that is bound to a port. If an earlier server was killed while it was
    suspended, the socket is shut down; it listens again now.
    """
    sock = socket.socket(fileno=fd)
    try:
        if sock.family not in (socket.AF_INET, socket.AF_INET6) or sock.type != socket.SOCK_STREAM:
            raise OSError(errno.ESOCKTNOSUPPORT, os.strerror(errno.ESOCKTNOSUPPORT))
        if not sock.getsockname()[1]:
            raise OSError(errno.EINVAL, "it is not bound to a port")
        if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            sock.listen(BACKLOG)
    finally:
        sock.detach()
    return (_Socket6 if sock.family == socket.AF_INET6 else _Socket4)(fd)


def close_with_reply(sock: socket.socket, reply: bytes) -> None:
    """Close an accepted socket; send a reply first, if the kernel takes it at once."""
    try:
        if reply:
            sock.send(reply, DONTWAIT)
    except OSError:
        pass  # the caller is turned away all the same
    try:
        sock.close()
    except OSError:
        pass  # closed all the same (close(2))


class Listener:
    """Passes accepted sockets to `on_accept`. `on_trouble` receives errors of accept(2), at most once a minute.

    With `is_inherited`, another process holds the socket too, and it must stay usable after `close`.
    """

    def __init__(
        self, sock: socket.socket, reactor: Reactor, on_accept: OnAccept, on_trouble: Warn, *, is_inherited: bool
    ) -> None:
        self.address: str = sock.getsockname()[0]
        self.port: int = sock.getsockname()[1]
        self.fault = reactor.fault
        self._sock = sock
        self._reactor = reactor
        self.on_accept = on_accept
        self._on_trouble = on_trouble
        self._accept_timer = Timer(reactor, self._accept)
        self._retry_timer = Timer(reactor, self._watch)
        self._report_at = 0.0
        self._batch = 1
        self._is_inherited = is_inherited
        self._is_watching = self.is_suspended = False
        self._backlog = BACKLOG
        if _CAN_SUSPEND:  # the next `listen` must not change it; Linux returns it as tcpi_sacked, at byte 28
            info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32)
            self._backlog = int.from_bytes(info[-4:], sys.byteorder)
        sock.setblocking(False)
        with contextlib.suppress(OSError):  # replies to pipelined commands are slower, nothing else
            # Accepted sockets inherit this option: one system call here instead of one for each connection.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._watch(reactor.clock.now)

    def ready(self, now: float) -> None:
        """Accept at the end of the turn: sessions that end in this turn free their slots first."""
        self._reactor.at_end_of_turn.append(self._accept_timer)

    def suspend(self) -> None:
        """Refuse connections but keep the port, because a server without privileges could not bind it again.

        Only Linux can do that. Elsewhere the socket is closed; a port that only root can bind again is not suspended.
        Raises OSError; the socket still listens then.
        """
        if _CAN_SUSPEND:
            try:
                self._sock.shutdown(socket.SHUT_RD)
            except OSError as error:
                if error.errno != errno.ENOTCONN:  # not listening
                    raise
            self._unwatch()
        elif self.port < 1024 and os.name == "posix" and not is_root():
            raise OSError(errno.EPERM, "this system frees a closed port, and only root can open it again")
        else:
            self._unwatch()
            self._sock.close()
        self.is_suspended = True

    def resume(self) -> None:
        """Accept connections again. Raises ListenError."""
        self._unwatch()
        if _CAN_SUSPEND:
            try:
                self._sock.listen(self._backlog)
            except OSError as error:
                raise ListenError(self.address, self.port, error) from None
        else:
            self._sock = listen(self.address, self.port)
            self._sock.setblocking(False)
        self.is_suspended = False
        self._watch(self._reactor.clock.now)

    def close(self) -> None:
        """Stop listening."""
        self._unwatch()
        # The next server gets what waits at an inherited socket. systemd fails a socket unit whose socket is shut down.
        if self._is_inherited and self.is_suspended and _CAN_SUSPEND:
            with contextlib.suppress(OSError):
                self._sock.listen(self._backlog)
        with contextlib.suppress(OSError):  # closed all the same
            self._sock.close()

    def _accept(self, now: float) -> None:
        """Accept a batch of connections. Its size follows the load: a steady stream costs no `accept` for nothing."""
        if not self._is_watching:
            return  # closed or suspended earlier in this turn
        accepted = 0
        try:
            while accepted < self._batch:
                try:
                    sock, address = self._sock.accept()
                except OSError as error:
                    if error.errno in ACCEPT_NEXT:
                        accepted += 1  # so that many such errors cannot hold up the loop
                        continue
                    raise
                accepted += 1
                if not self.on_accept(sock, plain_address(address), address[1], self.port, now):
                    return  # the others wait for the next turn
        except BlockingIOError:
            self._batch = accepted or self._batch  # none in a break says nothing about the load
        except OSError as error:
            self._pause(error, now)
        else:
            self._batch = min(BATCH_MAX, 2 * self._batch)

    def _watch(self, now: float) -> None:
        try:
            self._reactor.watch(self._sock.fileno(), self)
        except OSError as error:
            self._pause(error, now)
        else:
            self._reactor.in_breaks.append(self._accept_timer)
            self._is_watching = True

    def _unwatch(self) -> None:
        self._reactor.wheel.cancel(self._retry_timer)
        if self._is_watching:
            self._reactor.unwatch(self._sock.fileno())
            self._reactor.in_breaks.remove(self._accept_timer)
            self._is_watching = False

    def _pause(self, error: OSError, now: float) -> None:
        """Stop watching for a second; otherwise every turn would report the connections that cannot be accepted."""
        self._unwatch()
        self._reactor.wheel.schedule(self._retry_timer, now + PAUSE_S)
        if now >= self._report_at:
            self._report_at = now + REPORT_EVERY_S
            is_limit = error.errno in (errno.EMFILE, errno.ENFILE)
            hint = "; raise the limit of open files (ulimit -n, LimitNOFILE=)" if is_limit else ""
            self._on_trouble(f"cannot accept connections on port {self.port}: {error.strerror}{hint}")
