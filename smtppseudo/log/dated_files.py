"""The journal: dated log files that lose no line that could be written, and never stop the server."""

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from smtppseudo.log.lost_lines import Lost, LostLines
from smtppseudo.log.retention import OldLogs

CHECK_EVERY_S: Final = 1.0
_FLAGS: Final = (
    os.O_RDWR
    | os.O_APPEND
    | os.O_CREAT
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_BINARY", 0)
)


class Limits(NamedTuple):
    """What a journal may take of the disk; 0 = no limit."""

    keep_days: int = 90
    max_bytes_per_day: int = 1 << 30
    min_free_bytes: int = 256 << 20


class DatedLog:
    """Writes lines to `directory`/YYYY-MM-DD.log, all of a loop turn with one system call.

    Several processes may write to one directory: each write appends whole lines. A file that was renamed or
    removed is opened anew within a second. What cannot be written is lost, and `account` counts it; when
    writing works again, a line that was cut short is ended, and `prepare` says what is to be told of the loss.
    `on_trouble` hears when losing begins.
    """

    def __init__(self, directory: Path, limits: Limits, on_trouble: Callable[[str], None]) -> None:
        self.account = LostLines()
        self._directory = directory
        self._limits = limits
        self._on_trouble = on_trouble
        self._old_logs = OldLogs(directory, limits.keep_days, on_trouble)
        self._fd = -1
        self._path = directory
        self._day = ""
        self._bytes = 0  # the size of today's file, as far as we know
        self._check_at = 0.0
        self._lines_since_check = 0
        self._trouble = ""  # why nothing can be written at present
        self._said = ""

    def prepare(self, day: str, now: float) -> Lost | None:
        """See to the file before a `write`; say what was lost, if it can be told now.

        `day` is the local date, `now` monotonic seconds. What is told goes first among the lines written.
        """
        if day != self._day:
            self._roll(day, now)
        elif now >= self._check_at:
            self._check(now)
        return self.account.to_tell(can_write=not self._trouble)

    def write(self, lines: list[str], now: float) -> int:
        """Write lines, LF included, or count them as lost; say how many bytes they are."""
        account = self.account
        data = account.encode(lines)
        size = len(data)
        if self._trouble:
            account.lose(len(lines))
            return size
        written = 0
        if 0 < self._limits.max_bytes_per_day < self._bytes + size:
            self._begin_trouble("log_max_bytes_per_day is reached", now)
        else:
            written = self._append(data, now)
            if written == size:
                self._said = ""
        self._lines_since_check += account.settle(len(lines), data, written)
        return size

    def reopen(self) -> None:
        """Close the file; the next `prepare` opens it anew, under its name of the day."""
        self._close()
        self._day = ""

    def close(self) -> None:
        """Bring all to the disk and close."""
        if self._fd >= 0:
            try:
                os.fsync(self._fd)
            except OSError as error:
                self._on_trouble(f"{self._path}: {error.strerror}; the last log lines may be lost")
        self._close()

    def _append(self, data: bytes, now: float) -> int:
        written = 0
        try:
            while written < len(data):
                written += os.write(self._fd, data[written:] if written else data)
        except OSError as error:
            self._begin_trouble(error.strerror or str(error), now)
        self._bytes += written
        return written

    def _begin_trouble(self, reason: str, now: float) -> None:
        """Note that nothing can be written, until a check finds otherwise."""
        self._check_at = now + CHECK_EVERY_S
        self._trouble = self.account.reason = reason
        if reason != self._said:
            self._said = reason
            self._on_trouble(f"{self._path}: {reason}; log lines are lost until writing works again")

    def _roll(self, day: str, now: float) -> None:
        """Begin a new day's file."""
        self._close()
        self._day = day
        self._path = self._directory / f"{day}.log"
        self._trouble = ""
        self._check(now)
        self._old_logs.begin_day(day, now)

    def _check(self, now: float) -> None:
        """Once a second: is the file still the one under its name, and may it grow?"""
        self._check_at = now + CHECK_EVERY_S
        self._trouble = ""
        try:
            if self._fd >= 0:
                self._leave_if_moved()
            if self._fd < 0:
                self._open()
            self._check_floor()
        except OSError as error:
            self._close()
            self._begin_trouble(error.strerror or str(error), now)
        self._lines_since_check = 0

    def _leave_if_moved(self) -> None:
        ours = os.fstat(self._fd)
        try:
            there = self._path.lstat()
        except FileNotFoundError:
            there = None
        except OSError:
            # It cannot be looked at, as when permission was taken away; but what is open can be written to.
            there = ours if ours.st_nlink else None
        if there is not None and (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino):
            self._bytes = ours.st_size  # others may write to it, or truncate it
            return
        if ours.st_nlink == 0:
            self.account.reason = "the log file was removed"
            self._on_trouble(f"{self._path}: the log file was removed; a new one is begun")
            self.account.lose(self._lines_since_check)
        self._close()

    def _open(self) -> None:
        self._directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        fd = os.open(self._path, _FLAGS, 0o640)
        try:
            status = _status_of_log(fd)
            # After a crash, ours or another's, the last line may have no end.
            self.account.cut_short = status.st_size > 0 and not _ends_in_line_end(fd)
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd
        self._bytes = status.st_size

    def _check_floor(self) -> None:
        floor = self._limits.min_free_bytes
        if floor and self._free_bytes() < floor:
            raise OSError(0, "fewer than log_min_free_bytes are free on the disk")

    def _free_bytes(self) -> int:
        if not hasattr(os, "fstatvfs"):  # Windows
            return shutil.disk_usage(self._directory).free
        space = os.fstatvfs(self._fd)
        return space.f_bavail * space.f_frsize

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            try:
                os.close(fd)
            except OSError as error:  # it is closed all the same (close(2)), but what was written may be lost
                self._on_trouble(f"{self._path}: {error.strerror}; the last log lines may be lost")


def _status_of_log(fd: int) -> os.stat_result:
    status = os.fstat(fd)
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISCHR(status.st_mode)):
        raise OSError(0, "not a regular file")
    return status


def _ends_in_line_end(fd: int) -> bool:
    os.lseek(fd, -1, os.SEEK_END)  # where O_APPEND writes is not changed by it
    return os.read(fd, 1) == b"\n"
