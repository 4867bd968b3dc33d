"""The traffic: connections of made-up callers, in one thread that waits most of the time."""

import math
import re
import selectors
import socket
import struct
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, Self

from smtppseudo.demo.arrivals import Arrival
from smtppseudo.demo.callers import ReadReply, Reset, Script, Send, Wait

ADDRESS: Final = "127.0.0.1"
CALLERS_MAX: Final = 160  # file descriptors are scarce on some systems
CONNECTION_MAX_S: Final = 120.0
UNREAD_BYTES_MAX: Final = 16_384

# RFC 5321 section 4.2.1: every line of a reply but the last has a hyphen behind its code.
_REPLY: Final = re.compile(rb"(?:[0-9]{3}-[^\n]*\n)*[0-9]{3}(?![0-9-])[^\n]*\n")
_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER: on, 0 s


class CallerConnection:
    """One caller's connection. Its methods return whether it continues; if not, call `close`.

    `due` is the time of the next `wake`, in monotonic seconds. Callers send so little that the kernel accepts it at
    once; if it does not, the connection ends.
    """

    __slots__ = ("_is_reading", "_over_at", "_script", "_unread", "_wakes_at", "sock")

    def __init__(self, sock: socket.socket, script: Script, now: float) -> None:
        self.sock = sock
        self._script = script
        self._over_at = now + CONNECTION_MAX_S
        self._wakes_at = math.inf
        self._unread = b""
        self._is_reading = False  # whether the script waits for a reply

    @property
    def due(self) -> float:
        """When to call `wake`."""
        return min(self._wakes_at, self._over_at)

    def begin(self, now: float) -> bool:
        """Start the script, when the socket has connected or failed."""
        return self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0 and self._run(None, now)

    def wake(self, now: float) -> bool:
        """Continue after a wait."""
        self._wakes_at = math.inf
        return now < self._over_at and self._run(None, now)

    def receive(self, now: float) -> bool:
        """Read from the server; continue the script if it waits for a reply and the reply is complete."""
        try:
            data = self.sock.recv(UNREAD_BYTES_MAX)
        except OSError as error:
            return isinstance(error, BlockingIOError)
        self._unread = (self._unread + data)[-UNREAD_BYTES_MAX:]
        return bool(data) and (not self._is_reading or self._read_reply(now))

    def close(self) -> None:
        """End script and connection."""
        self._script.close()
        self.sock.close()

    def _read_reply(self, now: float) -> bool:
        reply = _REPLY.match(self._unread)
        self._is_reading = reply is None
        if reply is None:
            return True
        self._unread = self._unread[reply.end() :]
        return self._run(reply[0], now)

    def _run(self, reply: bytes | None, now: float) -> bool:
        """Run the script up to the next step that waits."""
        try:
            step = next(self._script) if reply is None else self._script.send(reply)
            while isinstance(step, Send):
                self.sock.sendall(step.data)
                step = next(self._script)
        except (StopIteration, OSError):
            return False
        match step:
            case Wait(seconds):
                self._wakes_at = now + seconds
                return True
            case ReadReply():
                return self._read_reply(now)
            case Reset():
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                return False


class Traffic:
    """Connects callers to a port of this machine during the `with` block. At its end all connections are closed."""

    def __init__(self, port: int, arrivals: Iterator[Arrival]) -> None:
        self._port = port
        self._arrivals = arrivals
        self._connections: set[CallerConnection] = set()
        self._selector = selectors.DefaultSelector()
        self._stopped, self._stop = socket.socketpair()
        self._thread = ThreadPoolExecutor(1, "callers")  # its future holds an exception of the thread
        self._finished: Future[None] | None = None

    def __enter__(self) -> Self:
        self._selector.register(self._stopped, selectors.EVENT_READ)
        self._finished = self._thread.submit(self._run)
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._stop.close()
        self._thread.shutdown()
        self._selector.close()
        self._stopped.close()
        if self._finished is not None and error is None:
            self._finished.result()

    def _run(self) -> None:
        try:
            self._run_until_stopped()
        finally:
            for connection in list(self._connections):
                self._close(connection)

    def _run_until_stopped(self) -> None:
        now = time.monotonic()
        arrival = next(self._arrivals)
        arrives_at = now + arrival.after_s
        while True:
            soonest = min([arrives_at, *(connection.due for connection in self._connections)])
            ready = self._selector.select(max(0.0, soonest - now))
            now = time.monotonic()
            for key, mask in ready:
                if key.data is None:
                    return
                self._advance(key.data, mask, now)
            for connection in [connection for connection in self._connections if connection.due <= now]:
                if not connection.wake(now):
                    self._close(connection)
            if arrives_at <= now:
                self._connect(arrival, now)
                arrival = next(self._arrivals)
                arrives_at = now + arrival.after_s  # counted from now: the process may have been suspended

    def _advance(self, connection: CallerConnection, mask: int, now: float) -> None:
        if mask & selectors.EVENT_WRITE:
            continues = connection.begin(now)
            if continues:
                self._selector.modify(connection.sock, selectors.EVENT_READ, connection)
        else:
            continues = connection.receive(now)
        if not continues:
            self._close(connection)

    def _connect(self, arrival: Arrival, now: float) -> None:
        """Connect a caller. With too many connections, or without a free descriptor, skip it."""
        if len(self._connections) >= CALLERS_MAX:
            return
        try:
            sock = socket.socket()
        except OSError:
            return
        sock.setblocking(False)
        try:
            sock.bind((arrival.source, 0))
        except OSError:
            pass  # some systems have 127.0.0.1 alone: then all callers connect from there
        sock.connect_ex((ADDRESS, self._port))  # `begin` checks the result
        connection = CallerConnection(sock, arrival.script, now)
        self._connections.add(connection)
        self._selector.register(sock, selectors.EVENT_WRITE, connection)

    def _close(self, connection: CallerConnection) -> None:
        self._connections.remove(connection)
        self._selector.unregister(connection.sock)
        connection.close()
