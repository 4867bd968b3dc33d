"""What arrives, cut up: command lines, and the bytes of a message."""

from typing import Final, NamedTuple

LINE_BYTES: Final = 2048
_TERMINATOR: Final = b"\r\n.\r\n"


class Line(NamedTuple):
    """A whole command line.

    `text` is at most the limit long, without its line end. `eol_lf`: it ended at a bare LF.
    `truncated_bytes` counts what was dropped between `text` and the line end.
    """

    text: bytes
    eol_lf: bool
    truncated_bytes: int = 0


class LineSplitter:
    """Collects bytes into lines that end at CRLF or a bare LF; a lone CR ends nothing.

    `max_bytes` is a security limit: what a line holds beyond it is counted and dropped, so no more than
    that is ever kept. `overflowed` says whether the line under way has passed it. `pipelined` and `pregreet` say
    of that line whether it began before the answer to another, or before the greeting, was given.
    """

    __slots__ = ("_dropped", "_last_is_cr", "_max_bytes", "_partial", "pipelined", "pregreet")

    def __init__(self, max_bytes: int = LINE_BYTES, *, pipelined: bool = False, pregreet: bool = False) -> None:
        self._max_bytes = max_bytes
        self.pipelined = pipelined
        self.pregreet = pregreet
        self._partial = b""
        self._dropped = 0
        self._last_is_cr = False

    @property
    def overflowed(self) -> bool:
        """Whether the line under way is longer than the limit, its CR not counted."""
        return self._dropped > self._last_is_cr

    def take(self, data: bytes, start: int) -> tuple[Line | None, int]:
        """Consume bytes from `start` up to the next line end; give the line, if it is whole, and where it ended."""
        end = data.find(b"\n", start)
        if end < 0:
            self._hold(data[start:])
            return None, len(data)
        self._hold(data[start:end])
        return self._finish(), end + 1

    def rest(self) -> Line | None:
        """Give what has come of a line that will never end, if that was too long to be answered whole."""
        return self._finish() if self.overflowed else None

    def _hold(self, data: bytes) -> None:
        if data:
            self._last_is_cr = data[-1] == 0x0D
            room = self._max_bytes - len(self._partial)
            self._partial += data[:room]
            self._dropped += max(0, len(data) - room)

    def _finish(self) -> Line:
        text, dropped = self._partial, self._dropped
        if self._last_is_cr:
            if dropped:
                dropped -= 1
            else:
                text = text[:-1]
        line = Line(text, not self._last_is_cr, dropped)
        self._partial, self._dropped, self._last_is_cr = b"", 0, False
        return line


class MessageCounter:
    """Counts a message's bytes as they arrive and drops them; ends only at CRLF.CRLF (RFC 5321 section 4.1.1.4).

    `size_bytes` is the size as RFC 1870 section 3 has it: CRLFs counted, doubled dots and the terminator not.
    """

    __slots__ = ("_held", "size_bytes")

    def __init__(self) -> None:
        # The CRLF that ended the DATA line may begin the terminator: ".CRLF" alone is an empty message.
        self._held = b"\r\n"
        self.size_bytes = -2

    def take(self, data: bytes, start: int) -> int | None:
        """Consume bytes from `start`; give where the message ended, or None if it goes on."""
        data, held = self._held + data[start:], len(self._held)
        end = data.find(_TERMINATOR)
        if end >= 0:
            self._count(data[: end + 2])
            return start - held + end + len(_TERMINATOR)
        # So many bytes at the end may begin the terminator.
        undecided = next(n for n in (4, 3, 2, 1, 0) if data.endswith(_TERMINATOR[:n]))
        self._held = data[len(data) - undecided :]
        self._count(data[: len(data) - undecided])
        return None

    def _count(self, data: bytes) -> None:
        # A dot that begins a line was doubled by the sender, and does not count (RFC 5321 section 4.5.2).
        self.size_bytes += len(data) - data.count(b"\r\n.")
