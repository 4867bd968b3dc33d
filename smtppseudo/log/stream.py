"""The log on a descriptor: standard output, for containers and journald."""

import os
import select
from collections.abc import Callable
from typing import Final

from smtppseudo.log.lost_lines import LostLines

RETRY_EVERY_S: Final = 1.0
TOO_SLOW: Final = "its reader is too slow"
# POSIX: a write of this size does not block if select(2) reports the pipe as writable.
_PIECE_BYTES: Final[int] = getattr(select, "PIPE_BUF", 512)


class LogStream:
    """Writes lines to `fd`, and never waits for its reader.

    `account` counts the lines that cannot be written at once, as for DatedLog. When writing works again, a partial line
    is ended first. Calls `on_trouble` with a message when lines begin to be lost.
    """

    used = 0.0  # of no limit

    def __init__(self, fd: int, on_trouble: Callable[[str], None]) -> None:
        self.account = LostLines(on_trouble)
        self._fd = fd
        self._retry_at = 0.0

    def prepare(self, day: str, now: float) -> int:  # noqa: ARG002 - a stream has no days
        """Return how many lost lines the first line written must report; `now` is monotonic seconds."""
        can_write = not self.account.unreported or (now >= self._retry_at and _has_room(self._fd))
        return self.account.report(can_write=can_write)

    def write(self, lines: list[str], now: float) -> int:
        """Write lines, LF included, or count them as lost; return their size in bytes."""
        account = self.account
        data = account.encode(lines)
        written = 0
        if now >= self._retry_at:
            written, error = write_at_once(self._fd, data)
            if error is not None:
                self._retry_at = now + RETRY_EVERY_S
            if written < len(data):
                account.begin_trouble("standard output", (error.strerror or str(error)) if error else TOO_SLOW)
        account.record_write(len(lines), data, written)
        return len(data)

    def reopen(self) -> None:
        """Retry at the next `write`, even soon after an error."""
        self._retry_at = 0.0

    def close(self) -> None:
        """Do nothing: the parent process owns the descriptor."""


def write_at_once(fd: int, data: bytes) -> tuple[int, OSError | None]:
    """Write as many bytes as possible without waiting; return their number, and the error that prevented more.

    The descriptor need not be non-blocking: other processes may share it and rely on its blocking mode.
    """
    written = 0
    try:
        while written < len(data) and _has_room(fd):
            end = written + _PIECE_BYTES
            if end < len(data):  # up to the last LF, if there is one
                end = data.rfind(b"\n", written, end) + 1 or end
            written += os.write(fd, data[written:end])
    except OSError as error:
        return written, error
    return written, None


def _has_room(fd: int) -> bool:
    return os.name == "nt" or bool(select.select([], [fd], [], 0)[1])  # on Windows, it accepts only sockets
