"""The stutter: sends replies byte by byte, to many connections in one batch."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from functools import partial
from itertools import compress, repeat
from operator import call, itemgetter
from typing import Any, Final, Protocol

from smtppseudo.loop.wheel import Wheel
from smtppseudo.net.errnos import DONTWAIT
from smtppseudo.net.stream import Stream

BATCH_MAX: Final = 128  # connections; sending to that many delays the others by a millisecond
_QUEUED: Final = -1  # the `due_tick` of a connection that a queue will send to


class Speaker(Protocol):
    """The machine of a connection with a pace."""

    def next_part(self, count: int, now: float) -> bytes:
        """Return the next `count` bytes of a reply; b"" if the reply or the session ends with them."""


class Stuttered(Protocol):
    """A connection with a pace."""

    due_tick: int

    @property
    def machine(self) -> Speaker: ...
    @property
    def sock(self) -> Stream: ...

    def due(self, now: float) -> None:
        """Send what `next_part` did not return."""

    def on_short_send(self, data: bytes, sent: int | OSError, now: float) -> None:
        """Handle a send that raised an error, or took only a part of the data."""

    def fault(self, error: Exception, /) -> None:
        """Close only this connection after a bug."""


class Stutter:
    """Sends to each connection as its machine's pace says; a queue for each pace.

    With 10,000 callers at one byte a second, the server spends its time here. To ask many machines and then send to
    all of them takes a third of the time that it takes to do both for one connection after the other: system calls
    push our code out of the processor's caches.
    """

    def __init__(self, wheel: Wheel[Any]) -> None:
        self._wheel = wheel
        self._queues: dict[float, Queue] = {}

    def add(self, connection: Stuttered, deadline: float, byte_s: float) -> None:
        """Send one byte at the deadline, and one each `byte_s` seconds from then on, each at most 50 ms late.

        It ends when the connection is scheduled on the wheel, or cancelled there.
        """
        self._wheel.cancel(connection)
        connection.due_tick = _QUEUED
        queue = self._queues.get(byte_s)
        if queue is None:
            queue = self._queues[byte_s] = Queue(self._wheel, byte_s)
        queue.add(connection, deadline)


class Queue:
    """The connections with one pace, in the order of their deadlines."""

    __slots__ = ("_batch", "_byte_s", "_connections", "_deadlines", "_wheel", "due_tick")

    def __init__(self, wheel: Wheel[Any], byte_s: float) -> None:
        self._wheel = wheel
        self._byte_s = byte_s
        self._deadlines: list[float] = []
        self._connections: list[Stuttered] = []  # in parallel; one that left stays until its deadline
        self._batch: list[Stuttered] = []
        self.due_tick = 0

    def add(self, connection: Stuttered, deadline: float) -> None:
        """Put a connection in its place, which is nearly always the last."""
        at = bisect_right(self._deadlines, deadline)
        self._deadlines.insert(at, deadline)
        self._connections.insert(at, connection)
        if at == 0:
            self._wheel.schedule(self, deadline)

    def due(self, now: float) -> None:
        """Send to a batch of the connections that are due; the others follow in the next turn."""
        count = 1 + int((now - self._deadlines[0]) // self._byte_s)  # bytes for each, more than one after a delay
        late_s = (count - 1) * self._byte_s
        size = max(1, bisect_right(self._deadlines, now - late_s, hi=min(len(self._deadlines), BATCH_MAX)))
        deadlines, connections = self._deadlines[:size], self._connections[:size]
        del self._deadlines[:size], self._connections[:size]
        self._batch = connections
        try:
            self._send(deadlines, connections, count, now)
        finally:
            if self._deadlines:
                self._wheel.schedule(self, self._deadlines[0])

    def fault(self, error: Exception, /) -> None:
        """Close the connections of the batch after a bug: nobody knows what was sent to them."""
        for each in self._batch:
            if each.due_tick == _QUEUED:
                each.fault(error)

    def _send(self, deadlines: list[float], connections: list[Stuttered], count: int, now: float) -> None:
        batch = [each for each in zip(deadlines, connections, strict=True) if each[1].due_tick == _QUEUED]
        parts = [each.machine.next_part(count, now) for _, each in batch]
        leaving: list[tuple[Stuttered, Callable[[], None]]] = []
        if not all(parts):
            leaving = [(each, partial(each.due, now)) for (_, each), part in zip(batch, parts, strict=True) if not part]
            batch, parts = list(compress(batch, parts)), list(filter(None, parts))
        results = _send_all([each.sock for _, each in batch], parts)
        if results.count(count) < len(results):
            leaving += [
                (each, partial(each.on_short_send, part, sent, now))
                for (_, each), part, sent in zip(batch, parts, results, strict=True)
                if sent != count
            ]
            batch = [each for each, sent in zip(batch, results, strict=True) if sent == count]
        self._put_back([(deadline + count * self._byte_s, each) for deadline, each in batch])
        for each, handle in leaving:
            try:
                handle()
            except Exception as error:  # noqa: BLE001 - a bug costs one connection, not the batch
                each.fault(error)

    def _put_back(self, batch: list[tuple[float, Stuttered]]) -> None:
        if batch:
            at = bisect_left(self._deadlines, batch[0][0])  # connections added meanwhile may be due later than these
            batch += zip(self._deadlines[at:], self._connections[at:], strict=True)
            batch.sort(key=itemgetter(0))
            self._deadlines[at:] = [deadline for deadline, _ in batch]
            self._connections[at:] = [each for _, each in batch]


def _send_all(socks: list[Stream], parts: list[bytes]) -> list[Any]:
    """Send each part; return how many bytes the kernel took of it, or the error.

    `extend` keeps the results before an error, and `map` continues behind it, in CPython. `map` makes the calls
    because few of our instructions may run between two system calls.
    """
    results: list[int | OSError] = []
    sent = map(call, [sock.send for sock in socks], parts, repeat(DONTWAIT))
    while len(results) < len(parts):
        try:
            results.extend(sent)
        except OSError as error:
            results.append(error)
    return results
