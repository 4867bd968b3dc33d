"""Signals as calls in a turn of the loop."""

import signal
from collections.abc import Callable, Mapping

from smtppseudo.loop.reactor import Reactor


class Signals:
    """Calls a function in a turn of the loop for each signal. For the main thread only.

    `close` restores the previous handlers.
    """

    def __init__(self, reactor: Reactor, callbacks: Mapping[int, Callable[[float], None]]) -> None:
        self._reactor = reactor
        self._callbacks = callbacks
        # Without it, a signal that comes just before the selector waits would be handled only after the wait.
        self._previous_fd = signal.set_wakeup_fd(reactor.wake_fd, warn_on_full_buffer=False)
        self._previous = {number: signal.signal(number, self._note) for number in callbacks}

    def close(self) -> None:
        """Restore the previous handlers."""
        signal.set_wakeup_fd(self._previous_fd)
        for number, previous in self._previous.items():
            signal.signal(number, previous)

    def _note(self, number: int, frame: object) -> None:
        self._reactor.call_soon(self._callbacks[number])
