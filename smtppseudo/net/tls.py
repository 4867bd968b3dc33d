"""TLS: a socket that speaks it, for a loop that waits for nobody and for a thread that may.

Loading this module loads `ssl`, which takes a server 15 ms: only where there is a certificate, or a server that
shows one.
"""

import socket
import ssl
import time
from collections.abc import Callable
from typing import Final

from smtppseudo.net.errnos import DONTWAIT, TlsError, reason_of

HANDSHAKE_BYTES_MAX: Final = 65_536  # of a peer, until the handshake is done; a security limit
UNSENT_BYTES_MAX: Final = 65_536  # of answers that the peer has TLS itself give, and does not read; likewise
SESSIONS_MAX: Final = 1_000  # at once; each takes about 20 KiB
STEPS_PER_TURN: Final = 8  # of handshakes, each up to some milliseconds of arithmetic

_RECEIVE_BYTES: Final = 2048
_RECORD_BYTES: Final = 16_384  # RFC 8446 section 5.1


class TlsSocket:
    """TLS over a connected socket, with the methods of a socket that a connection needs.

    `recv` gives all that the bytes it takes from the kernel make: nothing waits in here while the kernel has
    nothing to read. `send` counts bytes as sent when the kernel has all of their record; what it did not take must
    come first the next time. Both raise BlockingIOError, TlsError, and OSError of the socket's own. `flags` are
    those of the system's calls.

    Of a peer's bytes at most a record is kept (16 KiB), of a handshake as much as `HANDSHAKE_BYTES_MAX`.
    """

    __slots__ = (
        "_handshake_bytes",
        "_incoming",
        "_is_over",
        "_on_close",
        "_outgoing",
        "_sealed",
        "_sock",
        "_tls",
        "_unsent",
    )

    def __init__(
        self,
        sock: socket.socket,
        context: ssl.SSLContext,
        *,
        server_side: bool,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        self._sock = sock
        self._on_close = on_close
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=server_side)
        self._handshake_bytes = 0
        self._unsent = b""  # records that the kernel has not taken yet
        self._sealed = 0  # bytes of ours in them that `send` did not count yet
        self._is_over = False

    @property
    def has_unsent(self) -> bool:
        """Whether there is something that the kernel has not taken."""
        return bool(self._unsent)

    @property
    def has_waiting(self) -> bool:
        """Whether the handshake's last bytes brought more: `recv` then takes none from the kernel."""
        return bool(self._incoming.pending)

    @property
    def certificate(self) -> bytes:
        """The peer's certificate (DER), once the handshake is done; a client's are never asked for."""
        return self._tls.getpeercert(binary_form=True) or b""

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self._sock.fileno()

    def getsockopt(self, level: int, option: int) -> int:
        """Ask the socket below."""
        return self._sock.getsockopt(level, option)

    def begin_handshake(self) -> None:
        """Say a client's first words. Raises OSError."""
        self._step()

    def shake_hands(self, flags: int = 0) -> bool:
        """Take in what came, go on with the handshake, and say whether it is done. Raises OSError."""
        try:
            data = self._sock.recv(_RECEIVE_BYTES, flags)
        except (BlockingIOError, InterruptedError):
            pass  # woken because it could send
        else:
            self._handshake_bytes += len(data)
            if not data:
                raise ConnectionResetError("the other side closed the connection")
            if self._handshake_bytes > HANDSHAKE_BYTES_MAX:
                raise TlsError("the handshake is too long")
            self._incoming.write(data)
        return self._step(flags)

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Take at most `size` bytes from the kernel; return what they make, b"" when the other side has ended."""
        if self._is_over:
            return self._sock.recv(size, flags)  # said to nobody
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
            self._answer_for_itself(flags)
            if not pieces:
                raise BlockingIOError from None
        except ssl.SSLError as error:
            raise self._failed(error, flags) from None
        return b"".join(pieces)

    def send(self, data: bytes, flags: int = 0) -> int:
        """Send what can be sent without waiting, and return how many bytes that was."""
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
        """Send it all, for a socket that may wait. Raises OSError."""
        if self.send(data) < len(data):
            raise TimeoutError("the other side does not read")

    def shutdown(self, how: int) -> None:
        """Say that nothing more comes (SHUT_WR), or end both ways at once (SHUT_RDWR). Raises OSError."""
        if how == socket.SHUT_WR:
            self._say_goodbye()
        self._is_over = True
        self._sock.shutdown(how)

    def close(self) -> None:
        """Say goodbye, if that can be done without waiting, and close."""
        try:
            if not self._is_over:
                self._sock.setblocking(False)
                self._say_goodbye()
        except OSError:
            pass  # whoever is gone needs no goodbye
        try:
            self._sock.close()
        finally:
            self._on_close()

    def _step(self, flags: int = 0) -> bool:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush(flags)
            return False
        except ssl.SSLError as error:
            raise self._failed(error, flags) from None
        return self._flush(flags)

    def _flush(self, flags: int) -> bool:
        """Give the kernel what it takes of the records made; say whether that was all. Raises OSError."""
        if self._outgoing.pending:
            self._unsent += self._outgoing.read()
        try:
            while self._unsent:
                self._unsent = self._unsent[self._sock.send(self._unsent, flags) :]
        except (BlockingIOError, InterruptedError):
            return False
        return True

    def _answer_for_itself(self, flags: int) -> None:
        """Send what TLS itself has to say (RFC 8446 section 4.6.3 has a peer ask for it as often as it likes)."""
        if self._outgoing.pending and not self._flush(flags) and len(self._unsent) > UNSENT_BYTES_MAX:
            raise TlsError("the other side asks and does not read")

    def _say_goodbye(self) -> None:
        """Put a close_notify behind all else. Raises OSError."""
        try:
            self._tls.unwrap()
        except ssl.SSLError:
            pass  # the other side's is not waited for; and there is nothing to end in mid-handshake
        self._flush(DONTWAIT)

    def _failed(self, error: ssl.SSLError, flags: int) -> TlsError:
        """Have the alert sent that says what is wrong; return the error."""
        try:
            self._flush(flags)
        except OSError:
            pass  # the connection is closed all the same
        return TlsError(error.reason or reason_of(error))


class Tls:
    """A certificate, and what the connections that show it have in common.

    A turn of the loop does no more than a few steps of handshakes; the rest wait for the next.
    """

    __slots__ = ("_context", "_in_use", "_sessions_max", "_steps", "_turn")

    def __init__(self, context: ssl.SSLContext, sessions_max: int = SESSIONS_MAX) -> None:
        self._context = context
        self._sessions_max = sessions_max
        self._in_use = 0
        self._turn = 0
        self._steps = 0

    @property
    def has_room(self) -> bool:
        """Whether there may be one more connection."""
        return self._in_use < self._sessions_max

    def renew(self, context: ssl.SSLContext) -> None:
        """Show another certificate to those who come from now on."""
        self._context = context

    def wrap(self, sock: socket.socket) -> TlsSocket:
        """Return a server's side of TLS over a socket, the handshake still to be done."""
        wrapped = TlsSocket(sock, self._context, server_side=True, on_close=self._released)
        self._in_use += 1
        return wrapped

    def may_step(self, turn: int) -> bool:
        """Count one step of a handshake; say whether it may be done in this turn of the loop."""
        if turn != self._turn:
            self._turn, self._steps = turn, 0
        self._steps += 1
        return self._steps <= STEPS_PER_TURN

    def _released(self) -> None:
        self._in_use -= 1


def renewed(before: Tls | None, context: ssl.SSLContext | None) -> Tls | None:
    """Return what there was, showing another certificate from now on, or the first of its kind; None for none."""
    if context is None:
        return None
    if before is None:
        return Tls(context)
    before.renew(context)
    return before


def dial(sock: socket.socket, timeout_s: float) -> TlsSocket:
    """Shake hands as a client over a connected socket. Raises OSError: after `timeout_s`, TimeoutError.

    Whoever answers is taken: look at its `certificate` before anything is said. The socket then has `timeout_s` for
    its time-out.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # The certificate is compared with one that a person has accepted: neither names nor authorities matter.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    tls = TlsSocket(sock, context, server_side=False)
    give_up_at = time.monotonic() + timeout_s
    tls.begin_handshake()
    done = False
    while not done:
        left_s = give_up_at - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("timed out")
        sock.settimeout(left_s)
        done = tls.shake_hands()
    sock.settimeout(timeout_s)
    return tls
