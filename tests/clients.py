"""Clients for the tests: a raw socket, and SMTP line by line. Every wait has a limit."""

import os
import socket
import struct
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar

import pytest

from smtppseudo.net.stream import Stream
from tests import ON_WINDOWS

LIMIT_S = 20.0
POLL_S = 0.01
_RECEIVE_BYTES = 65_536

T = TypeVar("T")


def wait_until(look: Callable[[], T], what: str, limit_s: float = LIMIT_S, poll_s: float = POLL_S) -> T:
    """Call `look` until it returns something true, and return that. Fail after the limit."""
    give_up_at = time.monotonic() + limit_s
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > give_up_at:
            raise AssertionError(f"{what}: not within {limit_s:g} s")
        time.sleep(poll_s)


def reset(sock: socket.socket) -> None:
    """Close with RST instead of FIN."""
    if ON_WINDOWS:
        sock.close()
        pytest.skip("Wine sends FIN instead of RST")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def shrink_send_buffer(stream: Stream) -> None:
    """Make the kernel keep less unsent data of a connection, so that a slow reader shows soon."""
    if ON_WINDOWS:
        pytest.skip("a socket of Windows is no descriptor that can be duplicated")
    with socket.socket(fileno=os.dup(stream.fileno())) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)


class OurEnd:
    """The client's end of a connection. If the server runs in this thread, `pump` gives it a turn during each wait."""

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
        """The client's port."""
        number: int = self.sock.getsockname()[1]
        return number

    def close(self) -> None:
        """Close with FIN."""
        self.sock.close()

    def _receive(self) -> bytes:
        if self._pump is None:
            return self.sock.recv(_RECEIVE_BYTES)
        return wait_until(self._receive_now, "bytes from the server", poll_s=0)[0]

    def _receive_now(self) -> list[bytes]:
        """Return the received bytes in a list of one; an empty list without any."""
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
        """Send lines, each with CRLF, in one call."""
        self.sock.sendall("".join(f"{line}\r\n" for line in lines).encode("latin-1"))

    def expect(self, start: str) -> str:
        """Return the next reply, its lines joined by LF. It must begin with `start`."""
        lines = [self._line()]
        while lines[-1][3:4] == "-":
            lines.append(self._line())
        reply = "\n".join(lines)
        assert reply.startswith(start), f"{reply!r}, not {start!r}"
        return reply

    def say(self, line: str, start: str) -> str:
        """Send a command and return its reply, which must begin with `start`."""
        self.send(line)
        return self.expect(start)

    def rest(self) -> bytes:
        """Return everything until the server closes. Raises ConnectionResetError after an RST."""
        while data := self._receive():
            self._received += data
        rest, self._received = self._received, b""
        return rest

    def expect_end(self) -> None:
        """Check that the server sends nothing more and closes."""
        assert self.rest() == b""

    def reset(self) -> None:
        """Close with RST instead of FIN."""
        reset(self.sock)

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
    """Connect, from the address `source` if it is given."""
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    try:
        if receive_buffer_bytes:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        if source is not None:
            sock.bind((source, 0))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # data has arrived when the send returns
        sock.settimeout(LIMIT_S)
        sock.connect((address, port))
    except BaseException:
        sock.close()
        raise
    return Client(sock, pump)
