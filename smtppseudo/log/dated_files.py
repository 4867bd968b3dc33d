"""Dated log files: one a day; old ones are removed. A file that cannot be written never stops the server."""

import os
import re
import shutil
import stat
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import Final

from smtppseudo.config.settings import Settings
from smtppseudo.files import open_log
from smtppseudo.log.lost_lines import LostLines

CHECK_EVERY_S: Final = 1.0
# .log.1, .log-20261125, .log.2.gz; with `extension .log` in logrotate's settings .1.log
_ROTATION: Final = r"(?:[._-]\d+)*"
LOG_NAME: Final = re.compile(
    rf"(?P<day>\d{{4}}-\d\d-\d\d)(?P<inner>{_ROTATION})\.log(?P<outer>{_ROTATION})"
    r"(?P<packed>\.(?:gz|Z|bz2|lz|lz4|lzma|lzo|xz|zip|zst))?",
    re.ASCII,
)
"""The name of a log file: YYYY-MM-DD.log, or what logrotate and gzip make of it."""
_DAY_S: Final = 86_400


class DatedLog:
    """Writes lines to `log_dir`/YYYY-MM-DD.log, the lines of a loop turn with one system call.

    Several processes may write to one directory: each write appends whole lines. If a file was renamed or removed, a
    new one is opened within a second. `account` counts the lines that could not be written. When writing works again,
    a partial line is ended first. Calls `on_trouble` with a message when lines begin to be lost. `used` is the part of
    the day's bytes that was used at the last check.
    """

    def __init__(self, settings: Settings, on_trouble: Callable[[str], None]) -> None:
        self.account = LostLines(on_trouble)
        self.used = 0.0
        self._directory = self._path = Path(settings.log_dir)
        self._max_bytes = settings.log_max_bytes_per_day or inf
        self._min_free_bytes = settings.log_min_free_bytes
        self._on_trouble = on_trouble
        self._old_logs = OldLogs(self._directory, settings.log_keep_days, on_trouble)
        self._fd = -1
        self._day = ""
        self._bytes = 0  # the size of today's file at the last check, and the bytes written since then
        self._check_at = 0.0
        self._lines_since_check = 0
        self._trouble = ""  # why no line can be written now

    def prepare(self, day: str, now: float) -> int:
        """Open or check the file before a `write`; return how many lost lines the first line written must report.

        `day` is the local date, `now` monotonic seconds.
        """
        if day != self._day:
            self._close()
            self._day = day
            self._path = self._directory / f"{day}.log"
            self._check(now)
            self._old_logs.begin_day(day, now)
        elif now >= self._check_at:
            self._check(now)
        return self.account.report(can_write=not self._trouble)

    def write(self, lines: list[str], now: float) -> int:
        """Write lines, LF included, or count them as lost; return their size in bytes."""
        account = self.account
        data = account.encode(lines)
        size = len(data)
        if self._trouble:
            account.lose(len(lines))
            return size
        written = 0
        if self._bytes + size > self._max_bytes:
            self._begin_trouble("log_max_bytes_per_day is reached", now)
        else:
            try:
                while written < size:
                    written += os.write(self._fd, data[written:] if written else data)
            except OSError as error:
                self._begin_trouble(error.strerror or str(error), now)
            self._bytes += written
        self._lines_since_check += account.record_write(len(lines), data, written)
        return size

    def reopen(self) -> None:
        """Close the file; the next `prepare` opens the file of the day."""
        self._close()
        self._day = ""

    def close(self) -> None:
        """Flush the file to the disk and close it."""
        if self._fd >= 0:
            self._try(os.fsync, self._fd)
        self._close()

    def _begin_trouble(self, reason: str, now: float) -> None:
        """Count all lines as lost until a check succeeds."""
        self._check_at = now + CHECK_EVERY_S
        self._trouble = reason
        self.account.begin_trouble(str(self._path), reason)

    def _check(self, now: float) -> None:
        """Check, at most once a second, that the open file still has its name and may grow."""
        self._check_at = now + CHECK_EVERY_S
        self._trouble = ""
        try:
            if self._fd >= 0:
                self._close_if_moved()
            if self._fd < 0:
                self._open()
            if self._min_free_bytes:
                self._check_free_bytes()
        except OSError as error:
            self._close()
            self._begin_trouble(error.strerror or str(error), now)
        self._lines_since_check = 0
        self.used = self._bytes / self._max_bytes

    def _close_if_moved(self) -> None:
        opened = os.fstat(self._fd)
        try:
            is_named = os.path.samestat(self._path.lstat(), opened)
        except FileNotFoundError:
            is_named = False
        except OSError:
            is_named = opened.st_nlink > 0  # without permission on the directory, the open file can still be written
        if is_named:
            self._bytes = opened.st_size  # other processes may write to it or truncate it
            return
        if opened.st_nlink == 0:
            self.account.reason = "the log file was removed"
            self._on_trouble(f"{self._path}: the log file was removed; opening a new one")
            self.account.lose(self._lines_since_check)
        self._close()

    def _open(self) -> None:
        self._directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        self._fd = open_log(self._path)
        status = os.fstat(self._fd)
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISCHR(status.st_mode)):
            raise OSError(0, "not a regular file")
        if status.st_size:
            os.lseek(self._fd, -1, os.SEEK_END)  # O_APPEND still writes at the end
        # After a crash of this or another process, the last line may lack its LF.
        self.account.is_cut_short = status.st_size > 0 and os.read(self._fd, 1) != b"\n"
        self._bytes = status.st_size

    def _check_free_bytes(self) -> None:
        if hasattr(os, "fstatvfs"):
            space = os.fstatvfs(self._fd)
            free_bytes = space.f_bavail * space.f_frsize
        else:  # Windows
            free_bytes = shutil.disk_usage(self._directory).free
        if free_bytes < self._min_free_bytes:
            raise OSError(0, "fewer than log_min_free_bytes are free on the disk")

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            self._try(os.close, fd)  # after an error it is closed all the same (close(2))

    def _try(self, call: Callable[[int], None], fd: int) -> None:
        try:
            call(fd)
        except OSError as error:
            self._on_trouble(f"{self._path}: {error.strerror}; the last log lines may be lost")


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
