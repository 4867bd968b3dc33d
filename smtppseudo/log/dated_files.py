"""Dated log files: one a day. A file that cannot be written never stops the server."""

import os
import shutil
import stat
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import Final

from smtppseudo.config.settings import Settings
from smtppseudo.files import open_log
from smtppseudo.log.lost_lines import LostLines
from smtppseudo.log.retention import OldLogs

CHECK_EVERY_S: Final = 1.0


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
        fd = open_log(self._path)
        try:
            status = os.fstat(fd)
            if not (stat.S_ISREG(status.st_mode) or stat.S_ISCHR(status.st_mode)):
                raise OSError(0, "not a regular file")  # noqa: TRY301 - it is closed like after other errors
            if status.st_size:
                os.lseek(fd, -1, os.SEEK_END)  # O_APPEND still writes at the end
            # After a crash of this or another process, the last line may lack its LF.
            self.account.is_cut_short = status.st_size > 0 and os.read(fd, 1) != b"\n"
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd
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
