"""Old logs: removed when they have been kept long enough, unless the clock may be to blame."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

_DAY_S: Final = 86_400
_NAME: Final = re.compile(r"\d{4}-\d\d-\d\d\.log")


class OldLogs:
    """Removes logs of `directory` that are older than the last `keep_days` days; 0 = none.

    A clock that is set a year ahead makes every log look old: such a day, and a first day that finds nothing but
    old logs, removes none. If the clock is right after all, the next day does. `on_trouble` hears of that, and of what
    cannot be removed.
    """

    def __init__(self, directory: Path, keep_days: int, on_trouble: Callable[[str], None]) -> None:
        self._directory = directory
        self._keep_days = keep_days
        self._on_trouble = on_trouble
        self._day = ""  # the last day that was begun, and when that was
        self._begun_at = 0.0

    def begin_day(self, day: str, now: float) -> None:
        """Remove what is old when a local date begins, or is come back to; `now` is monotonic seconds."""
        before, begun_at = self._day, self._begun_at
        self._day, self._begun_at = day, now
        if not self._keep_days or day == before:
            return
        from datetime import date, timedelta  # noqa: PLC0415 - once a day

        today = date.fromisoformat(day)
        oldest = f"{today - timedelta(days=self._keep_days)}.log"
        of_today = self._directory / f"{day}.log"
        logs = [path for path in self._logs() if path != of_today]
        old = [path for path in logs if path.name < oldest]
        if before:
            is_doubtful = (today - date.fromisoformat(before)).days > (now - begun_at) / _DAY_S + 1
        else:
            is_doubtful = old == logs
        if old and is_doubtful:
            self._on_trouble(f"{of_today}: the clock may have been set; {len(old)} old logs stay until tomorrow")
            return
        for path in old:
            try:
                path.unlink()
            except OSError as error:
                self._on_trouble(f"{path}: {error.strerror}; this old log cannot be removed")

    def _logs(self) -> list[Path]:
        try:
            return [path for path in self._directory.iterdir() if _NAME.fullmatch(path.name)]
        except OSError:
            return []  # what is wrong with the directory is said when the log is opened
