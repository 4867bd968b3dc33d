"""The traffic: connections of made-up callers, in one thread that waits most of the time."""

import asyncio
import contextlib
import re
import socket
import struct
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, Self

from smtppseudo.demo.callers import Arrival, ReadReply, Reset, Script, Send, Wait

ADDRESS: Final = "127.0.0.1"
CALLERS_MAX: Final = 160  # file descriptors are scarce on some systems
CONNECTION_MAX_S: Final = 120.0
UNREAD_BYTES_MAX: Final = 16_384

# RFC 5321 section 4.2.1: every line of a reply but the last has a hyphen behind its code.
_REPLY: Final = re.compile(rb"(?:[0-9]{3}-[^\n]*\n)*[0-9]{3}(?![0-9-])[^\n]*\n")
_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER: on, 0 s


class Caller:
    """One caller's connection. `unread` are the latest bytes from the server that the script has not read."""

    def __init__(self, sock: socket.socket) -> None:
        self.unread = b""
        self._sock = sock

    async def play(self, script: Script) -> None:
        """Run a script until it ends, the server closes the connection, or the time is up.

        Callers send so little that the kernel accepts it at once; if it does not, the connection ends.
        """
        with contextlib.closing(script), contextlib.suppress(StopIteration, EOFError, OSError):
            async with asyncio.timeout(CONNECTION_MAX_S):
                step = next(script)
                while not isinstance(step, Reset):
                    reply = b""
                    match step:
                        case Send(data):
                            self._sock.sendall(data)
                        case Wait(seconds):
                            with contextlib.suppress(TimeoutError):
                                await asyncio.wait_for(self._receive(None), seconds)
                        case ReadReply():
                            reply = await self._receive(_REPLY)
                    step = script.send(reply)
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)

    async def _receive(self, reply: re.Pattern[bytes] | None) -> bytes:
        """Read until a reply is complete, and return it; None: until the server closes the connection: EOFError."""
        while not (found := reply and reply.match(self.unread)):
            data = await asyncio.get_running_loop().sock_recv(self._sock, UNREAD_BYTES_MAX)
            if not data:
                raise EOFError
            self.unread = (self.unread + data)[-UNREAD_BYTES_MAX:]
        self.unread = self.unread[found.end() :]
        return found[0]


class Traffic:
    """Connects callers to a port of this machine during the `with` block. At its end all connections are closed."""

    def __init__(self, port: int, arrivals: Iterator[Arrival]) -> None:
        self._port = port
        self._arrivals = arrivals
        self._loop = asyncio.new_event_loop()
        self._thread = ThreadPoolExecutor(1, "callers")  # its future holds an exception of the thread

    def __enter__(self) -> Self:
        self._task = self._loop.create_task(self._run())
        self._finished: Future[None] = self._thread.submit(self._loop.run_until_complete, self._task)
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.shutdown()
        self._loop.close()
        if error is None:
            with contextlib.suppress(asyncio.CancelledError):
                self._finished.result()

    async def _run(self) -> None:
        room = asyncio.Semaphore(CALLERS_MAX)
        async with asyncio.TaskGroup() as callers:
            for arrival in self._arrivals:
                await asyncio.sleep(arrival.after_s)
                if not room.locked():
                    callers.create_task(self._call(arrival, room))

    async def _call(self, arrival: Arrival, room: asyncio.Semaphore) -> None:
        """Connect a caller, and play its script; without a free descriptor, or without a server, skip it."""
        async with room:
            with contextlib.suppress(OSError), socket.socket() as sock:
                sock.setblocking(False)
                with contextlib.suppress(OSError):  # some systems have 127.0.0.1 alone: then all connect from there
                    sock.bind((arrival.source, 0))
                await self._loop.sock_connect(sock, (ADDRESS, self._port))
                await Caller(sock).play(arrival.script)
