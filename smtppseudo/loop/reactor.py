"""The event loop: waits for sockets and deadlines, and calls the objects that they belong to."""

import contextlib
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from smtppseudo.loop.clock import Clock
from smtppseudo.loop.selector import make_selector
from smtppseudo.loop.stutter import Stutter
from smtppseudo.loop.wheel import Timed, Wheel

# A turn in which 10,000 peers have pipelined 2 KiB each takes seconds. The loop looks at the clock after each slice,
# and takes a break when that much time has passed.
_SLICE: Final = 4
_BREAK_EVERY_S: Final = 0.01
_WAIT_MAX_S: Final = 86_400.0  # epoll_wait(2) and poll(2) take at most 24 days


class Watched(Protocol):
    """An object with a watched descriptor. `ready` is called when that is ready, or has an error."""

    def ready(self, now: float, /) -> None: ...
    def fault(self, error: Exception, /) -> None: ...


class Timer:
    """Calls the function `due` once, at a deadline or at the end of a turn. What it raises is reported as a bug."""

    __slots__ = ("due", "due_tick", "fault")

    def __init__(self, reactor: "Reactor", due: Callable[[float], None]) -> None:
        self.due = due
        self.fault = reactor.fault
        self.due_tick = 0


class Reactor:
    """One thread, one selector, one wheel of deadlines, one stutter.

    `after_turn` is called at the end of each turn. A long turn has breaks, which call `after_turn` too, so that a batch
    of events stays bounded, then the calls of `call_soon` and everything in `in_breaks` (listeners). Everything in
    `at_end_of_turn` is called once, in the next break, or when everything that is ready has been served. `on_fault`
    receives the bugs of the server, except that `on_after_turn_fault` receives what `after_turn` raises.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.wheel = Wheel()
        self.stutter = Stutter(self.wheel)
        self.after_turn: Callable[[], None] = lambda: None
        self.on_fault: Callable[[Exception], None] = lambda error: None  # noqa: ARG005
        self.on_after_turn_fault: Callable[[Exception], None] = lambda error: None  # noqa: ARG005
        self.in_breaks: list[Timed] = []
        self.at_end_of_turn: list[Timed] = []
        self.turns = 0
        self._selector = selector = make_selector()
        self.watch, self.rewatch, self.unwatch = selector.watch, selector.rewatch, selector.unwatch
        self.unwatch_own = selector.forget  # of a socket that no other process holds
        self._is_stopped = False
        self._calls: list[Callable[[float], None]] = []
        self._wake_receiver, self._wake_sender = socket.socketpair()
        self._wake_receiver.setblocking(False)
        self._wake_sender.setblocking(False)
        self.watch(self._wake_receiver.fileno(), self)

    def call_soon(self, call: Callable[[float], None]) -> None:
        """Call a function with the time, in the next turn or break. Any thread and any signal handler may call this."""
        self._calls.append(call)
        with contextlib.suppress(BlockingIOError):  # full of bytes that will wake it
            self._wake_sender.send(b"\0")

    def call_on_signals(self, calls: Mapping[int, Callable[[float], None]]) -> Callable[[], None]:
        """Call a function soon for each signal. Return a function that restores the previous handlers."""

        def on_signal(number: int, _: object) -> None:
            self.call_soon(calls[number])

        def restore() -> None:
            signal.set_wakeup_fd(previous_fd)
            for number, handler in previous.items():
                signal.signal(number, handler)

        # Without it, a signal that comes just before the selector waits would be handled only after the wait.
        previous_fd = signal.set_wakeup_fd(self._wake_sender.fileno(), warn_on_full_buffer=False)
        previous = {number: signal.signal(number, on_signal) for number in calls}
        return restore

    def ready(self, now: float) -> None:
        """Make the calls of `call_soon`; a byte has woken the selector."""
        self._wake_receiver.recv(4096)
        self._make_calls(now)

    def fault(self, error: Exception, /) -> None:
        """Report a bug of the server."""
        self.on_fault(error)

    def run(self) -> None:
        """Run turns until `stop`."""
        self._is_stopped = False
        while not self._is_stopped:
            self.turn()

    def stop(self) -> None:
        """Make `run` return after this turn."""
        self._is_stopped = True

    def turn(self, timeout_s: float | None = None) -> None:
        """Wait for sockets and deadlines, at most `timeout_s`, and serve them."""
        clock = self.clock
        next_due = self.wheel.next_due()
        if next_due is not None:
            wait_s = next_due - clock.now
            if not 0.0 <= wait_s <= _WAIT_MAX_S:
                wait_s = 0.0 if wait_s < 0.0 else _WAIT_MAX_S
            timeout_s = wait_s if timeout_s is None else min(timeout_s, wait_s)
        ready = self._selector.objects(timeout_s)
        self.turns += 1
        clock.read()
        now = clock.now
        for start in range(0, len(ready), _SLICE):
            if start and clock.monotonic() - now > _BREAK_EVERY_S:
                now = self._take_break()
            self._call_ready(ready[start : start + _SLICE], now)
        if self.at_end_of_turn:
            ended, self.at_end_of_turn = self.at_end_of_turn, []
            self._call_due(ended, now)
        if next_due is not None and next_due <= now:
            due = self.wheel.take_due(now)
            for start in range(0, len(due), _SLICE):
                if start and clock.monotonic() - now > _BREAK_EVERY_S:
                    now = self._take_break()
                self._call_due(due[start : start + _SLICE], now)
        self._finish()

    def close(self) -> None:
        """Close the selector, and the sockets that wake it."""
        self._selector.close()
        self._wake_receiver.close()
        self._wake_sender.close()

    def _make_calls(self, now: float) -> None:
        while self._calls:
            try:
                self._calls.pop(0)(now)
            except Exception as error:  # noqa: BLE001 - a bug costs one call, not the server
                self.fault(error)

    def _call_ready(self, ready: Sequence[Watched], now: float) -> None:
        for watched in ready:
            try:
                watched.ready(now)
            except Exception as error:  # noqa: BLE001 - a bug costs one connection, not the server
                watched.fault(error)

    def _call_due(self, due: Sequence[Timed], now: float) -> None:
        for timed in due:
            try:
                timed.due(now)
            except Exception as error:  # noqa: BLE001 - as above
                timed.fault(error)

    def _finish(self) -> None:
        try:
            self.after_turn()
        except Exception as error:  # noqa: BLE001 - a bug costs one batch, not the server
            self.on_after_turn_fault(error)

    def _take_break(self) -> float:
        """Call `after_turn`, the calls of `call_soon`, `at_end_of_turn` and `in_breaks`; return the time."""
        self._finish()
        self.clock.read()
        now = self.clock.now
        self._make_calls(now)
        due = dict.fromkeys([*self.at_end_of_turn, *self.in_breaks])  # once each
        self.at_end_of_turn = []
        self._call_due(list(due), now)
        return now
