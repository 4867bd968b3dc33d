"""Callers of many kinds for the soak: asyncio clients in processes of their own, which count their sessions."""

import asyncio
import contextlib
import multiprocessing
import random
import socket
import struct
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

PROCESSES: Final = 2
SESSION_LIMIT_S: Final = 120.0
SOURCES: Final = 200
TURNED_AWAY_FROM: Final = "127.0.9.9"
"""The soak holds one connection from here, so that any other is turned away."""

RST: Final = struct.pack("ii", 1, 0)

Tally: TypeAlias = Counter[str]
"""Sums by name; `quit`, `peer`, ... count sessions by the reason that the server must log."""


class Caller:
    """One session; it counts its bytes and commands."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, tally: Tally) -> None:
        self.writer = writer
        self._reader = reader
        self._tally = tally

    def send(self, *lines: bytes) -> None:
        """Send lines, each with CRLF, in one write."""
        self._tally["commands"] += len(lines)
        self.send_bytes(b"".join(line + b"\r\n" for line in lines))

    def send_bytes(self, data: bytes) -> None:
        """Send bytes that are no command."""
        self._tally["received_bytes"] += len(data)
        self.writer.write(data)

    async def expect(self, *codes: bytes) -> None:
        """Read a reply for each code."""
        for code in codes:
            while True:
                line = await self._reader.readuntil(b"\r\n")
                self._tally["sent_bytes"] += len(line)
                assert line.startswith(code), (line, code)
                if line[3:4] == b" ":
                    break

    async def say(self, line: bytes, code: bytes) -> None:
        """Send a command and read its reply."""
        self.send(line)
        await self.expect(code)

    async def expect_end(self) -> None:
        """Check that the server closes."""
        assert await self._reader.read(1) == b""


Kind: TypeAlias = Callable[[Caller], Awaitable[str]]


async def in_turn(caller: Caller) -> str:
    """Send the usual commands, one after the other."""
    for line, code in ((b"HELO soak.test", b"250"), (b"MAIL FROM:<a@b>", b"250"), (b"VRFY x", b"252")):
        await caller.say(line, code)
    return await leave(caller)


async def leave(caller: Caller) -> str:
    """Send QUIT and wait for the end."""
    await caller.say(b"QUIT", b"221")
    await caller.expect_end()
    return "quit"


async def go_away(caller: Caller) -> str:
    """Close after the greeting."""
    return "peer"


async def half_a_line(caller: Caller) -> str:
    """Close in the middle of a line."""
    caller.send_bytes(b"HELO hal")
    return "peer"


async def reset(caller: Caller) -> str:
    """Close with RST."""
    sock = caller.writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST)
    return "reset"


async def pipelined(caller: Caller) -> str:
    """Send everything at once."""
    caller.send(b"EHLO soak.test", *[b"NOOP"] * 5, b"QUIT")
    await caller.expect(*[b"250"] * 6, b"221")
    await caller.expect_end()
    return "quit"


async def message(caller: Caller) -> str:
    """Send a message, which is refused after its end."""
    for line, code in (
        (b"HELO x", b"250"),
        (b"MAIL FROM:<a@b>", b"250"),
        (b"RCPT TO:<b@c>", b"250"),
        (b"DATA", b"354"),
    ):
        await caller.say(line, code)
    caller.send_bytes(b"x" * 500 + b"\r\n.\r\n")
    await caller.expect(b"554")
    return await leave(caller)


async def byte_by_byte(caller: Caller) -> str:
    """Send a command in many pieces."""
    for at in b"HELO soak.test":
        caller.send_bytes(bytes([at]))
        await asyncio.sleep(0)
    await caller.say(b"", b"250")
    return await leave(caller)


async def errors(caller: Caller) -> str:
    """Make errors until the server ends the session."""
    caller.send(*[b"XYZZY"] * 20)
    await caller.expect(*[b"500"] * 19, b"421")
    await caller.expect_end()
    return "errors"


async def long_line(caller: Caller) -> str:
    """Send a line that is too long."""
    await caller.say(b"x" * 5000, b"500")
    return await leave(caller)


KINDS: Final[tuple[Kind, ...]] = (
    in_turn,
    leave,
    go_away,
    half_a_line,
    reset,
    pipelined,
    message,
    byte_by_byte,
    errors,
    long_line,
)


async def play(port: int, kind: Kind, source: str, tally: Tally) -> None:
    """Play one session."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
    caller = Caller(reader, writer, tally)
    try:
        await caller.expect(b"220")
        tally[await kind(caller)] += 1
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def be_turned_away(port: int, tally: Tally) -> None:
    """Connect from an address that has its one slot already."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(TURNED_AWAY_FROM, 0))
    line = await reader.readline()
    assert line.startswith(b"421"), line
    tally["turned_away"] += 1
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def _worker(port: int, sessions: int, at_once: int, seed: int, tally: Tally) -> None:
    chance = random.Random(seed)
    numbers = iter(range(sessions))

    async def repeat() -> None:
        for number in numbers:
            source = f"127.0.1.{1 + number % SOURCES}"
            async with asyncio.timeout(SESSION_LIMIT_S):
                if number % 10 == 0:
                    await be_turned_away(port, tally)
                else:
                    await play(port, chance.choice(KINDS), source, tally)

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(repeat())


def _work(port: int, sessions: int, at_once: int, seed: int) -> Tally:
    tally: Tally = Counter()
    asyncio.run(_worker(port, sessions, at_once, seed, tally))
    return tally


def play_all(port: int, sessions: int, at_once: int, seed: int) -> Tally:
    """Play sessions, `at_once` at a time, in several processes. Raises the first failure."""
    share = [sessions // PROCESSES + (number < sessions % PROCESSES) for number in range(PROCESSES)]
    work = [(port, part, max(1, at_once // PROCESSES), seed + number) for number, part in enumerate(share)]
    with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
        tallies = pool.starmap(_work, work)
    return sum(tallies, Counter())
