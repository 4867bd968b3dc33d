"""The clock, read once a turn of the loop."""

import time
from collections.abc import Callable
from typing import Final

_MILLION: Final = 1_000_000


class Clock:
    """The time of this turn: `now` in monotonic seconds for deadlines, the wall clock only for what is shown.

    `monotonic` and `wall_ns` are the sources; tests give their own.
    """

    __slots__ = (
        "_day",
        "_greeting_date",
        "_monotonic",
        "_second",
        "_stamp",
        "_stamp_prefix",
        "_wall_ms",
        "_wall_ns",
        "now",
    )

    def __init__(
        self, monotonic: Callable[[], float] = time.monotonic, wall_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self._monotonic = monotonic
        self._wall_ns = wall_ns
        self._second = -1
        self.read()

    def read(self) -> None:
        """Begin a turn."""
        self.now = self._monotonic()
        self._wall_ms = self._wall_ns() // _MILLION
        self._stamp = ""

    @property
    def stamp(self) -> str:
        """RFC 3339, UTC, milliseconds: 2026-01-31T23:59:59.999Z."""
        if not self._stamp:
            self._renew_second()
            self._stamp = f"{self._stamp_prefix}{self._wall_ms % 1000:03d}Z"
        return self._stamp

    @property
    def day(self) -> str:
        """The local date, 2026-01-31."""
        self._renew_second()
        return self._day

    @property
    def greeting_date(self) -> str:
        """Local time as the greeting shows it: 06/01/2012 2:41:11 PM -0700. The same object within a second."""
        self._renew_second()
        return self._greeting_date

    def _renew_second(self) -> None:
        second = self._wall_ms // 1000
        if second == self._second:
            return
        self._second = second
        local = time.localtime(second)
        self._stamp_prefix = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second))
        self._day = time.strftime("%Y-%m-%d", local)
        half = "AM" if local.tm_hour < 12 else "PM"
        hour = local.tm_hour % 12 or 12
        self._greeting_date = time.strftime(f"%m/%d/%Y {hour}:%M:%S {half} %z", local)
