"""TLS: a socket for an event loop, which must not block, and for a thread, which may.

This module imports `ssl`, which takes 15 ms: import it only for a certificate, or a server that has one.
"""

import contextlib
import socket
import ssl
import time
from collections.abc import Callable
from typing import Final

from smtppseudo.net.errnos import DONTWAIT, TlsError, reason_of
from smtppseudo.net.stream import Stream

HANDSHAKE_BYTES_MAX: Final = 65_536  # received in a handshake; a security limit
UNSENT_BYTES_MAX: Final = 65_536  # of TLS's own replies that the peer requests and does not read; a security limit
SESSIONS_MAX: Final = 1_000  # at once; each takes about 20 KiB
STEPS_PER_TURN: Final = 8  # of handshakes; a step takes up to some milliseconds

_RECEIVE_BYTES: Final = 2048
_RECORD_BYTES: Final = 16_384  # RFC 8446 section 5.1


class TlsSocket:
    """TLS over a connected socket, with the methods of a `Stream`.

    `recv` returns everything that the bytes from the kernel decrypt to, so that nothing waits in here while the
    kernel has nothing to read. `send` counts bytes as sent when the kernel has their whole record; the caller must
    send the others first the next time. Both raise BlockingIOError, TlsError, and the OSError of the socket below.
    `flags` are those of the system's calls.

    It keeps at most one record of the peer's data (16 KiB), and `HANDSHAKE_BYTES_MAX` of a handshake.
    """

    def __init__(
        self, sock: Stream, context: ssl.SSLContext, *, server_side: bool, on_close: Callable[[], None] = lambda: None
    ) -> None:
        self.fileno, self.getsockname, self.getsockopt = sock.fileno, sock.getsockname, sock.getsockopt
        self.setblocking = sock.setblocking
        self._sock = sock
        self._on_close = on_close
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=server_side)
        self._handshake_bytes = 0
        self.unsent = b""  # records that the kernel has not taken
        self._sealed = 0  # plain bytes in them that `send` has not counted
        self._is_over = False

    @property
    def has_waiting(self) -> bool:
        """Whether the handshake's last bytes brought more; `recv` then reads nothing from the kernel."""
        return bool(self._incoming.pending)

    @property
    def certificate(self) -> bytes:
        """The server's certificate (DER) after the handshake; empty for a client, which is never asked for one."""
        return self._tls.getpeercert(binary_form=True) or b""

    @property
    def parameters(self) -> tuple[str, str]:
        """The version of TLS and the name of the cipher, after the handshake."""
        cipher = self._tls.cipher()
        return self._tls.version() or "", cipher[0] if cipher else ""

    def shake_hands(self, flags: int = 0) -> bool:
        """Read, do the next step of the handshake, and return whether it is done. Raises OSError."""
        try:
            data = self._sock.recv(_RECEIVE_BYTES, flags)
        except (BlockingIOError, InterruptedError):
            return self.step(flags)  # called because the socket could send
        if not data:
            raise ConnectionResetError("the other side closed the connection")
        self._handshake_bytes += len(data)
        if self._handshake_bytes > HANDSHAKE_BYTES_MAX:
            raise TlsError("the handshake is too long")
        self._incoming.write(data)
        return self.step(flags)

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Read at most `size` bytes from the kernel; return the plain bytes, or b"" if the peer has closed."""
        if self._is_over:
            return self._sock.recv(size, flags)  # only to be dropped
        if not self._incoming.pending:
            data = self._sock.recv(size, flags)
            if not data:
                return b""
            self._incoming.write(data)
        pieces: list[bytes] = []
        try:
            while piece := self._tls.read(_RECORD_BYTES):
                pieces.append(piece)
        except ssl.SSLWantReadError:
            # A peer may request as many replies of TLS itself as it likes (RFC 8446 section 4.6.3).
            if self._outgoing.pending and not self._flush(flags) and len(self.unsent) > UNSENT_BYTES_MAX:
                raise TlsError("the other side asks and does not read") from None
            if not pieces:
                raise BlockingIOError from None
        except ssl.SSLError as error:
            raise self._failed(error, flags) from None
        return b"".join(pieces)

    def send(self, data: bytes, flags: int = 0) -> int:
        """Send what the kernel takes now; return how many bytes that was."""
        sent = 0
        while self._flush(flags):
            sent, self._sealed = sent + self._sealed, 0
            piece = data[sent : sent + _RECORD_BYTES]
            if not piece:
                return len(data)
            try:
                self._tls.write(piece)
            except ssl.SSLError as error:
                raise self._failed(error, flags) from None
            self._sealed = len(piece)
        if not sent:
            raise BlockingIOError
        return sent

    def sendall(self, data: bytes) -> None:
        """Send everything, on a socket that may block. Raises OSError."""
        if self.send(data) < len(data):
            raise TimeoutError("the other side does not read")

    def shutdown(self, how: int) -> None:
        """End our side with a close_notify (SHUT_WR), or both sides at once (SHUT_RDWR). Raises OSError."""
        if how == socket.SHUT_WR:
            self._send_close_notify()
            self._is_over = True
        self._sock.shutdown(how)

    def close(self) -> None:
        """Send a close_notify, if the kernel takes it now, and close."""
        with contextlib.suppress(OSError):  # the peer has left
            if not self._is_over:
                self._sock.setblocking(False)
                self._send_close_notify()
        try:
            self._sock.close()
        finally:
            self._on_close()

    def step(self, flags: int = 0) -> bool:
        """Do the next step of the handshake with what was read; return whether it is done. Raises OSError."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush(flags)
            return False
        except ssl.SSLError as error:
            raise self._failed(error, flags) from None
        return self._flush(flags)

    def _flush(self, flags: int) -> bool:
        """Pass records to the kernel; return whether it has taken all. Raises OSError."""
        if self._outgoing.pending:
            self.unsent += self._outgoing.read()
        try:
            while self.unsent:
                self.unsent = self.unsent[self._sock.send(self.unsent, flags) :]
        except (BlockingIOError, InterruptedError):
            return False
        return True

    def _send_close_notify(self) -> None:
        """Send a close_notify behind everything else. Raises OSError."""
        with contextlib.suppress(ssl.SSLError):  # not waiting for the peer's; in a handshake there is nothing to end
            self._tls.unwrap()
        self._flush(DONTWAIT)

    def _failed(self, error: ssl.SSLError, flags: int) -> TlsError:
        """Send the alert that says what is wrong; return the error to raise."""
        with contextlib.suppress(OSError):  # the connection is closed all the same
            self._flush(flags)
        return TlsError(error.reason or reason_of(error))


