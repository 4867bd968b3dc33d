"""What arrives, cut up: command lines, and the octets of a message."""

from typing import Final, NamedTuple

LINE_OCTETS: Final = 2048
_TERMINATOR: Final = b"\r\n.\r\n"


class Line(NamedTuple):
    """A whole command line.

    `text` is at most the limit long, without its line end. `eol_lf`: it ended at a bare LF.
    `truncated_octets` counts what was dropped between `text` and the line end.
    """

    text: bytes
    eol_lf: bool
    truncated_octets: int = 0


class LineSplitter:
    """Collects octets into lines that end at CRLF or a bare LF; a lone CR ends nothing.

    `max_octets` is a security limit: what a line holds beyond it is counted and dropped, so no more than
    that is ever kept. `overflowed` says whether the line under way has passed it. `pipelined` and `pregreet` say
    of that line whether it began before the answer to another, or before the greeting, was given.
    """

    __slots__ = ("_dropped", "_last_is_cr", "_max_octets", "_partial", "pipelined", "pregreet")

    def __init__(self, max_octets: int = LINE_OCTETS, *, pipelined: bool = False, pregreet: bool = False) -> None:
        self._max_octets = max_octets
        self.pipelined = pipelined
        self.pregreet = pregreet
        self._partial = b""
        self._dropped = 0
        self._last_is_cr = False

    @property
    def overflowed(self) -> bool:
        """Whether the line under way is longer than the limit, its CR not counted."""
        return self._dropped > self._last_is_cr

    def take(self, octets: bytes, start: int) -> tuple[Line | None, int]:
        """Consume octets from `start` up to the next line end; give the line, if it is whole, and where it ended."""
        end = octets.find(b"\n", start)
        if end < 0:
            self._hold(octets[start:])
            return None, len(octets)
        self._hold(octets[start:end])
        return self._finish(), end + 1

    def rest(self) -> Line | None:
        """Give what has come of a line that will never end, if that was too long to be answered whole."""
        return self._finish() if self.overflowed else None

    def _hold(self, octets: bytes) -> None:
        if octets:
            self._last_is_cr = octets[-1] == 0x0D
            room = self._max_octets - len(self._partial)
            self._partial += octets[:room]
            self._dropped += max(0, len(octets) - room)

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
    """Counts a message's octets as they arrive and drops them; ends only at CRLF.CRLF (RFC 5321 section 4.1.1.4).

    `octets` is the size as RFC 1870 section 3 has it: CRLFs counted, doubled dots and the terminator not.
    """

    __slots__ = ("_held", "octets")

    def __init__(self) -> None:
        # The CRLF that ended the DATA line may begin the terminator: ".CRLF" alone is an empty message.
        self._held = b"\r\n"
        self.octets = -2

    def take(self, octets: bytes, start: int) -> int | None:
        """Consume octets from `start`; give where the message ended, or None if it goes on."""
        octets, held = self._held + octets[start:], len(self._held)
        end = octets.find(_TERMINATOR)
        if end >= 0:
            self._count(octets[: end + 2])
            return start - held + end + len(_TERMINATOR)
        # So many octets at the end may begin the terminator.
        undecided = next(n for n in (4, 3, 2, 1, 0) if octets.endswith(_TERMINATOR[:n]))
        self._held = octets[len(octets) - undecided :]
        self._count(octets[: len(octets) - undecided])
        return None

    def _count(self, octets: bytes) -> None:
        # A dot that begins a line was doubled by the sender, and does not count (RFC 5321 section 4.5.2).
        self.octets += len(octets) - octets.count(b"\r\n.")
