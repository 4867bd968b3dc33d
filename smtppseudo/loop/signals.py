"""Signals as calls in a turn of the loop."""

import signal
from collections.abc import Callable, Mapping

from smtppseudo.loop.reactor import Reactor


def call_on_signals(reactor: Reactor, callbacks: Mapping[int, Callable[[float], None]]) -> Callable[[], None]:
    """Call a function in a turn of the loop for each signal. Return a function that restores the previous handlers.

    For the main thread only.
    """

    def note(number: int, _: object) -> None:
        reactor.call_soon(callbacks[number])

    def restore() -> None:
        signal.set_wakeup_fd(previous_fd)
        for number, handler in previous.items():
            signal.signal(number, handler)

    # Without it, a signal that comes just before the selector waits would be handled only after the wait.
    previous_fd = signal.set_wakeup_fd(reactor.wake_fd, warn_on_full_buffer=False)
    previous = {number: signal.signal(number, note) for number in callbacks}
    return restore