class Tls:
    """A server's certificate, and the limits that its connections share.

    A turn of the loop does only a few steps of handshakes; the others wait for the next turn. `context` is for new
    connections; it may be replaced. `channel` is the SHA-256 of its certificate.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context
        self.channel = b""
        self._sessions_max = SESSIONS_MAX
        self._in_use = 0
        self._turn = 0
        self._steps = 0

    @property
    def has_room(self) -> bool:
        """Whether there may be one more connection."""
        return self._in_use < self._sessions_max

    def wrap(self, sock: Stream) -> TlsSocket:
        """Return the server's side of TLS over a socket; the handshake comes next."""
        wrapped = TlsSocket(sock, self.context, server_side=True, on_close=self._released)
        self._in_use += 1
        return wrapped

    def may_step(self, turn: int) -> bool:
        """Count one step of a handshake; return whether this turn of the loop may do it."""
        if turn != self._turn:
            self._turn, self._steps = turn, 0
        self._steps += 1
        return self._steps <= STEPS_PER_TURN

    def _released(self) -> None:
        self._in_use -= 1


def renewed(previous: Tls | None, context: ssl.SSLContext | None) -> Tls | None:
    """Return `previous` with another certificate for new connections; None without a certificate."""
    if previous is None or context is None:
        return Tls(context) if context else None
    previous.context = context
    return previous


def connect(sock: socket.socket, timeout_s: float) -> TlsSocket:
    """Do the handshake as a client over a connected socket. Raises OSError; after `timeout_s`, TimeoutError.

    It accepts any certificate: the caller must check `certificate` before it sends anything.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # The caller compares the certificate with one that a person has accepted; names and authorities do not matter.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    tls = TlsSocket(sock, context, server_side=False)
    give_up_at = time.monotonic() + timeout_s
    done = tls.step()  # sends the first message
    while not done:
        left_s = give_up_at - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("timed out")
        sock.settimeout(left_s)
        done = tls.shake_hands()
    sock.settimeout(timeout_s)
    return tls
