"""The loop: waits for sockets and deadlines, and hands each to whom it belongs."""

import selectors
from collections.abc import Callable
from typing import Final, Protocol

from smtppseudo.net.clock import Clock
from smtppseudo.timers import Wheel

READ = selectors.EVENT_READ
WRITE = selectors.EVENT_WRITE

# A turn in which 10,000 peers have pipelined 2 KiB each takes seconds: every so many peers it looks at the clock,
# and when so much time has passed, it takes a break.
_SLICE: Final = 4
_BREAK_EVERY_S: Final = 0.01


class Timed(Protocol):
    """What can be scheduled: `due` is called when its deadline has passed."""

    due_tick: int

    def due(self, now: float) -> None:
        """Do what the deadline was for; `now` is monotonic seconds."""

    def fault(self, error: Exception) -> None:
        """Give up alone, for `ready` or `due` raised what only a bug of ours can raise."""


class Watched(Timed, Protocol):
    """What can be watched: `ready` is called when its socket can be read or written."""

    def ready(self, mask: int, now: float) -> None:
        """Read or write, as `mask` (READ, WRITE) says."""


class Alarm:
    """Calls a function at a deadline."""

    __slots__ = ("_call", "_on_fault", "due_tick")

    def __init__(self, call: Callable[[float], None], on_fault: Callable[[Exception], None]) -> None:
        self._call = call
        self._on_fault = on_fault
        self.due_tick = 0

    def due(self, now: float) -> None:
        """Call it."""
        self._call(now)

    def fault(self, error: Exception) -> None:
        """Report the bug; the alarm is not set again by itself."""
        self._on_fault(error)


class Reactor:
    """One thread, one selector, one wheel of deadlines.

    `after_turn` is called at the end of each turn, when all that was ready and due has been seen to, and in the
    breaks of one that takes long, for what piles up until then must stay bounded. In these breaks the doors
    (listeners and signals) are seen to as well.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.wheel: Wheel[Timed] = Wheel()
        self.after_turn: Callable[[], None] = lambda: None
        self._selector = selectors.DefaultSelector()
        self._doors = selectors.DefaultSelector()
        self._stopped = False

    def watch(self, fd: int, watched: Watched, mask: int = READ) -> None:
        """Begin to watch a descriptor."""
        self._selector.register(fd, mask, watched)

    def watch_door(self, fd: int, watched: Watched) -> None:
        """Begin to watch a descriptor that must not wait for the end of a turn."""
        self.watch(fd, watched)
        self._doors.register(fd, READ, watched)

    def unwatch_door(self, fd: int) -> None:
        """Stop watching such a descriptor."""
        self.unwatch(fd)
        self._doors.unregister(fd)

    def rewatch(self, fd: int, watched: Watched, mask: int) -> None:
        """Change what a watched descriptor is watched for."""
        try:
            self._selector.modify(fd, mask, watched)
        except KeyError:  # hushed, where that ends the watch
            self.watch(fd, watched, mask)

    def hush(self, fd: int, watched: Watched) -> None:
        """Watch a descriptor for errors alone (`ready` with a mask of 0), until `rewatch`."""
        try:
            self._selector.modify(fd, 0, watched)
        except ValueError:
            pass  # kqueue and select(2) cannot: `modify` has ended the watch, and errors show when something is sent

    def unwatch(self, fd: int) -> None:
        """Stop watching, before the descriptor is closed."""
        try:
            self._selector.unregister(fd)
        except KeyError:
            pass  # hushed, where that ends the watch

    def run(self) -> None:
        """Turn until `stop`."""
        self._stopped = False
        while not self._stopped:
            self.turn()

    def stop(self) -> None:
        """Let `run` return after this turn."""
        self._stopped = True

    def turn(self, timeout_s: float | None = None) -> None:
        """Wait for sockets and deadlines, at most `timeout_s`, and see to them."""
        clock = self.clock
        next_due = self.wheel.next_due()
        if next_due is not None:
            wait_s = max(0.0, next_due - clock.now)
            timeout_s = wait_s if timeout_s is None else min(timeout_s, wait_s)
        ready = self._selector.select(timeout_s)
        clock.read()
        now = clock.now
        for start in range(0, len(ready), _SLICE):
            if start and clock.elapsed_s > _BREAK_EVERY_S:
                now = self._take_break()
            for key, mask in ready[start : start + _SLICE]:
                watched: Watched = key.data
                try:
                    watched.ready(mask, now)
                except Exception as error:  # noqa: BLE001 - our bug: it costs one connection, not the server
                    watched.fault(error)
        if next_due is not None and next_due <= now:
            self._see_to_due(now)
        self.after_turn()

    def close(self) -> None:
        """Give the selectors back."""
        self._selector.close()
        self._doors.close()

    def _see_to_due(self, now: float) -> None:
        due = self.wheel.take_due(now)
        for start in range(0, len(due), _SLICE):
            if start and self.clock.elapsed_s > _BREAK_EVERY_S:
                now = self._take_break()
            for timed in due[start : start + _SLICE]:
                try:
                    timed.due(now)
                except Exception as error:  # noqa: BLE001 - as above
                    timed.fault(error)

    def _take_break(self) -> float:
        """Finish with what has been seen to, and see to the doors; return the time."""
        self.after_turn()
        self.clock.read()
        now = self.clock.now
        for key, mask in self._doors.select(0):
            watched: Watched = key.data
            try:
                watched.ready(mask, now)
            except Exception as error:  # noqa: BLE001 - as above
                watched.fault(error)
        return now
