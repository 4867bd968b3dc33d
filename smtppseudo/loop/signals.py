"""Signals as events of the loop."""

import signal
import socket
from collections.abc import Callable, Mapping

from smtppseudo.loop.reactor import Reactor, Timer


class Signals:
    """Calls a function in a turn of the loop for each signal. For the main thread only.

    `close` restores the previous handlers.
    """

    def __init__(self, reactor: Reactor, callbacks: Mapping[int, Callable[[float], None]]) -> None:
        self.fault = reactor.report_fault
        self._reactor = reactor
        self._callbacks = callbacks
        self._arrived: list[int] = []
        self._receiver, self._sender = socket.socketpair()  # a signal wakes the selector
        self._receiver.setblocking(False)
        self._sender.setblocking(False)
        self._previous_fd = signal.set_wakeup_fd(self._sender.fileno(), warn_on_full_buffer=False)
        self._previous = {number: signal.signal(number, self._note) for number in callbacks}
        reactor.watch(self._receiver.fileno(), self)
        self._timer = Timer(reactor, self._call)
        reactor.in_breaks.append(self._timer)

    def ready(self, mask: int, now: float) -> None:
        """Call the functions of the signals that arrived."""
        self._receiver.recv(4096)
        self._call(now)

    def close(self) -> None:
        """Restore the previous handlers."""
        signal.set_wakeup_fd(self._previous_fd)
        for number, previous in self._previous.items():
            signal.signal(number, previous)
        self._reactor.unwatch(self._receiver.fileno())
        self._reactor.in_breaks.remove(self._timer)
        self._receiver.close()
        self._sender.close()

    def _note(self, number: int, frame: object) -> None:
        self._arrived.append(number)

    def _call(self, now: float) -> None:
        while self._arrived:
            self._callbacks[self._arrived.pop(0)](now)
