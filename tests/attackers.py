"""Callers who mean no good, many at once, in a process of their own.

    python -m tests.attackers KIND PORT COUNT one|many

KIND is how they behave, see KINDS. They call 127.0.0.1 from one address, or each from an address of its own. When
all have done so a line says "ready"; they stay until standard input ends.
"""

import contextlib
import resource
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
ONE_SOURCE = "127.0.9.9"
RESET = struct.pack("ii", 1, 0)


def source_of(number: int) -> str:
    """Return an address of its own for each of 60,000."""
    return f"127.{1 + number // 50_000}.{10 + number % 50_000 // 250}.{1 + number % 250}"


def idle(sock: socket.socket) -> bool:
    """Say nothing."""
    return True


def slow(sock: socket.socket) -> bool:
    """Say a command, an byte a second; that is what `tick` is for."""
    return True


def unread(sock: socket.socket) -> bool:
    """Ask for as much as can be asked for, and read no answer."""
    sock.setblocking(False)
    with contextlib.suppress(BlockingIOError, ConnectionError):
        for _ in range(64):
            sock.send(b"EHLO x\r\n" * 250)
    return True


def half_closed(sock: socket.socket) -> bool:
    """Say that nothing will be said, and stay."""
    sock.shutdown(socket.SHUT_WR)
    return True


def reset(sock: socket.socket) -> bool:
    """Go with RST as soon as there is a connection."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    sock.close()
    return False


KINDS: dict[str, Callable[[socket.socket], bool]] = {
    "idle": idle,
    "slow": slow,
    "unread": unread,
    "half-closed": half_closed,
    "reset": reset,
}
"""Each does to a new connection what it does, and says whether it stays."""


def call(kind: str, port: int, count: int, *, from_one: bool) -> list[socket.socket]:
    """Make all the calls; return the connections that stay."""
    staying = []
    for number in range(count):
        sock = socket.socket()
        if kind == "unread":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
        sock.bind((ONE_SOURCE if from_one else source_of(number), 0))
        sock.connect(("127.0.0.1", port))
        with contextlib.suppress(OSError):  # it was turned away already
            if KINDS[kind](sock):
                staying.append(sock)
    return staying


def tick(staying: list[socket.socket], number: int) -> None:
    """Let each say its next byte."""
    byte = b"VRFY slowly\r\n"[number % 13 :][:1]
    for sock in staying:
        with contextlib.suppress(OSError):
            sock.send(byte, socket.MSG_DONTWAIT)


def main() -> None:
    """Call, say so, and stay."""
    kind, port, count, sources = sys.argv[1:]
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    staying = call(kind, int(port), int(count), from_one=sources == "one")
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    number, due = 0, time.monotonic() + 1
    while not select.select([sys.stdin], [], [], max(0, due - time.monotonic()))[0]:
        due += 1
        if kind == "slow":
            tick(staying, number)
        number += 1


@contextlib.contextmanager
def attacking(kind: str, port: int, count: int, sources: str = "one") -> Iterator[None]:
    """Have a server attacked while the block runs, from when all have called."""
    words = [sys.executable, "-m", "tests.attackers", kind, str(port), str(count), sources]
    with subprocess.Popen(words, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            said = process.stdout.readline()
            assert said == "ready\n", f"the attackers say {said!r}"
            yield
        finally:
            process.kill()


if __name__ == "__main__":
    main()
