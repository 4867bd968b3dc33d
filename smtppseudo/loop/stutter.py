"""The stutter: those whose next bytes are due at the same time are sent to together."""

import math
import socket
from itertools import compress, repeat
from typing import Any, Final, Protocol

from smtppseudo.loop.wheel import RESOLUTION_S, Wheel
from smtppseudo.net.errnos import DONTWAIT

_JOINED: Final = -1  # as the `due_tick` of a connection: a round sends to it
EVERY_S: Final = 2 * RESOLUTION_S
"""The least time between two bytes: where it is shorter, rounds would fall behind by waiting for their last."""
_ROUND_MAX: Final = 128  # connections; that is a millisecond, for which others wait


class Stuttered(Protocol):
    """What a round sends to: a connection."""

    due_tick: int
    machine: Any  # of which `next_part` is asked: see `TarpitSession`
    sock: socket.socket

    def fell_short(self, data: bytes, taken: int | OSError, now: float) -> None:
        """The kernel has taken only so many of these bytes, or none for the reason given."""

    def due(self, now: float) -> None:
        """Something else is due than a part of an answer."""

    def fault(self, error: Exception) -> None:
        """Give up alone after a bug of ours."""


class Round:
    """Up to 128 connections that are at answers of theirs, each byte of which is due `every_s` after the last."""

    __slots__ = ("_stutter", "deadline", "due_tick", "every_s", "expires_at", "members")

    def __init__(self, stutter: "Stutter", deadline: float, every_s: float) -> None:
        self._stutter = stutter
        self.deadline = deadline
        self.expires_at = math.inf  # the first of the members
        self.every_s = every_s
        self.members: list[Stuttered] = []
        self.due_tick = 0

    def due(self, now: float) -> None:
        """Send to all what is due, and come again; who has not more of an answer to hear leaves."""
        self._stutter.shut(self)
        members = [each for each in self.members if each.due_tick == _JOINED]
        others: list[Stuttered] = []
        if now >= self.expires_at:
            others = [each for each in members if now >= each.machine.expires_at]
            members = [each for each in members if now < each.machine.expires_at]
            self.expires_at = min((each.machine.expires_at for each in members), default=math.inf)
        data = 1 + int((now - self.deadline) // self.every_s)
        self.deadline += data * self.every_s
        parts: list[bytes] = [each.machine.next_part(data) for each in members]
        if not all(parts):
            others += [each for each, part in zip(members, parts, strict=True) if not part]
            members, parts = list(compress(members, parts)), list(filter(None, parts))
        taken = _send(members, parts)
        if taken.count(data) < len(taken):
            for each, part, so_many in zip(members, parts, taken, strict=True):
                if so_many != data:
                    try:
                        each.fell_short(part, so_many, now)
                    except Exception as error:  # noqa: BLE001 - our bug: it costs one connection, not the round
                        each.fault(error)
            members = [each for each in members if each.due_tick == _JOINED]
        self.members = members
        if members:
            self._stutter.come_again(self)
        for each in others:
            try:
                each.due(now)
            except Exception as error:  # noqa: BLE001 - our bug: it costs one connection, not the round
                each.fault(error)

    def fault(self, error: Exception) -> None:
        """Give up after a bug of ours: nobody knows what the members have been sent."""
        for each in self.members:
            if each.due_tick == _JOINED:
                each.fault(error)


class Stutter:
    """Gathers in rounds the connections that are sent byte after byte.

    With 10,000 callers at an byte a second each, this is where the time goes. To look at many, and then to send to
    many, takes a third of what it takes to look at each before it is sent to: system calls drive our code out of the
    processor's caches.
    """

    def __init__(self, wheel: Wheel[Any]) -> None:
        self._wheel = wheel
        self._with_room: dict[tuple[int, float], Round] = {}  # by when they are due

    def join(self, connection: Stuttered, deadline: float, every_s: float) -> None:
        """Have a connection sent to at its deadline, and then every so many seconds; each time at most 100 ms late.

        Scheduled or cancelled on the wheel, it is in no round any more.
        """
        self._wheel.cancel(connection)
        connection.due_tick = _JOINED
        joined = self._with_room.get(_key(deadline, every_s))
        if joined is None:
            joined = Round(self, deadline, every_s)
            self.come_again(joined)
        joined.deadline = max(joined.deadline, deadline)
        joined.expires_at = min(joined.expires_at, connection.machine.expires_at)
        joined.members.append(connection)
        if len(joined.members) == _ROUND_MAX:
            self.shut(joined)

    def shut(self, full: Round) -> None:
        """Let nobody join a round: it is full, or due."""
        key = _key(full.deadline, full.every_s)
        if self._with_room.get(key) is full:
            del self._with_room[key]

    def come_again(self, moved: Round) -> None:
        """Schedule a round for its deadline, or merge it with one that is due then."""
        key = _key(moved.deadline, moved.every_s)
        other = self._with_room.get(key)
        if other is not None and len(other.members) + len(moved.members) < _ROUND_MAX:
            other.members += moved.members
            other.deadline = max(other.deadline, moved.deadline)
            other.expires_at = min(other.expires_at, moved.expires_at)
            return
        self._wheel.schedule(moved, moved.deadline)
        if len(moved.members) < _ROUND_MAX:
            self._with_room[key] = moved


def _key(deadline: float, every_s: float) -> tuple[int, float]:
    return int(deadline / RESOLUTION_S), every_s


def _send(members: list[Stuttered], parts: list[bytes]) -> list[Any]:
    """Send each its part; return how many bytes the kernel took, or its error.

    `extend` keeps what it has when an error ends it, and `map` goes on behind that: so does CPython.
    It is `map` that calls, for the fewer of our instructions stand between two system calls, the better.
    """
    taken: list[int | OSError] = []
    sent = map(socket.socket.send, [each.sock for each in members], parts, repeat(DONTWAIT))
    while len(taken) < len(parts):
        try:
            taken.extend(sent)
        except OSError as error:
            taken.append(error)
    return taken
