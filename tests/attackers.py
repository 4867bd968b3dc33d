"""Attackers: many callers at once, in a process of their own.

    python -m tests.attackers KIND PORT COUNT one|five|many

KIND is their behaviour, see KINDS. They call 127.0.0.1 from one address, from one for each five, or each from its own.
When all are connected, the process prints "ready". It ends when its standard input does. The kind `bad-frame` attacks
the monitor port with COUNT connections a second, each from its own address. The kind `fill-log` has long lines logged,
on COUNT connections at a time, from one address.
"""

import contextlib
import resource
import select
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

from tests import clients

CHECKOUT = Path(__file__).resolve().parent.parent
ONE_SOURCE = "127.0.9.9"


def source_of(number: int) -> str:
    """Return the address of a caller; there are 60,000."""
    return f"127.{1 + number // 50_000}.{10 + number % 50_000 // 250}.{1 + number % 250}"


def idle(sock: socket.socket) -> bool:
    """Send nothing."""
    return True


def slow(sock: socket.socket) -> bool:
    """Send a command, one byte a second; `tick` does that."""
    return True


def noop(sock: socket.socket) -> bool:
    """Send NOOP every four seconds, so that the session is never idle for five; `tick` does that."""
    return True


def unread(sock: socket.socket) -> bool:
    """Send as many commands as the kernel takes, and read no reply."""
    sock.setblocking(False)
    with contextlib.suppress(BlockingIOError, ConnectionError):
        for _ in range(64):
            sock.send(b"EHLO x\r\n" * 250)
    return True


def half_closed(sock: socket.socket) -> bool:
    """Half-close, and stay."""
    sock.shutdown(socket.SHUT_WR)
    return True


def reset(sock: socket.socket) -> bool:
    """Close with RST at once."""
    clients.reset(sock)
    return False


KINDS: dict[str, Callable[[socket.socket], bool]] = {
    "idle": idle,
    "slow": slow,
    "noop": noop,
    "unread": unread,
    "half-closed": half_closed,
    "reset": reset,
}
"""Each function handles a new connection, and returns whether that stays open."""


def call(kind: str, port: int, count: int, sources: str) -> list[socket.socket]:
    """Connect all callers; return the connections that stay open."""
    each = {"one": count, "five": 5, "many": 1}[sources]
    staying = []
    for number in range(count):
        sock = socket.socket()
        if kind == "unread":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
        sock.bind((ONE_SOURCE if each == count else source_of(number // each), 0))
        sock.connect(("127.0.0.1", port))
        with contextlib.suppress(OSError):  # turned away already
            if KINDS[kind](sock):
                staying.append(sock)
    return staying


def tick(staying: list[socket.socket], number: int) -> None:
    """Send the next byte on each connection."""
    byte = b"VRFY slowly\r\n"[number % 13 :][:1]
    send(staying, byte)


def send(socks: list[socket.socket], data: bytes) -> None:
    """Send the same on each connection."""
    for sock in socks:
        with contextlib.suppress(OSError):
            sock.send(data, socket.MSG_DONTWAIT)


def send_bad_frames(port: int, per_second: int) -> None:
    """Send a bad frame on each new connection, `per_second` of them a second; keep each for three seconds."""
    kept: deque[socket.socket] = deque()
    made, begun = 0, time.monotonic()
    while not select.select([sys.stdin], [], [], 0.005)[0]:
        while made < per_second * (time.monotonic() - begun):
            kept.append(socket.create_connection(("127.0.0.1", port), source_address=(source_of(made), 0)))
            with contextlib.suppress(OSError):  # turned away already
                kept[-1].send(b"GET / HTTP/1.1\r\n")
            made += 1
        while len(kept) > 3 * per_second:
            kept.popleft().close()


def fill_log(port: int, at_once: int) -> None:
    """Send eight commands of 2 KiB, whose bytes take four characters of log each, on so many connections at a time."""
    while not select.select([sys.stdin], [], [], 0)[0]:
        with contextlib.ExitStack() as stack:
            socks = [
                stack.enter_context(socket.create_connection(("127.0.0.1", port), source_address=(ONE_SOURCE, 0)))
                for _ in range(at_once)
            ]
            send(socks, (b"NOOP " + b"\xff" * 2_000 + b"\r\n") * 8 + b"QUIT\r\n")
            for sock in socks:
                with contextlib.suppress(OSError):
                    while sock.recv(65_536):
                        pass


def report_ready() -> None:
    """Tell the parent process that the attack has begun."""
    sys.stdout.write("ready\n")
    sys.stdout.flush()


def main() -> None:
    """Connect, report that, and stay."""
    kind, port, count, sources = sys.argv[1:]
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    endless = {"bad-frame": send_bad_frames, "fill-log": fill_log}
    if kind in endless:
        report_ready()
        endless[kind](int(port), int(count))
        return
    staying = call(kind, int(port), int(count), sources)
    report_ready()
    number, due = 0, time.monotonic() + 1
    while not select.select([sys.stdin], [], [], max(0, due - time.monotonic()))[0]:
        due += 1
        if kind == "slow":
            tick(staying, number)
        if kind == "noop":
            send(staying[number % 4 :: 4], b"NOOP\r\n")
        number += 1


@contextlib.contextmanager
def attacking(kind: str, port: int, count: int, sources: str = "one") -> Iterator[None]:
    """Attack a server during the block, which begins when all callers are connected."""
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
