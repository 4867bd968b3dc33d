"""The wire between a monitor and its server: the machine `MonitorClient` over a socket, and how that is connected."""

import selectors
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from smtppseudo.link.errors import (
    BadPeerError,
    ChangedCertificateError,
    ClosedError,
    ConnectionLostError,
    NotPrivateError,
    UnknownCertificateError,
    UnreachableError,
)
from smtppseudo.link.incoming import Incoming, Lost
from smtppseudo.link.machine import MonitorClient
from smtppseudo.link.pins import fingerprint_of
from smtppseudo.net.errnos import TlsError, reason_of

if TYPE_CHECKING:
    from smtppseudo.net.tls import TlsSocket

TlsMode: TypeAlias = Literal["auto", "on", "off"]  # auto: on, unless the address is this machine's loopback

THIS_MACHINE: Final = ("127.0.0.1", "::1")  # where a server's monitor port is unless it was told otherwise

_RECEIVE_BYTES: Final = 65_536
_HELLO_S: Final = 1.0  # a server says hello at once; whoever does not may wait for a TLS handshake
_NOT_TLS: Final = frozenset(  # what OpenSSL calls bytes that are no record
    {"WRONG_VERSION_NUMBER", "UNKNOWN_PROTOCOL", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"}
)
_TUNNEL: Final = "`ssh -N -L 2626:127.0.0.1:{port} {host}`, then 127.0.0.1 port 2626"


class Wire:
    """Bytes from the socket into the machine and back. Takes a connected socket that has a time-out for sending.

    One thread reads; `request` and `close` are for any. While one thread waits, no other may release the
    socket, whose number might be another file's at once: so `close` wakes the one that waits, and that
    releases it.
    """

    def __init__(self, sock: "socket.socket | TlsSocket", client: MonitorClient) -> None:
        self.client = client
        self._sock = sock
        self._selector = selectors.DefaultSelector()
        self._selector.register(sock, selectors.EVENT_READ)
        self._lock = threading.Lock()  # for the machine, for sending, and for the two that follow
        self._waits = False
        self._is_closed = False

    @property
    def is_secured(self) -> bool:
        """Whether it is under TLS."""
        return not isinstance(self._sock, socket.socket)

    def read(self, timeout_s: float | None) -> list[Incoming] | None:
        """Wait for bytes; return what they mean, which may be nothing yet. None if none came in time.

        The end of the stream and an error are `Lost`. Raises ClosedError.
        """
        is_ready = self._wait(timeout_s)
        with self._lock:
            self._require_open()
            return self._receive() if is_ready else None

    def needs_tls(self, timeout_s: float) -> bool:
        """Say whether nothing comes in clear text, and another connection to there can be put under TLS.

        Raises ClosedError.
        """
        give_up_at = time.monotonic() + timeout_s
        if not isinstance(self._sock, socket.socket) or self._wait(min(_HELLO_S, timeout_s)):
            return False
        return _speaks_tls(self._sock, give_up_at - time.monotonic())

    def request(self, op: str, **fields: object) -> int:
        """Send a request; return its number. Raises ClosedError, and ValueError for what cannot be sent.

        That the connection is gone is seen when its end is read.
        """
        with self._lock:
            self._require_open()
            request_id = self.client.request(op, **fields)
            try:
                self._send()
            except OSError:
                self._shut_down()  # what follows half a frame could not be read
            return request_id

    def close(self) -> None:
        """Close the connection; whoever waits gets ClosedError."""
        with self._lock:
            self._is_closed = True
            if self._waits:
                self._shut_down()
            else:
                self._release()

    def _wait(self, timeout_s: float | None) -> bool:
        """Wait until something can be read, be it the end; say whether there is."""
        with self._lock:
            self._require_open()
            self._waits = True
        try:
            return self._has_waiting() or bool(self._selector.select(timeout_s))
        finally:
            with self._lock:
                self._waits = False
                if self._is_closed:
                    self._release()

    def _receive(self) -> list[Incoming]:
        try:
            data = self._sock.recv(_RECEIVE_BYTES)
            found = self.client.receive(data) if data else self.client.end_of_stream()
            self._send()
        except BlockingIOError:
            return []  # part of a TLS record
        except OSError as error:
            self.client.end_of_stream()
            return [Lost(f"the connection is lost: {reason_of(error)}")]
        return found

    def _has_waiting(self) -> bool:
        return not isinstance(self._sock, socket.socket) and self._sock.has_waiting

    def _send(self) -> None:
        data = self.client.data_to_send()
        if data:
            self._sock.sendall(data)

    def _shut_down(self) -> None:
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it has ended already, which wakes as well

    def _require_open(self) -> None:
        if self._is_closed:
            raise ClosedError("the connection was closed")

    def _release(self) -> None:
        self._selector.close()
        self._sock.close()


def connect(host: str | None, port: int, timeout_s: float) -> socket.socket:
    """Connect to the first address of a host that answers; None is this machine. Raises LinkError."""
    reason = ""
    for family, address in _addresses(host, port):
        try:
            sock = socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:  # this machine may have no IPv6
            reason = reason or reason_of(error)
            continue
        try:
            sock.settimeout(timeout_s)
            sock.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        except OSError as error:
            sock.close()
            reason = reason or reason_of(error)
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise UnreachableError(f"cannot reach {host or THIS_MACHINE[0]} port {port}: {reason}; {_advice(host, port)}")


def secure(sock: socket.socket, place: tuple[str, int], timeout_s: float, pin: str | None) -> "TlsSocket":
    """Put a connection under TLS with the server whose certificate has the fingerprint `pin`.

    `place` is host and port as they were asked for. Raises LinkError; then nothing was said to whoever is there.
    """
    from smtppseudo.net import tls  # noqa: PLC0415 - most connections are to this machine

    name = f"{place[0]} port {place[1]}"
    try:
        secured = tls.connect(sock, timeout_s)
    except TlsError as error:
        if str(error) in _NOT_TLS:
            if place[0] in ("localhost", *THIS_MACHINE):
                raise NotPrivateError(f"{name} does not speak TLS; leave out --tls") from None
            tunnel = _TUNNEL.format(host=place[0], port=place[1])
            raise NotPrivateError(
                f"{name} does not speak TLS, and without it everybody on the way can read and change what is"
                f" said; use a tunnel ({tunnel}), or allow it with --cleartext"
            ) from None
        raise BadPeerError(f"{name}: no TLS that this program can use: {_in_words(error)}") from None
    except TimeoutError:
        raise UnreachableError(f"{name}: no TLS handshake within {timeout_s:g} s; is that a monitor port?") from None
    except OSError as error:
        why = f"the connection was lost in the TLS handshake ({reason_of(error)})"
        raise ConnectionLostError(f"{name}: {why}; the server may be busy, try again") from None
    fingerprint = fingerprint_of(secured.certificate)
    if pin is None:
        raise UnknownCertificateError(fingerprint, place)
    if fingerprint != pin:
        raise ChangedCertificateError(fingerprint, place, pin)
    return secured


def _speaks_tls(sock: socket.socket, timeout_s: float) -> bool:
    """Say whether another connection to where this one leads can be put under TLS."""
    from smtppseudo.net import tls  # noqa: PLC0415 - as above

    if timeout_s <= 0:
        return False
    try:
        with socket.create_connection(sock.getpeername()[:2], timeout_s) as another:
            tls.connect(another, timeout_s)
    except OSError:
        return False
    return True


def _in_words(error: TlsError) -> str:
    return str(error).lower().replace("_", " ")


def _addresses(host: str | None, port: int) -> list[tuple[socket.AddressFamily, Any]]:
    """Return family and address of each place to try."""
    found: list[tuple[socket.AddressFamily, Any]] = []
    reason = ""
    for name in THIS_MACHINE if host is None else (host,):
        try:
            infos = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
        except (OSError, ValueError) as error:  # what cannot be a name is a ValueError
            reason = reason_of(error)
            continue
        found += [(family, address) for family, _, _, _, address in infos]
    if not found:
        raise UnreachableError(f"cannot find {host}: {reason}; check how it is spelled")
    return found


def _advice(host: str | None, port: int) -> str:
    if host in (None, "localhost", *THIS_MACHINE):
        return "is the server running? its service, or `smtppseudo serve`, runs it"
    return (
        "a server answers monitors of its own machine alone unless told otherwise: use a tunnel,"
        f" {_TUNNEL.format(host=host, port=port)}"
    )
