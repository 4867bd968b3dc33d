"""The listener: accepts connections in batches, and pauses when descriptors run out."""

import contextlib
import errno
import os
import socket
import sys
from collections.abc import Callable
from typing import Final

from smtppseudo.loop.reactor import Alarm, Reactor
from smtppseudo.net.addresses import plain_address
from smtppseudo.net.errnos import ACCEPT_NEXT, DONTWAIT

BACKLOG: Final = 1024
BATCH_MAX: Final = 64
PAUSE_S: Final = 1.0
SAY_EVERY_S: Final = 60.0
_CAN_SUSPEND: Final = sys.platform == "linux"
_TCP_INFO_BYTES: Final = 32  # struct tcp_info up to tcpi_sacked

# Takes the socket, the peer's address, the peer's port, our port, the time; says whether others may follow at once.
OnAccept = Callable[[socket.socket, str, int, int, float], bool]


class _Socket4(socket.socket):
    """A listening socket. `accept` asks it for its family and type, which as plain numbers cost 3 us less."""

    __slots__ = ()
    family = socket.AF_INET.value  # type: ignore[assignment]
    type = socket.SOCK_STREAM.value  # type: ignore[assignment]

    def __init__(self, fileno: int | None = None) -> None:
        super().__init__(self.family, self.type, fileno=fileno)


class _Socket6(_Socket4):
    """The same for IPv6."""

    __slots__ = ()
    family = socket.AF_INET6.value


class ListenError(Exception):
    """An address and port that cannot be listened on; `errno` says why, `port` and `address` where."""

    def __init__(self, address: str, port: int, error: OSError) -> None:
        super().__init__(f"{address} port {port}: {error.strerror}")
        self.address = address
        self.port = port
        self.errno = error.errno


def listen(address: str, port: int) -> socket.socket:
    """Open a listening socket on an IPv4 or IPv6 address; port 0 = any free one. Raises ListenError."""
    try:
        # A port that was bound as 0 is lost when listening is suspended, so it is found first, then bound.
        return _listen(address, port or _free_port(address))
    except OSError as error:
        raise ListenError(address, port, error) from None


def _free_port(address: str) -> int:
    with _listen(address, 0) as sock:
        port: int = sock.getsockname()[1]
    return port


def _listen(address: str, port: int) -> socket.socket:
    sock = (_Socket6 if ":" in address else _Socket4)()
    try:
        if os.name == "posix":
            # On Windows the option would let two servers share the port.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if isinstance(sock, _Socket6):
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((address, port))
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def adopt(fd: int) -> socket.socket:
    """Return the listening socket that a descriptor is, made by another process. Raises OSError.

    It may have been shut down by a process that was killed while it was suspended; now it listens again.
    """
    family = _family_of(fd)
    sock = _Socket6(fd) if family == socket.AF_INET6 else _Socket4(fd)
    try:
        if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            sock.listen(BACKLOG)
    except BaseException:
        sock.detach()
        raise
    return sock


def _family_of(fd: int) -> int:
    """Return the family of a TCP socket that is bound to a port. Raises OSError for anything else."""
    probe = socket.socket(fileno=fd)
    try:
        if probe.family not in (socket.AF_INET, socket.AF_INET6) or probe.type != socket.SOCK_STREAM:
            raise OSError(errno.ESOCKTNOSUPPORT, os.strerror(errno.ESOCKTNOSUPPORT))
        if not probe.getsockname()[1]:
            raise OSError(errno.EINVAL, "it is not bound to a port")
        return probe.family
    finally:
        probe.detach()


def turn_away(sock: socket.socket, farewell: bytes) -> None:
    """Close a socket that was accepted, with a last word if the kernel takes it at once."""
    try:
        if farewell:
            sock.send(farewell, DONTWAIT)
    except OSError:
        pass  # it is turned away all the same
    try:
        sock.close()
    except OSError:
        pass  # closed all the same (close(2))


def _backlog_of(sock: socket.socket) -> int:
    """Return how many connections may wait: what was asked for when the socket was made to listen."""
    if not _CAN_SUSPEND:
        return BACKLOG
    # Of a listening socket, Linux gives the backlog as tcpi_sacked.
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
    return int.from_bytes(info[-4:], sys.byteorder)


