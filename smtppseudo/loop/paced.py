"""Connections that send their machine's data in parts: to monitors, and at the pace of the tarpit."""

import socket
from typing import Final, Protocol, TypeVar

from smtppseudo.loop.connection import Connection, Machine, Phase
from smtppseudo.loop.selector import REPORTS_ERRORS
from smtppseudo.net.errnos import DONTWAIT, GONE
from smtppseudo.smtp.tarpit import TarpitSession

_LOOK_EVERY_S: Final = 1.0  # for a reset, where the selector cannot report it
_OPEN: Final = Phase.OPEN  # a module name, because member access on an Enum is slow in Python 3.11


class PartsMachine(Machine, Protocol):
    """A machine whose `data_to_send` returns a part, while `has_more` says that others follow."""

    @property
    def has_more(self) -> bool: ...


P_co = TypeVar("P_co", bound=PartsMachine, covariant=True)


class PartsConnection(Connection[P_co]):
    """A connection whose machine returns its data in parts. It asks for the next one when the kernel has room."""

    __slots__ = ()

    def ready(self, now: float) -> None:
        """Read or write."""
        if self._phase is not _OPEN:
            super().ready(now)
        elif data := self._receive(now):
            self._owner.record(self.machine, self.machine.receive(data, now))
            self._send_next(now)

    def _send(self, data: bytes, now: float) -> None:
        if not self.machine.has_more:
            super()._send(data, now)
            return
        sent: int | OSError
        try:
            sent = self.sock.send(data, DONTWAIT)
        except OSError as error:
            sent = error
        if sent != len(data):
            self.on_short_send(data, sent, now)
        else:
            self._await_next_part(now)

    def _on_nothing_to_send(self, now: float) -> None:
        if self.machine.has_more:
            self._await_next_part(now)
        else:
            super()._on_nothing_to_send(now)

    def _await_next_part(self, now: float) -> None:
        self._wait_for_kernel(b"", now, progress=True)  # in the next turn, after other connections


class PacedConnection(PartsConnection[TarpitSession]):
    """A connection that sends each part of a reply when it is due, and reads meanwhile if the machine can.

    A peer that closes, or half-closes, while it waits has left: its slot is free at once.
    """

    __slots__ = ()

    def ready(self, now: float) -> None:
        """Read or write."""
        if self._phase is Phase.PACED:
            self._read_early(now)
        elif self._phase is Phase.READ_PAUSED:
            self.close("reset", now)  # a socket that is watched for nothing reports only this
        else:
            super().ready(now)

    def due(self, now: float) -> None:
        """Send the part that is due, or handle another deadline."""
        if not self._is_in_reply:
            super().due(now)
        elif not REPORTS_ERRORS and self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) in GONE:
            self.close("reset", now)
        elif data := self.machine.data_to_send(now):
            self._send(data, now)
        else:
            if events := self.machine.tick(now):
                self._owner.record(self.machine, events)
            self._send_next(now)

    def stop_delaying(self, at: float) -> None:
        """Send the rest of the reply at that time, and later replies without delay."""
        self.machine.stop_delaying()
        if self._is_in_reply:
            self._owner.reactor.wheel.schedule(self, at)

    @property
    def _is_in_reply(self) -> bool:
        return self._phase in (Phase.PACED, Phase.READ_PAUSED)

    def _read_early(self, now: float) -> None:
        """Read while a reply is under way, if the machine accepts data; otherwise stop watching."""
        if self.machine.reads:
            if data := self._receive(now):
                self._owner.record(self.machine, self.machine.receive(data, now))
        else:
            self._phase = Phase.READ_PAUSED
            if self._rewatch(0, now) and not REPORTS_ERRORS and not self.machine.seconds_per_byte:
                self._schedule(now)

    def _await_next_part(self, now: float) -> None:
        machine = self.machine
        is_paused = self._phase is Phase.READ_PAUSED and not machine.reads
        if is_paused or self._read_again(Phase.PACED, now):
            if byte_s := machine.seconds_per_byte:
                self._owner.reactor.stutter.add(self, machine.deadline, byte_s)
            else:
                self._schedule(now)

    def _schedule(self, now: float) -> None:
        deadline = self.machine.deadline
        if self._phase is Phase.READ_PAUSED and not REPORTS_ERRORS:
            deadline = min(deadline, now + _LOOK_EVERY_S)
        self._owner.reactor.wheel.schedule(self, deadline)
