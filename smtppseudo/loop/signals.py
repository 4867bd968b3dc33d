"""Signals as events of the loop."""

import signal
import socket
from collections.abc import Callable, Mapping
from functools import partial

from smtppseudo.loop.reactor import READ, Reactor, Timer


class Signals:
    """Calls a function in a turn of the loop for each signal. For the main thread only.

    `close` restores the previous handlers.
    """

    def __init__(self, reactor: Reactor, callbacks: Mapping[int, Callable[[float], None]]) -> None:
        self.fault = reactor.report_fault
        self._reactor = reactor
        self._callbacks = callbacks
        self._receiver, self._sender = socket.socketpair()
        self._receiver.setblocking(False)
        self._sender.setblocking(False)
        self._previous_fd = signal.set_wakeup_fd(self._sender.fileno(), warn_on_full_buffer=False)
        self._previous = {number: signal.signal(number, _do_nothing) for number in callbacks}
        reactor.watch(self._receiver.fileno(), self)
        self._timer = Timer(reactor, partial(self.ready, READ))
        reactor.in_breaks.append(self._timer)

    def ready(self, mask: int, now: float) -> None:
        """Call the functions of the signals that arrived."""
        try:
            numbers = self._receiver.recv(4096)  # the wake-up socket has one byte for each signal
        except BlockingIOError:
            return
        for number in numbers:
            callback = self._callbacks.get(number)
            if callback is not None:
                callback(now)

    def close(self) -> None:
        """Restore the previous handlers."""
        signal.set_wakeup_fd(self._previous_fd)
        for number, previous in self._previous.items():
            signal.signal(number, previous)
        self._reactor.unwatch(self._receiver.fileno())
        self._reactor.in_breaks.remove(self._timer)
        self._receiver.close()
        self._sender.close()


def _do_nothing(number: int, frame: object) -> None:
    """Replace the default action; the interpreter itself writes the number to the wake-up socket."""
