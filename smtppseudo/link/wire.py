"""The wire: the machine `MonitorClient` on a socket, and how the socket is connected."""

import contextlib
import selectors
import socket
import threading
import time
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from smtppseudo.link import errors
from smtppseudo.link.incoming import Incoming
from smtppseudo.link.machine import MonitorClient
from smtppseudo.link.pins import PINNED, fingerprint_of
from smtppseudo.net.errnos import TlsError, reason_of

if TYPE_CHECKING:
    from smtppseudo.net.tls import TlsSocket

TlsMode: TypeAlias = Literal["auto", "on", "off"]  # auto: off to loopback addresses, on to all others

LOOPBACK: Final = "127.0.0.1"
THIS_MACHINE: Final = (LOOPBACK, "::1")  # the usual addresses of a monitor port

_RECEIVE_BYTES: Final = 65_536
_HELLO_S: Final = 1.0  # a server sends its hello at once; without one, it may be waiting for a TLS handshake
_NOT_TLS: Final = frozenset(  # OpenSSL's reasons for bytes that are not a TLS record
    {"WRONG_VERSION_NUMBER", "UNKNOWN_PROTOCOL", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"}
)
_LOST: Final = "the connection is lost: {}"
_TUNNEL: Final = "`ssh -N -L 2626:127.0.0.1:{port} {host}`, then 127.0.0.1 port 2626"


class Wire:
    """Passes bytes between socket and machine. The socket is connected and has a time-out for sending.

    One thread reads; any thread may call `request` and `close`. While a thread waits for the socket, no other thread
    may release the descriptor, because the system could give its number to another file. So `close` wakes the
    waiting thread, which then releases the descriptor.
    """

    def __init__(self, sock: "socket.socket | TlsSocket", client: MonitorClient) -> None:
        self.client = client
        self.is_encrypted = not isinstance(sock, socket.socket)
        self._sock = sock
        self._selector = selectors.DefaultSelector()
        self._selector.register(sock, selectors.EVENT_READ)
        self._lock = threading.Lock()  # protects the machine, sending, and the next two attributes
        self._waits = False
        self._is_closed = False
        self._failure = ""  # why sending failed

    def read(self, timeout_s: float) -> list[Incoming] | None:
        """Wait for bytes; return the machine's values, or None if no bytes came in time. Raises ClosedError.

        The end of the stream and a socket error are a ConnectionLostError among the values.
        """
        is_ready = self._wait(timeout_s)
        with self._lock:
            self._require_open()
            return self._receive() if is_ready else None

    def needs_tls(self, timeout_s: float) -> bool:
        """Return whether no hello comes in clear text, but a second connection speaks TLS. Raises ClosedError."""
        if not isinstance(self._sock, socket.socket) or self._wait(min(_HELLO_S, timeout_s)):
            return False
        from smtppseudo.net import tls  # noqa: PLC0415 - most connections are to this machine

        left_s = max(0.0, timeout_s - _HELLO_S)
        give_up_at = time.monotonic() + left_s
        try:
            with socket.create_connection(self._sock.getpeername()[:2], left_s) as second:
                tls.connect(second, give_up_at - time.monotonic())
        except OSError:
            return False
        return True

    def request(self, op: str, **fields: object) -> int:
        """Send a request; return its number. Raises ClosedError and ValueError; `read` reports a lost connection."""
        with self._lock:
            self._require_open()
            request_id = self.client.request(op, **fields)
            self._send()
            return request_id

    def close(self) -> None:
        """Close the connection; a waiting thread gets ClosedError."""
        with self._lock:
            self._is_closed = True
            if self._waits:
                self._shut_down()
            else:
                self._release()

    def _wait(self, timeout_s: float) -> bool:
        """Wait until the socket is readable; return whether it is."""
        with self._lock:
            self._require_open()
            self._waits = True
        try:
            if not isinstance(self._sock, socket.socket) and self._sock.has_waiting:
                return True
            return bool(self._selector.select(timeout_s))
        finally:
            with self._lock:
                self._waits = False
                if self._is_closed:
                    self._release()

    def _receive(self) -> list[Incoming]:
        try:
            data = self._sock.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return []  # part of a TLS record
        except OSError as error:
            return self.client.end_of_stream(self._failure or _LOST.format(reason_of(error)))
        found = self.client.receive(data) if data else self.client.end_of_stream(self._failure)
        self._send()
        return found

    def _send(self) -> None:
        """Send what the machine has. If that fails, `read` first returns what the server sent before, as a refusal."""
        data = self.client.data_to_send()
        try:
            if data:
                self._sock.sendall(data)
        except OSError as error:
            self._failure = _LOST.format(reason_of(error))
            self._shut_down()  # after half a frame, the server cannot read the next one

    def _shut_down(self) -> None:
        with contextlib.suppress(OSError):  # the connection has ended, which wakes the thread as well
            self._sock.shutdown(socket.SHUT_RDWR)

    def _require_open(self) -> None:
        if self._is_closed:
            raise errors.ClosedError("the connection was closed")

    def _release(self) -> None:
        self._selector.close()
        self._sock.close()


def connect_socket(host: str | None, port: int, timeout_s: float) -> socket.socket:
    """Connect to the first address of the host that answers. None means this machine. Raises UnreachableError."""
    failures: list[Exception] = []
    for name in THIS_MACHINE if host is None else (host,):
        try:
            return socket.create_connection((name, port), timeout_s)
        except (OSError, ValueError) as error:  # ValueError: not a valid host name
            failures.append(error)
    reason = reason_of(failures[0])
    if isinstance(failures[0], socket.gaierror | ValueError):
        raise errors.UnreachableError(f"cannot find {host}: {reason}; check the spelling")
    raise errors.UnreachableError(f"cannot reach {host or LOOPBACK} port {port}: {reason}; {_advice(host, port)}")


def secure(sock: socket.socket, place: tuple[str, int], timeout_s: float, pin: str | None) -> "TlsSocket":
    """Start TLS with the server at the requested host and port. Raises LinkError; then only the handshake was sent."""
    from smtppseudo.net import tls  # noqa: PLC0415 - as above

    name = f"{place[0]} port {place[1]}"
    try:
        secured = tls.connect(sock, timeout_s)
    except TlsError as error:
        if str(error) in _NOT_TLS:
            if pin is not None:
                raise errors.NotPrivateError(f"{name} does not speak TLS, but {PINNED}; or remove the pin") from None
            if place[0] in ("localhost", *THIS_MACHINE):
                raise errors.NotPrivateError(f"{name} does not speak TLS; leave out --tls") from None
            tunnel = _TUNNEL.format(host=place[0], port=place[1])
            raise errors.NotPrivateError(
                f"{name} does not speak TLS, and without it anyone on the network path can read and change the traffic;"
                f" use a tunnel ({tunnel}), or allow clear text with --cleartext"
            ) from None
        why = str(error).lower().replace("_", " ")
        raise errors.BadPeerError(f"{name}: the TLS handshake failed ({why}); is that a monitor port?") from None
    except TimeoutError:
        why = f"no TLS handshake within {timeout_s:g} s"
        raise errors.UnreachableError(f"{name}: {why}; is that a monitor port?") from None
    except OSError as error:
        why = f"the connection was lost in the TLS handshake ({reason_of(error)})"
        raise errors.ConnectionLostError(f"{name}: {why}; the server may be busy, try again") from None
    fingerprint = fingerprint_of(secured.certificate)
    if pin is None:
        raise errors.UnknownCertificateError(fingerprint, place)
    if fingerprint != pin:
        raise errors.ChangedCertificateError(fingerprint, place, pin)
    return secured


def _advice(host: str | None, port: int) -> str:
    if host in (None, "localhost", *THIS_MACHINE):
        return "is the server running? start its service, or `smtppseudo serve`"
    tunnel = _TUNNEL.format(host=host, port=port)
    return f"by default a server accepts monitors of its own machine only: use a tunnel, {tunnel}"