class Listener:
    """Hands accepted sockets to `on_accept`. `on_trouble` hears of what stops accepting, once a minute.

    With `is_inherited`, others hold the socket, too, and it listens on for them when we close it.
    """

    def __init__(
        self,
        sock: socket.socket,
        reactor: Reactor,
        on_accept: OnAccept,
        on_trouble: Callable[[str], None],
        on_fault: Callable[[Exception], None],
        *,
        is_inherited: bool = False,
    ) -> None:
        self.address: str = sock.getsockname()[0]
        self.port: int = sock.getsockname()[1]
        self.due_tick = 0
        self._sock = sock
        self._reactor = reactor
        self._on_accept = on_accept
        self._on_trouble = on_trouble
        self._on_fault = on_fault
        self._retry = Alarm(self._watch, on_fault)
        self._say_again_at = 0.0
        self._batch = 1
        self._watching = False
        self._is_inherited = is_inherited
        self._is_suspended = False
        self._backlog = _backlog_of(sock)
        sock.setblocking(False)
        try:
            # Accepted sockets inherit it: one system call here instead of one a connection.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            pass  # slower replies to pipelined commands, nothing else
        self._watch(0.0)

    def ready(self, mask: int, now: float) -> None:
        """Somebody waits."""
        self._reactor.accept_at_end_of_turn(self)

    def admit(self, now: float) -> None:
        """Accept who waits, up to a batch.

        The batch follows the load, so that in a steady stream no `accept` is spent to find nothing.
        """
        if not self._watching:
            return  # closed or suspended earlier in this turn
        accepted = 0
        try:
            while accepted < self._batch:
                try:
                    sock, address = self._sock.accept()
                except OSError as error:
                    if error.errno in ACCEPT_NEXT:
                        accepted += 1  # so that a stream of such errors cannot hold the loop
                        continue
                    raise
                accepted += 1
                if not self._on_accept(sock, plain_address(address), address[1], self.port, now):
                    return  # the rest wait for the next turn
        except BlockingIOError:
            self._batch = max(1, accepted)
        except OSError as error:
            self._pause(error, now)
        else:
            self._batch = min(BATCH_MAX, 2 * self._batch)

    def due(self, now: float) -> None:
        """Nothing is scheduled on the listener itself."""

    def fault(self, error: Exception) -> None:
        """Report a bug; listening goes on."""
        self._on_fault(error)

    def suspend(self) -> None:
        """Refuse connections, but keep the port: not everybody who holds it could get it again.

        Where the system has no way to do that (all but Linux) the socket is closed, to be opened anew.
        Raises OSError; it goes on listening then.
        """
        if _CAN_SUSPEND:
            try:
                self._sock.shutdown(socket.SHUT_RD)
            except OSError as error:
                if error.errno != errno.ENOTCONN:  # it refuses already
                    raise
            self._unwatch()
        else:
            self._unwatch()
            self._sock.close()
        self._is_suspended = True

    def resume(self) -> None:
        """Take connections again. Raises ListenError."""
        self._unwatch()
        if _CAN_SUSPEND:
            try:
                self._sock.listen(self._backlog)
            except OSError as error:
                raise ListenError(self.address, self.port, error) from None
        else:
            self._sock = listen(self.address, self.port)
            self._sock.setblocking(False)
        self._is_suspended = False
        self._watch(0.0)

    def close(self) -> None:
        """Stop listening for good.

        An inherited socket is only let go: what waits in its queue is for whoever takes it next. It must listen,
        for systemd fails a socket unit whose socket it finds shut down.
        """
        self._unwatch()
        if self._is_inherited and self._is_suspended and _CAN_SUSPEND:
            with contextlib.suppress(OSError):
                self._sock.listen(self._backlog)
        with contextlib.suppress(OSError):  # closed all the same
            self._sock.close()

    def _unwatch(self) -> None:
        self._reactor.wheel.cancel(self._retry)
        if self._watching:
            self._reactor.unwatch_acceptor(self._sock.fileno())
            self._watching = False

    def _watch(self, now: float) -> None:
        try:
            self._reactor.watch_acceptor(self._sock.fileno(), self)
        except OSError as error:
            self._pause(error, now)
        else:
            self._watching = True

    def _pause(self, error: OSError, now: float) -> None:
        """Stop accepting for a second: level-triggered, the loop would spin on what it cannot accept."""
        self._unwatch()
        self._reactor.wheel.schedule(self._retry, now + PAUSE_S)
        if now >= self._say_again_at:
            self._say_again_at = now + SAY_EVERY_S
            is_limit = error.errno in (errno.EMFILE, errno.ENFILE)
            hint = "; raise the limit of open files (ulimit -n, LimitNOFILE=)" if is_limit else ""
            self._on_trouble(f"cannot accept connections on port {self.port}: {error.strerror}{hint}")
