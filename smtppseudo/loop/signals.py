"""Signals as events of the loop."""

import signal
import socket
from collections.abc import Callable, Mapping

from smtppseudo.loop.reactor import Reactor


class Signals:
    """Calls a function in a turn of the loop for each signal. For the main thread only.

    `close` restores the previous handlers.
    """

    def __init__(
        self,
        reactor: Reactor,
        callbacks: Mapping[int, Callable[[float], None]],
        on_fault: Callable[[Exception], None],
    ) -> None:
        self.fault = on_fault
        self._reactor = reactor
        self._callbacks = callbacks
        self._receiver, self._sender = socket.socketpair()
        self._receiver.setblocking(False)
        self._sender.setblocking(False)
        self._previous_fd = signal.set_wakeup_fd(self._sender.fileno(), warn_on_full_buffer=False)
        self._previous = {number: signal.signal(number, _do_nothing) for number in callbacks}
        reactor.watch_urgent(self._receiver.fileno(), self)

    def ready(self, mask: int, now: float) -> None:
        """Call the functions of the signals that arrived; each is one byte on the wake-up socket."""
        for number in self._receiver.recv(4096):
            callback = self._callbacks.get(number)
            if callback is not None:
                callback(now)

    def close(self) -> None:
        """Restore the previous handlers."""
        signal.set_wakeup_fd(self._previous_fd)
        for number, previous in self._previous.items():
            signal.signal(number, previous)
        self._reactor.unwatch_urgent(self._receiver.fileno())
        self._receiver.close()
        self._sender.close()


def _do_nothing(number: int, frame: object) -> None:
    """Replace the default action; the interpreter itself writes the number to the wake-up socket."""
