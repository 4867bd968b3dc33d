"""Retention: removes old logs, unless the clock may be wrong."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

# .log.1, .log-20261125, .log.2.gz; with `extension .log` in logrotate's settings .1.log
_ROTATION: Final = r"(?:[._-]\d+)*"
LOG_NAME: Final = re.compile(
    rf"(?P<day>\d{{4}}-\d\d-\d\d)(?P<inner>{_ROTATION})\.log(?P<outer>{_ROTATION})"
    r"(?P<packed>\.(?:gz|Z|bz2|lz|lz4|lzma|lzo|xz|zip|zst))?",
    re.ASCII,
)
"""The name of a log file: YYYY-MM-DD.log, or what logrotate and gzip make of it."""
_DAY_S: Final = 86_400


class OldLogs:
    """Removes logs of `directory` that are older than `keep_days` days, also rotated and compressed ones; 0 = none.

    A clock that jumps ahead makes every log look old. So no log is removed on a day to which the clock jumped, or on a
    first day with nothing but old logs. If the clock is right, they are removed on the next day. Calls `on_trouble`
    with a message then, and for each log that cannot be removed.
    """

    def __init__(self, directory: Path, keep_days: int, on_trouble: Callable[[str], None]) -> None:
        self._directory = directory
        self._keep_days = keep_days
        self._on_trouble = on_trouble
        self._day = ""
        self._begun_at = 0.0  # when `_day` began, monotonic seconds

    def begin_day(self, day: str, now: float) -> None:
        """Remove old logs if `day` is not the local date of the last call; `now` is monotonic seconds."""
        before, begun_at = self._day, self._begun_at
        self._day, self._begun_at = day, now
        if not self._keep_days or day == before:
            return
        from datetime import date, timedelta  # noqa: PLC0415 - once a day

        today = date.fromisoformat(day)
        oldest = str(today - timedelta(days=self._keep_days))
        try:
            logs = [log for log in self._directory.iterdir() if LOG_NAME.fullmatch(log.name) and log.name[:10] != day]
        except OSError:
            return  # opening the log reports the error
        old = [path for path in logs if path.name[:10] < oldest]
        if before:
            is_doubtful = (today - date.fromisoformat(before)).days > (now - begun_at) / _DAY_S + 1
        else:
            is_doubtful = old == logs
        if old and is_doubtful:
            log = self._directory / f"{day}.log"
            self._on_trouble(f"{log}: the clock may be wrong; {len(old)} old logs are kept until tomorrow")
            return
        for path in old:
            try:
                path.unlink()
            except OSError as error:
                self._on_trouble(f"{path}: {error.strerror}; this old log cannot be removed")
