"""A monitor port in a thread, with a real socket, that plays a test's script."""

import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeAlias

from smtppseudo.link.machine import Secrets
from smtppseudo.monitor.codec import encode
from tests.clients import LIMIT_S
from tests.unit.monitor_peer import COOKIE, Peer, hello

Script: TypeAlias = Callable[["Conversation"], None]

SECRETS = Secrets((COOKIE,))
SHORT_S = 0.1  # where nothing is expected to come
STEP_S = 1.0  # where something is, and then nothing


class Conversation:
    """The server's end of one connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.peer = Peer()
        sock.settimeout(LIMIT_S)

    def say(self, *frames: dict[str, object]) -> None:
        """Send frames."""
        self.sock.sendall(b"".join(map(encode, frames)))

    def log_in(self) -> None:
        """Let the client log in."""
        self.say(hello())
        self.answer()
        self.answer()

    def answer(self) -> dict[str, object]:
        """Read one request, reply like the peer, and return the request."""
        before = len(self.peer.received)
        self.sock.sendall(self.peer.answer(self._line()))
        (request,) = self.peer.received[before:]
        return request

    def take(self) -> dict[str, object]:
        """Read one request without a reply; return it."""
        self.peer.answer(self._line())
        return self.peer.received[-1]

    def wait_for_end(self) -> None:
        """Wait until the client closes."""
        assert self.sock.recv(1) == b""

    def _line(self) -> bytes:
        line = b""
        while not line.endswith(b"\n"):
            byte = self.sock.recv(1)
            assert byte, f"closed after {line!r}"
            line += byte
        return line


class Scripted:
    """Accepts one connection and plays the script, which must have ended at the end of the block."""

    def __init__(self, script: Script, address: str = "127.0.0.1") -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._listener = socket.create_server((address, 0), family=family)
        self._listener.settimeout(LIMIT_S)
        self.port: int = self._listener.getsockname()[1]
        self._script = script
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._play, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.join(LIMIT_S)
        self._listener.close()
        if kind is None:
            assert not self._thread.is_alive(), "the script did not come to its end"
            if self._error is not None:
                raise self._error

    def _play(self) -> None:
        try:
            sock, _ = self._listener.accept()
            with sock:
                self._script(Conversation(sock))
        except BaseException as error:  # noqa: BLE001 - raised again in the test's thread
            self._error = error
