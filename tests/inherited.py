"""Listening sockets that the test holds and passes to servers, as systemd does: they outlive every server."""

import socket
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from tests.running import Running, Servers

BACKLOG = 77
_TCP_INFO_BYTES = 32

# Moves the descriptors to 3, 4, ..., sets the variables for this process, and becomes the server.
_PASS_SOCKETS = """
import fcntl, os, sys
fds, names, *words = sys.argv[1:]
copies = [fcntl.fcntl(int(fd), fcntl.F_DUPFD_CLOEXEC, 100) for fd in filter(None, fds.split(","))]
for fd, copy in enumerate(copies, 3):
    os.dup2(copy, fd)
os.environ.setdefault("LISTEN_PID", str(os.getpid()))
os.environ.setdefault("LISTEN_FDS", str(len(copies)))
os.environ.setdefault("LISTEN_FDNAMES", names)
os.execv(words[0], words)
"""


def prefix_for(socks: Sequence[socket.socket], names: Sequence[str]) -> list[str]:
    """Return a prefix for `command` that passes sockets to the server; it must inherit them (`pass_fds`)."""
    fds = ",".join(str(sock.fileno()) for sock in socks)
    return [sys.executable, "-c", _PASS_SOCKETS, fds, ":".join(names)]


def bound(address: str = "127.0.0.1", kind: int = socket.SOCK_STREAM) -> socket.socket:
    """Return a socket that is bound to a free port."""
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
    if ":" in address:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    sock.bind((address, 0))
    return sock


class Held:
    """Sockets with their names, for SMTP and for monitors."""

    def __init__(self, *names: str, address: str = "127.0.0.1") -> None:
        self.names = names
        self.socks = [bound(address) for _ in names]
        for sock in self.socks:
            sock.listen(BACKLOG)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for sock in self.socks:
            sock.close()

    @property
    def ports(self) -> list[int]:
        """The ports of the sockets."""
        return [sock.getsockname()[1] for sock in self.socks]

    def is_listening(self) -> bool:
        """Whether the first socket listens."""
        return bool(self.socks[0].getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))

    @property
    def backlog(self) -> int:
        """The backlog of the first socket, which Linux returns as tcpi_sacked."""
        info = self.socks[0].getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
        return int.from_bytes(info[-4:], sys.byteorder)

    def start(self, servers: Servers, *arguments: str, before: Sequence[str] = (), **more: Any) -> Running:
        """Start a server with these sockets; `before` is a prefix of other programs."""
        prefix = [*before, *prefix_for(self.socks, self.names)]
        fds = [sock.fileno() for sock in self.socks]
        listen = ["127.0.0.1"] * max(1, self.names.count("smtp"))  # replaced by the sockets' addresses
        return servers.start(None, *arguments, prefix=prefix, pass_fds=fds, listen=listen, **more)
