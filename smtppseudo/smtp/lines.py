"""Splits received bytes into command lines, and counts the bytes of a message."""

from typing import Final, NamedTuple

LINE_BYTES: Final = 2048
_TERMINATOR: Final = b"\r\n.\r\n"


class Line(NamedTuple):
    """A whole command line."""

    text: bytes  # without the line end, cut at the limit
    eol_lf: bool  # it ended with a bare LF
    truncated_bytes: int = 0  # dropped between `text` and the line end


class LineSplitter:
    """Collects bytes into lines that end with CRLF or a bare LF; a CR alone ends no line.

    `max_bytes` is a security limit: further bytes of a line are counted and dropped. `partial` is what is kept of the
    current line. It began before the reply to another one was given (`pipelined`), or the greeting (`pregreet`).
    """

    __slots__ = ("_dropped", "_last_is_cr", "_max_bytes", "partial", "pipelined", "pregreet")

    def __init__(self, max_bytes: int = LINE_BYTES, *, pipelined: bool = False, pregreet: bool = False) -> None:
        self._max_bytes = max_bytes
        self.pipelined = pipelined
        self.pregreet = pregreet
        self.partial = b""
        self._dropped = 0
        self._last_is_cr = False

    @property
    def overflowed(self) -> bool:
        """Whether the current line is longer than the limit, without its CR."""
        return self._dropped > self._last_is_cr

    def take(self, data: bytes, start: int) -> tuple[Line | None, int]:
        """Consume `data` from `start` to the next line end; return the line, or None, and the position after it."""
        end = data.find(b"\n", start)
        if end < 0:
            self._hold(data[start:])
            return None, len(data)
        self._hold(data[start:end])
        return self._finish(), end + 1

    def rest(self) -> Line | None:
        """Return an unfinished line that is over the limit, else None; for the end of the input."""
        return self._finish() if self.overflowed else None

    def _hold(self, data: bytes) -> None:
        if data:
            self._last_is_cr = data[-1] == 0x0D
            room = self._max_bytes - len(self.partial)
            self.partial += data[:room]
            self._dropped += max(0, len(data) - room)

    def _finish(self) -> Line:
        text, dropped, ends_with_cr = self.partial, self._dropped, self._last_is_cr
        self.partial, self._dropped, self._last_is_cr = b"", 0, False
        if ends_with_cr and not dropped:
            text = text[:-1]
        return Line(text, not ends_with_cr, max(0, dropped - ends_with_cr))


class MessageCounter:
    """Counts and drops the bytes of a message; only CRLF.CRLF ends it (RFC 5321 section 4.1.1.4).

    `size_bytes` is the size that RFC 1870 section 3 defines: with CRLFs, without doubled dots and the terminator.
    """

    __slots__ = ("_held", "size_bytes")

    def __init__(self) -> None:
        # The CRLF of the DATA line may be the first half of the terminator: ".CRLF" alone is an empty message.
        self._held = b"\r\n"
        self.size_bytes = -2

    def take(self, data: bytes, start: int) -> int | None:
        """Consume `data` from `start`; return the position after the message, or None if it is not complete."""
        data, held = self._held + data[start:], len(self._held)
        end = data.find(_TERMINATOR)
        if end >= 0:
            self._count(data[: end + 2])
            return start - held + end + len(_TERMINATOR)
        # The last bytes may be the beginning of the terminator.
        undecided = next(n for n in (4, 3, 2, 1, 0) if data.endswith(_TERMINATOR[:n]))
        self._held = data[len(data) - undecided :]
        self._count(data[: len(data) - undecided])
        return None

    def end_in(self, data: bytes) -> int:
        """Return the position in the next data after the message, or 0 if it is not complete then."""
        end = (self._held + data).find(_TERMINATOR)
        return end + len(_TERMINATOR) - len(self._held) if end >= 0 else 0

    def _count(self, data: bytes) -> None:
        # The sender doubles a dot at the beginning of a line; the extra dot does not count (RFC 5321 section 4.5.2).
        self.size_bytes += len(data) - data.count(b"\r\n.")
