"""The loop: waits for sockets and deadlines, and hands each to whom it belongs."""

import selectors
from collections.abc import Callable
from typing import Final, Protocol

from smtppseudo.loop.clock import Clock
from smtppseudo.loop.stutter import Stutter
from smtppseudo.loop.wheel import Wheel

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


class Acceptor(Watched, Protocol):
    """Where newcomers wait: `admit` lets them in, once all else that was ready in the turn has been seen to."""

    def admit(self, now: float) -> None:
        """Take newcomers in."""


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


def _ignore(error: Exception) -> None:
    """Do nothing about a bug: nobody wants to hear of it yet."""


class Reactor:
    """One thread, one selector, one wheel of deadlines, one stutter.

    `after_turn` is called at the end of each turn, when all that was ready and due has been seen to, and in the
    breaks of one that takes long, for what piles up until then must stay bounded. In these breaks the doors
    (listeners and signals) are seen to as well. `on_fault` is called with what `after_turn` raises, which only a bug
    of ours can. `turns` counts the turns.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.wheel: Wheel[Timed] = Wheel()
        self.stutter = Stutter(self.wheel)
        self.after_turn: Callable[[], None] = lambda: None
        self.on_fault: Callable[[Exception], None] = _ignore
        self.turns = 0
        self._selector = selectors.DefaultSelector()
        self._acceptors = selectors.DefaultSelector()
        self._accepting: list[Acceptor] = []
        self._stopped = False

    def watch(self, fd: int, watched: Watched, mask: int = READ) -> None:
        """Begin to watch a descriptor."""
        self._selector.register(fd, mask, watched)

    def watch_acceptor(self, fd: int, watched: Watched) -> None:
        """Begin to watch a descriptor that must not wait for the end of a turn.

        Raises OSError; then it is not watched.
        """
        self.watch(fd, watched)
        try:
            self._acceptors.register(fd, READ, watched)
        except OSError:
            self.unwatch(fd)
            raise

    def accept_at_end_of_turn(self, door: Acceptor) -> None:
        """Have newcomers let in behind all that is ready now: who leaves makes room for them."""
        self._accepting.append(door)

    def unwatch_acceptor(self, fd: int) -> None:
        """Stop watching such a descriptor."""
        self.unwatch(fd)
        self._acceptors.unregister(fd)

    def rewatch(self, fd: int, watched: Watched, mask: int) -> None:
        """Change what a watched descriptor is watched for; 0 is errors alone.

        Raises OSError; then it is watched no more.
        """
        try:
            self._selector.modify(fd, mask, watched)
        except KeyError:  # a mask of 0 has ended the watch
            self.watch(fd, watched, mask)
        except ValueError:
            pass  # kqueue and select(2) cannot watch for errors alone: they show when something is sent

    def unwatch(self, fd: int) -> None:
        """Stop watching, before the descriptor is closed."""
        try:
            self._selector.unregister(fd)
        except KeyError:
            pass  # a `rewatch` that failed, or a mask of 0, has done it

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
        self.turns += 1
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
        if self._accepting:
            self._accept_waiting(now)
        if next_due is not None and next_due <= now:
            self._see_to_due(now)
        self._finish()

    def close(self) -> None:
        """Give the selectors back."""
        self._selector.close()
        self._acceptors.close()

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

    def _finish(self) -> None:
        try:
            self.after_turn()
        except Exception as error:  # noqa: BLE001 - our bug: it costs what was to be done, not the server
            self.on_fault(error)

    def _take_break(self) -> float:
        """Finish with what has been seen to, and see to the doors; return the time."""
        self._finish()
        self.clock.read()
        now = self.clock.now
        for key, mask in self._acceptors.select(0):
            watched: Watched = key.data
            try:
                watched.ready(mask, now)
            except Exception as error:  # noqa: BLE001 - as above
                watched.fault(error)
        self._accept_waiting(now)
        return now

    def _accept_waiting(self, now: float) -> None:
        doors, self._accepting = self._accepting, []
        for door in doors:
            try:
                door.admit(now)
            except Exception as error:  # noqa: BLE001 - as above
                door.fault(error)
