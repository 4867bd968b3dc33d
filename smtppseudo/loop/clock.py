"""The clock, read once a turn of the loop."""

import time
from collections.abc import Callable


class Clock:
    """The time of this turn: `now` in monotonic seconds for deadlines, the wall clock only for display.

    `second` counts the seconds since 1970. `stamp` is RFC 3339, UTC, with milliseconds: 2026-01-31T23:59:59.999Z.
    `day` is the local date, 2026-01-31, and `midnight` the stamp of its beginning. `greeting_date` is the local time in
    the greeting's format, 06/01/2012 2:41:11 PM -0700; it is a new object each second.
    """

    __slots__ = ("_stamp_prefix", "_wall_ns", "day", "greeting_date", "midnight", "monotonic", "now", "second", "stamp")

    def __init__(
        self, monotonic: Callable[[], float] = time.monotonic, wall_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self.monotonic = monotonic
        self._wall_ns = wall_ns
        self.second = -1
        self.day = self.midnight = ""
        self.read()

    def read(self) -> None:
        """Read both clocks, at the beginning of a turn."""
        self.now = self.monotonic()
        second, millisecond = divmod(self._wall_ns() // 1_000_000, 1000)
        if second != self.second:
            self._begin_second(second)
        self.stamp = f"{self._stamp_prefix}{millisecond:03d}Z"

    def stamp_at(self, monotonic: float) -> str:
        """Format an earlier time, in monotonic seconds, like `stamp`."""
        return _stamp(*divmod(self._wall_ns() // 1_000_000 - round((self.now - monotonic) * 1000), 1000))

    def _begin_second(self, second: int) -> None:
        self.second = second
        local = time.localtime(second)
        half = "AM" if local.tm_hour < 12 else "PM"
        hour = local.tm_hour % 12 or 12
        self._stamp_prefix = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second))
        day = time.strftime("%Y-%m-%d", local)
        if day != self.day:
            self.day = day
            self.midnight = _stamp(int(time.mktime((*local[:3], 0, 0, 0, 0, 0, -1))), 0)
        self.greeting_date = time.strftime(f"%m/%d/%Y {hour}:%M:%S {half} %z", local)


def _stamp(second: int, millisecond: int) -> str:
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(second))}.{millisecond:03d}Z"
