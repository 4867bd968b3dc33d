"""Signals, as something the loop can wait for."""

import signal
import socket
from collections.abc import Callable, Mapping

from smtppseudo.loop.reactor import Reactor


class Signals:
    """Calls back in the loop's own time. Only in the main thread; `close` puts back what was there before."""

    def __init__(
        self,
        reactor: Reactor,
        callbacks: Mapping[int, Callable[[float], None]],
        on_fault: Callable[[Exception], None],
    ) -> None:
        self.due_tick = 0
        self._reactor = reactor
        self._callbacks = callbacks
        self._on_fault = on_fault
        self._wakes, self._wakened = socket.socketpair()
        self._wakes.setblocking(False)
        self._wakened.setblocking(False)
        self._before_fd = signal.set_wakeup_fd(self._wakened.fileno(), warn_on_full_buffer=False)
        self._before = {number: signal.signal(number, _note) for number in callbacks}
        reactor.watch_acceptor(self._wakes.fileno(), self)

    def ready(self, mask: int, now: float) -> None:
        """See which signals came; the wake-up socket carries their numbers."""
        for number in self._wakes.recv(4096):
            callback = self._callbacks.get(number)
            if callback is not None:
                callback(now)

    def due(self, now: float) -> None:
        """Nothing is scheduled."""

    def fault(self, error: Exception) -> None:
        """Report a bug."""
        self._on_fault(error)

    def close(self) -> None:
        """Put back what was there before."""
        signal.set_wakeup_fd(self._before_fd)
        for number, before in self._before.items():
            signal.signal(number, before)
        self._reactor.unwatch_acceptor(self._wakes.fileno())
        self._wakes.close()
        self._wakened.close()


def _note(number: int, frame: object) -> None:
    """Let the interpreter write the number to the wake-up socket, which is all that is needed."""
