"""What the tests speak with: a raw socket, and SMTP line by line. And waiting, always with an end."""

import socket
import struct
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar

LIMIT_S = 20.0
POLL_S = 0.01
_RECEIVE_BYTES = 65_536

T = TypeVar("T")


def wait_until(look: Callable[[], T], what: str, limit_s: float = LIMIT_S, poll_s: float = POLL_S) -> T:
    """Look again and again until there is something to see, and return that; fail when the time is up."""
    give_up_at = time.monotonic() + limit_s
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > give_up_at:
            raise AssertionError(f"{what}: not within {limit_s:g} s")
        time.sleep(poll_s)


class OurEnd:
    """Our end of a connection. `pump`, where the server runs in this thread, gives it its turn while we wait."""

    def __init__(self, sock: socket.socket, pump: Callable[[], object] | None) -> None:
        self.sock = sock
        self._pump = pump
        sock.settimeout(LIMIT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def port(self) -> int:
        """Our own port, by which the server knows us."""
        number: int = self.sock.getsockname()[1]
        return number

    def close(self) -> None:
        """Close, politely."""
        self.sock.close()

    def _receive(self) -> bytes:
        if self._pump is None:
            return self.sock.recv(_RECEIVE_BYTES)
        return wait_until(self._receive_now, "bytes from the server", poll_s=0)[0]

    def _receive_now(self) -> list[bytes]:
        """Return what has come, in a list of one; an empty list where nothing has."""
        assert self._pump is not None
        self.sock.settimeout(0)
        try:
            return [self.sock.recv(_RECEIVE_BYTES)]
        except BlockingIOError:
            self._pump()
            return []
        finally:
            self.sock.settimeout(LIMIT_S)


class Client(OurEnd):
    """A connection to the SMTP port."""

    def __init__(self, sock: socket.socket, pump: Callable[[], object] | None = None) -> None:
        super().__init__(sock, pump)
        self._received = b""

    def send(self, *lines: str) -> None:
        """Send lines, each with its CRLF, all at once."""
        self.sock.sendall("".join(f"{line}\r\n" for line in lines).encode("latin-1"))

    def expect(self, start: str) -> str:
        """Return the next reply, its lines joined by LF; it must begin like this."""
        lines = [self._line()]
        while lines[-1][3:4] == "-":
            lines.append(self._line())
        reply = "\n".join(lines)
        assert reply.startswith(start), f"{reply!r}, not {start!r}"
        return reply

    def say(self, line: str, start: str) -> str:
        """Send a command and return its reply, which must begin like this."""
        self.send(line)
        return self.expect(start)

    def rest(self) -> bytes:
        """Return all that comes until the server closes; a connection reset raises."""
        while data := self._receive():
            self._received += data
        rest, self._received = self._received, b""
        return rest

    def expect_end(self) -> None:
        """The server must close now and say nothing more."""
        assert self.rest() == b""

    def reset(self) -> None:
        """Close with RST instead of FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def _line(self) -> str:
        while b"\r\n" not in self._received:
            data = self._receive()
            assert data, f"closed after {self._received!r}"
            self._received += data
        line, _, self._received = self._received.partition(b"\r\n")
        return line.decode("ascii")


def connect(
    address: str,
    port: int,
    source: str | None = None,
    pump: Callable[[], object] | None = None,
    receive_buffer_bytes: int = 0,
) -> Client:
    """Connect, from a given loopback address if need be."""
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    try:
        if receive_buffer_bytes:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        if source is not None:
            sock.bind((source, 0))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # what is sent is there when the send returns
        sock.settimeout(LIMIT_S)
        sock.connect((address, port))
    except BaseException:
        sock.close()
        raise
    return Client(sock, pump)
