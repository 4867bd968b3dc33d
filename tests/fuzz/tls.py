"""TLS in memory: one side is ours, and a flight of the other side is changed on its way."""

import contextlib
import ssl
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, Final

from smtppseudo.net.tls import HANDSHAKE_BYTES_MAX, UNSENT_BYTES_MAX, TlsSocket
from tests.certificates import make_certificate, trusting

ROUNDS: Final = 8
RECORD_BYTES: Final = 17_000


class End:
    """Our end of a connection in memory. The peer reads `room` bytes, and then no more."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.arrived = b""
        self.sent = b""

    def fileno(self) -> int:
        return -1

    def getsockname(self) -> Any:
        return ("127.0.0.1", 25)

    def getsockopt(self, _level: int, _option: int, /) -> int:
        return 0

    def setblocking(self, _flag: bool, /) -> None:
        pass

    def recv(self, size: int, _flags: int = 0, /) -> bytes:
        if not self.arrived:
            raise BlockingIOError
        data, self.arrived = self.arrived[:size], self.arrived[size:]
        return data

    def send(self, data: bytes, _flags: int = 0, /) -> int:
        taken = data[: self.room]
        if not taken:
            raise BlockingIOError
        self.room -= len(taken)
        self.sent += taken
        return len(taken)

    def shutdown(self, _how: int, /) -> None:
        pass

    def close(self) -> None:
        pass


@cache
def _context(*, server_side: bool, is_old: bool) -> ssl.SSLContext:
    if server_side:
        with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
            context = make_certificate(Path(name), "ec -pkeyopt ec_paramgen_curve:P-256").server_context()
    else:
        context = trusting()
        context.sslsocket_class = ssl.SSLSocket
    if is_old:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


class _Peer:
    """The other side, by OpenSSL alone. It changes one of its flights."""

    def __init__(self, context: ssl.SSLContext, *, server_side: bool, changed: int, change: bytes) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=server_side)
        self._changed, self._change = changed, change
        self.has_changed = False

    def next_flight(self, heard: bytes, text: bytes) -> bytes:
        """Return what it sends after it has heard this; `text` follows the handshake."""
        self._incoming.write(heard)
        with contextlib.suppress(ssl.SSLError):
            self._tls.do_handshake()
            self._tls.write(text or b" ")
        flight = self._outgoing.read()
        self._changed -= bool(flight)
        if self._changed == 0 and flight and self._change:
            self.has_changed = True
            flight = _mutated(flight, self._change)
        return flight


def _mutated(flight: bytes, change: bytes) -> bytes:
    """Return the flight with bytes inverted, cut off, inserted or added."""
    kind, at, rest = change[0] % 4, int.from_bytes(change[1:3]) % len(flight), change[3:]
    if kind == 0:
        return flight[:at] + bytes([flight[at] ^ (1 + (change[-1] % 255))]) + flight[at + 1 :]
    if kind == 1:
        return flight[:at] + rest
    return flight[:at] + rest + flight[at:] if kind == 2 else flight + rest


def fuzz_tls(data: bytes) -> None:
    """Shake hands with a peer that changes a flight; then its text arrives, or an OSError was raised."""
    sides, changed, room, *_ = (*data[:3], 0, 0, 255)
    server_side, is_old = bool(sides & 1), bool(sides & 2)
    peer = _Peer(
        _context(server_side=not server_side, is_old=is_old),
        server_side=not server_side,
        changed=1 + changed % 4,
        change=data[3:],
    )
    end = End(room * 64 if room < 255 else 1 << 20)
    ours = TlsSocket(end, _context(server_side=server_side, is_old=False), server_side=server_side)
    text, plain = b"HELO x\r\n", b""
    try:
        plain = _talk(ours, end, peer, text)
        ours.send(text)
    except OSError:
        assert peer.has_changed or room < 255
    else:
        assert plain.startswith(text) or peer.has_changed or room < 255
    ours.close()


def _talk(ours: TlsSocket, end: End, peer: _Peer, text: bytes) -> bytes:
    """Pass flights until the peer falls silent; return the plain text that arrived. Raises OSError."""
    plain, is_done = b"", False
    with contextlib.suppress(BlockingIOError):
        ours.step()  # the client's first message
    for _ in range(ROUNDS):
        heard, end.sent = end.sent, b""
        end.arrived += peer.next_flight(heard, text)
        while end.arrived or (is_done and ours.has_waiting):
            if not is_done:
                is_done = ours.shake_hands()
                assert ours._handshake_bytes <= HANDSHAKE_BYTES_MAX + RECORD_BYTES
                continue
            with contextlib.suppress(BlockingIOError):
                plain += ours.recv(2048)
            if not end.arrived:
                break
        assert len(ours.unsent) <= UNSENT_BYTES_MAX + RECORD_BYTES
    return plain
