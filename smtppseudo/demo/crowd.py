"""The crowd: carries visits out over sockets, in one thread that waits most of the time."""

import math
import re
import selectors
import socket
import struct
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Final, Self

from smtppseudo.demo.arrivals import Arrival
from smtppseudo.demo.visits import Hear, Reset, Say, Visit, Wait

ADDRESS: Final = "127.0.0.1"
CALLERS_MAX: Final = 160  # descriptors are scarce on some systems
VISIT_MAX_S: Final = 120.0
HEARD_BYTES_MAX: Final = 16_384

# RFC 5321 section 4.2.1: every line of a reply but the last has a hyphen behind its code.
_REPLY: Final = re.compile(rb"(?:[0-9]{3}-[^\n]*\n)*[0-9]{3}(?![0-9-])[^\n]*\n")
_BREAK_OFF: Final = struct.pack("ii", 1, 0)  # SO_LINGER: on, 0 s


class Caller:
    """A visit over a connection. Its methods say whether it goes on; if not, `close` it.

    `due` is when it has something to do of itself, in monotonic seconds. What it sends is so little that the
    kernel takes it at once; if not, the visit is over.
    """

    __slots__ = ("_heard", "_hears", "_over_at", "_visit", "_wakes_at", "sock")

    def __init__(self, sock: socket.socket, visit: Visit, now: float) -> None:
        self.sock = sock
        self._visit = visit
        self._over_at = now + VISIT_MAX_S
        self._wakes_at = math.inf
        self._heard = b""
        self._hears = False

    @property
    def due(self) -> float:
        """When to `wake` it, whatever else happens."""
        return min(self._wakes_at, self._over_at)

    def begin(self, now: float) -> bool:
        """Start when the connection is made, or has failed."""
        return self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0 and self._go_on(None, now)

    def wake(self, now: float) -> bool:
        """Go on after a wait."""
        self._wakes_at = math.inf
        return now < self._over_at and self._go_on(None, now)

    def receive(self, now: float) -> bool:
        """Read what the server says. Whoever does not wait for it goes on without, until the server closes."""
        try:
            data = self.sock.recv(HEARD_BYTES_MAX)
        except OSError as error:
            return isinstance(error, BlockingIOError)
        self._heard = (self._heard + data)[-HEARD_BYTES_MAX:]
        return bool(data) and (not self._hears or self._answer(now))

    def close(self) -> None:
        """End the visit, wherever it is."""
        self._visit.close()
        self.sock.close()

    def _answer(self, now: float) -> bool:
        """Give the visit the reply it waits for, if that is there whole."""
        reply = _REPLY.match(self._heard)
        self._hears = reply is None
        if reply is None:
            return True
        self._heard = self._heard[reply.end() :]
        return self._go_on(reply[0], now)

    def _go_on(self, reply: bytes | None, now: float) -> bool:
        """Take steps until one has to be waited for."""
        try:
            step = next(self._visit) if reply is None else self._visit.send(reply)
            while isinstance(step, Say):
                self.sock.sendall(step.data)
                step = next(self._visit)
        except (StopIteration, OSError):
            return False
        match step:
            case Wait(seconds):
                self._wakes_at = now + seconds
                return True
            case Hear():
                return self._answer(now)
            case Reset():
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _BREAK_OFF)
                return False


class Crowd:
    """Sends callers to a port of this machine while the `with` block lasts; at its end all of them are gone."""

    def __init__(self, port: int, arrivals: Iterator[Arrival]) -> None:
        self._port = port
        self._arrivals = arrivals
        self._callers: set[Caller] = set()
        self._selector = selectors.DefaultSelector()
        self._stops, self._stop = socket.socketpair()
        self._thread = ThreadPoolExecutor(1, "visitors")  # it hands over what goes wrong there
        self._finished: Future[None] | None = None

    def __enter__(self) -> Self:
        self._selector.register(self._stops, selectors.EVENT_READ)
        self._finished = self._thread.submit(self._run)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.close()
        self._thread.shutdown()
        self._selector.close()
        self._stops.close()
        if self._finished is not None and error is None:
            self._finished.result()

    def _run(self) -> None:
        try:
            self._look_after_all()
        finally:
            for caller in list(self._callers):
                self._see_off(caller)

    def _look_after_all(self) -> None:
        """Let callers come, and their visits go on, until the other end of `_stops` is closed."""
        now = time.monotonic()
        arrival = next(self._arrivals)
        arrives_at = now + arrival.after_s
        while True:
            soonest = min([arrives_at, *(caller.due for caller in self._callers)])
            ready = self._selector.select(max(0.0, soonest - now))
            now = time.monotonic()
            for key, mask in ready:
                if key.data is None:
                    return
                self._look_after(key.data, mask, now)
            for caller in [caller for caller in self._callers if caller.due <= now]:
                if not caller.wake(now):
                    self._see_off(caller)
            if arrives_at <= now:
                self._let_in(arrival, now)
                arrival = next(self._arrivals)
                arrives_at = now + arrival.after_s  # not since the last was due: we may have been suspended

    def _look_after(self, caller: Caller, mask: int, now: float) -> None:
        if mask & selectors.EVENT_WRITE:
            goes_on = caller.begin(now)
            if goes_on:
                self._selector.modify(caller.sock, selectors.EVENT_READ, caller)
        else:
            goes_on = caller.receive(now)
        if not goes_on:
            self._see_off(caller)

    def _let_in(self, arrival: Arrival, now: float) -> None:
        """Connect a newcomer. When there are too many, or no descriptor is left, it does not come."""
        if len(self._callers) >= CALLERS_MAX:
            return
        try:
            sock = socket.socket()
        except OSError:
            return
        sock.setblocking(False)
        try:
            sock.bind((arrival.source, 0))
        except OSError:
            pass  # where 127.0.0.0/8 is not this machine's as a whole, all come from 127.0.0.1
        sock.connect_ex((ADDRESS, self._port))  # how that went is asked in `begin`
        caller = Caller(sock, arrival.visit, now)
        self._callers.add(caller)
        self._selector.register(sock, selectors.EVENT_WRITE, caller)

    def _see_off(self, caller: Caller) -> None:
        self._callers.remove(caller)
        self._selector.unregister(caller.sock)
        caller.close()
