"""A connection that sends its machine's data in parts."""

from typing import Final, Protocol, TypeVar

from smtppseudo.loop.connection import Connection, Machine, Phase
from smtppseudo.net.errnos import DONTWAIT

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
