"""The log as a stream on a descriptor: standard output, for containers and journald."""

import os
import select
from collections.abc import Callable
from typing import Final

from smtppseudo.log.lost_lines import Lost, LostLines

RETRY_EVERY_S: Final = 1.0
TOO_SLOW: Final = "its reader is too slow"
# So much can be written without waiting where select(2) says that anything can (POSIX).
_PIECE_BYTES: Final[int] = getattr(select, "PIPE_BUF", 512)


class LogStream:
    """Writes lines to `fd`, and never waits for whoever reads them.

    What cannot be written at once is lost, and `account` counts it, as the journal's does: when writing works again a
    line that was cut short is ended, and `prepare` says what is to be told of the loss. `on_trouble` hears when
    losing begins.
    """

    def __init__(self, fd: int, on_trouble: Callable[[str], None]) -> None:
        self.account = LostLines()
        self._fd = fd
        self._on_trouble = on_trouble
        self._retry_at = 0.0
        self._said = ""

    def prepare(self, day: str, now: float) -> Lost | None:  # noqa: ARG002 - a stream has no days
        """Say what was lost, if it can be told now; `now` is monotonic seconds."""
        can_write = self.account.has_told or (now >= self._retry_at and _has_room(self._fd))
        return self.account.to_tell(can_write=can_write)

    def write(self, lines: list[str], now: float) -> int:
        """Write lines, LF included, or count them as lost; say how many bytes they are."""
        account = self.account
        data = account.encode(lines)
        written = 0
        if now >= self._retry_at:
            written, error = write_at_once(self._fd, data)
            if error is not None:
                self._retry_at = now + RETRY_EVERY_S
            if written == len(data):
                self._said = ""
            else:
                self._begin_trouble((error.strerror or str(error)) if error else TOO_SLOW)
        account.settle(len(lines), data, written)
        return len(data)

    def reopen(self) -> None:
        """Look at the next `write` whether it works again."""
        self._retry_at = 0.0

    def close(self) -> None:
        """Leave it open: it is whoever started us that gave it."""

    def _begin_trouble(self, reason: str) -> None:
        self.account.reason = reason
        if reason != self._said:
            self._said = reason
            self._on_trouble(f"standard output: {reason}; log lines are lost until writing works again")


def write_at_once(fd: int, data: bytes) -> tuple[int, OSError | None]:
    """Write as much as can be written without waiting; return how much that was, and what else prevented more.

    The descriptor need not be non-blocking: others may have it, too, who do not expect that of it.
    """
    written = 0
    try:
        while written < len(data) and _has_room(fd):
            written += os.write(fd, data[written : _end_of_piece(data, written)])
    except OSError as error:
        return written, error
    return written, None


def _end_of_piece(data: bytes, start: int) -> int:
    """Return where a piece ends that can be written at once: behind a line, if one ends in it."""
    most = start + _PIECE_BYTES
    if most >= len(data):
        return len(data)
    return data.rfind(b"\n", start, most) + 1 or most


def _has_room(fd: int) -> bool:
    if os.name == "nt":  # select() takes sockets alone
        return True
    return bool(select.select([], [fd], [], 0)[1])
