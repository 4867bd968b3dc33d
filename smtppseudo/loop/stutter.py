"""The stutter: sends replies byte by byte, to many connections together."""

from collections.abc import Callable
from itertools import compress, repeat
from typing import Any, Final, Protocol

from smtppseudo.loop.wheel import RESOLUTION_S, Timed, Wheel
from smtppseudo.net.errnos import DONTWAIT
from smtppseudo.net.stream import Stream
from smtppseudo.smtp.tarpit import TarpitSession

ROUND_MAX: Final = 128  # connections; sending to that many delays the others by a millisecond
_IN_ROUND: Final = -1  # the `due_tick` of a connection that a round sends to


class Stuttered(Timed, Protocol):
    """A connection of the tarpit. `due` is called at the end of a reply, `on_short_send` after an incomplete send."""

    @property
    def machine(self) -> TarpitSession: ...
    @property
    def sock(self) -> Stream: ...
    def on_short_send(self, data: bytes, sent: int | OSError, now: float) -> None: ...


class Stutter:
    """Sends to each connection at its machine's pace.

    With 10,000 callers at one byte a second, the server spends its time here. To ask many machines and then send to
    all of them takes a third of the time that it takes to do both for one connection after the other: system calls
    push our code out of the processor's caches.
    """

    def __init__(self, wheel: Wheel) -> None:
        self._wheel = wheel
        self._rounds: dict[tuple[int, float, type], Round] = {}

    def add(self, connection: Stuttered, deadline: float, byte_s: float) -> None:
        """Send a byte at the deadline and each `byte_s` after it, at most 100 ms late, until the wheel has it again."""
        self._wheel.cancel(connection)
        connection.due_tick = _IN_ROUND
        self.put(Round(self, connection, deadline, byte_s))

    def put(self, new: "Round") -> None:
        """Schedule a round, or merge it with one that is due at the same time."""
        found = self._rounds.get(new.key)
        if found is None or not found.merge(new):
            self._rounds[new.key] = new
            self._wheel.schedule(new, new.last)

    def remove(self, due: "Round") -> None:
        """Merge nothing more with a round that is due."""
        if self._rounds.get(due.key) is due:
            del self._rounds[due.key]


class Round:
    """Up to 128 connections with one pace, whose next bytes are due within 50 ms, from `first` to `last`."""

    __slots__ = ("_byte_s", "_stutter", "_type", "due_tick", "first", "last", "members")

    def __init__(self, stutter: Stutter, connection: Stuttered, deadline: float, byte_s: float) -> None:
        self.members = [connection]
        self.first = self.last = deadline
        self.due_tick = 0
        self._stutter = stutter
        self._byte_s = byte_s
        self._type = type(connection.sock)

    @property
    def key(self) -> tuple[int, float, type]:
        """Rounds with the same key may merge."""
        return int(self.last / RESOLUTION_S), self._byte_s, self._type

    def merge(self, other: "Round") -> bool:
        """Add the connections of another round. Return False if they are too many, or their deadlines too far apart."""
        first, last = min(self.first, other.first), max(self.last, other.last)
        if last - first > RESOLUTION_S or len(self.members) + len(other.members) > ROUND_MAX:
            return False
        self.first, self.last = first, last
        self.members += other.members
        return True

    def due(self, now: float) -> None:
        """Send to all connections. A connection leaves with the last byte of its reply."""
        self._stutter.remove(self)
        members = [each for each in self.members if each.due_tick == _IN_ROUND]
        count = 1 + int((now - self.last) // self._byte_s)  # bytes for each, more than one after a delay
        parts = [each.machine.next_part(count, now) for each in members]
        if not all(parts):
            for each, part in zip(members, parts, strict=True):
                if not part:
                    _call(each, each.due, now)
            members, parts = list(compress(members, parts)), list(filter(None, parts))
        results = self._send([each.sock for each in members], parts)
        if results.count(count) < len(results):
            for each, part, sent in zip(members, parts, results, strict=True):
                if sent != count:
                    _call(each, each.on_short_send, part, sent, now)
            members = [each for each, sent in zip(members, results, strict=True) if sent == count]
        self.members = members
        self.first += count * self._byte_s
        self.last += count * self._byte_s
        if members:
            self._stutter.put(self)

    def fault(self, error: Exception, /) -> None:
        """Close all connections after a bug, because it is unknown which of them got their bytes."""
        for each in self.members:
            if each.due_tick == _IN_ROUND:
                each.fault(error)

    def _send(self, socks: list[Stream], parts: list[bytes]) -> list[Any]:
        """Send each part; return how many bytes the kernel took of it, or the error.

        `extend` keeps the results before an error, and `map` continues behind it, in CPython. `map` makes the calls
        because few of our instructions may run between two system calls.
        """
        results: list[int | OSError] = []
        sent = map(self._type.send, socks, parts, repeat(DONTWAIT))
        while len(results) < len(parts):
            try:
                results.extend(sent)
            except OSError as error:
                results.append(error)
        return results


def _call(connection: Stuttered, method: Callable[..., None], *arguments: Any) -> None:
    try:
        method(*arguments)
    except Exception as error:  # noqa: BLE001 - a bug costs one connection, not the round
        connection.fault(error)
