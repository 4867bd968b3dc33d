"""A connection of the tarpit: the machine's pace decides when it sends what."""

import socket
from typing import Final

from smtppseudo.loop.connection import Phase
from smtppseudo.loop.parts import PartsConnection
from smtppseudo.loop.selector import REPORTS_ERRORS
from smtppseudo.net.errnos import GONE
from smtppseudo.smtp.tarpit import TarpitSession

_LOOK_EVERY_S: Final = 1.0  # for a reset, where the selector cannot report it


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
        if self._phase is not Phase.PACED and self._phase is not Phase.READ_PAUSED:
            super().due(now)
        elif not REPORTS_ERRORS and self._is_reset():
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
        if self._phase is Phase.PACED or self._phase is Phase.READ_PAUSED:
            self._owner.reactor.wheel.schedule(self, at)

    def _read_early(self, now: float) -> None:
        """Read while a reply is under way, if the machine accepts data; otherwise stop watching."""
        if self.machine.reads:
            data = self._receive(now)
            if data:
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

    def _is_reset(self) -> bool:
        return self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) in GONE
