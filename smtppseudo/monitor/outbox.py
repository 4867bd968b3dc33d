"""The outbox: frames that wait for a monitor, in bounded memory even if it reads slowly."""

from collections import deque
from collections.abc import Iterator
from typing import Final, TypeAlias

from smtppseudo.monitor.codec import encode

EVENTS_MAX: Final = 1_000
BYTES_MAX: Final = 1 << 20
TAKE_BYTES: Final = 65_536

_Frames: TypeAlias = tuple[bytes, int]  # frames that are sent or dropped together, and how many of them are events


class Outbox:
    """A queue of replies and events. Over the limits the oldest events are dropped, never a reply.

    The next data taken then begins with a `dropped` frame that holds their number. `events_max` and `bytes_max` are
    security limits for the events in this queue; data already taken does not count.
    """

    def __init__(self, events_max: int = EVENTS_MAX, bytes_max: int = BYTES_MAX) -> None:
        self._events_max = events_max
        self._bytes_max = bytes_max
        self._queue: deque[_Frames | Iterator[bytes]] = deque()
        self._undropped: deque[_Frames] = deque()  # the items of _queue that hold events
        self._events = 0
        self._bytes = 0  # of events
        self._dropped = 0

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return bool(self._queue) or self._dropped > 0

    def put(self, data: bytes) -> None:
        """Add a frame that must not be dropped."""
        self._queue.append((data, 0))

    def put_lazily(self, frames: Iterator[bytes]) -> None:
        """Add frames of at most 64 KiB each, which are rendered only when they can be sent."""
        self._queue.append(frames)

    def put_events(self, data: bytes, count: int) -> None:
        """Add the frames of `count` events."""
        frames = (data, count)
        self._queue.append(frames)
        self._undropped.append(frames)
        self._events += count
        self._bytes += len(data)
        while self._events > self._events_max or self._bytes > self._bytes_max:
            oldest = self._undropped[0]
            self._dropped += oldest[1]
            self._queue.remove(oldest)  # near the front: only a few replies come before it
            self._taken(oldest)

    def take(self) -> bytes:
        """Remove and return frames: at least one if any wait, and no further one after 64 KiB."""
        parts: list[bytes] = []
        size = 0
        if self._dropped:
            parts.append(encode({"type": "dropped", "count": self._dropped}))
            self._dropped = 0
        while self._queue and size < TAKE_BYTES:
            first = self._queue[0]
            if isinstance(first, tuple):
                data, events = first
                self._queue.popleft()
                if events:
                    self._taken(first)
            else:
                data = next(first, b"")
                if not data:
                    self._queue.popleft()
            parts.append(data)
            size += len(data)
        return b"".join(parts)

    def _taken(self, frames: _Frames) -> None:
        self._undropped.popleft()
        self._events -= frames[1]
        self._bytes -= len(frames[0])
