"""Lost lines: what became of log lines, where perhaps only a part of what was written was taken."""

from typing import NamedTuple


class Lost(NamedTuple):
    """Log lines that could not be written, and why the last of them could not."""

    reason: str
    lines: int


class LostLines:
    """Counts the lines that are lost, and knows whether that was told.

    `cut_short` is whether a line is begun that has no end: the next write must begin with that end. `reason` is why
    lines were lost last. `was_told` is whether the line that was to tell of it, by `to_tell`, has been written.
    """

    __slots__ = ("_telling", "_untold", "cut_short", "lost_lines", "reason", "was_told")

    def __init__(self) -> None:
        self.lost_lines = 0
        self.cut_short = False
        self.reason = ""
        self._untold = 0
        self._telling = False
        self.was_told = False

    @property
    def has_told(self) -> bool:
        """Whether all that was lost has been told."""
        return self._untold == 0

    def to_tell(self, *, can_write: bool) -> Lost | None:
        """Say what is to be told by the first line of the next write, if that has a prospect."""
        self._telling = self._untold > 0 and can_write
        self.was_told = False
        return Lost(self.reason, self._untold) if self._telling else None

    def encode(self, lines: list[str]) -> bytes:
        """Return the bytes to write: those of the lines, after the end of one that was cut short."""
        data = "".join(lines).encode("ascii", "backslashreplace")
        return b"\n" + data if self.cut_short else data

    def settle(self, lines: int, data: bytes, written: int) -> int:
        """Enter that of bytes that `encode` gave so many were written; return how many lines are whole there."""
        if written == len(data):
            self.cut_short = False
            self._enter_telling()
            return lines
        whole = self._cut(data, written)
        lost = lines - whole
        if whole:
            self._enter_telling()  # its line is the first
        elif self._telling:
            lost -= 1  # that line is no loss: it comes again
        self.lose(lost)
        return whole

    def lose(self, lines: int) -> None:
        """Enter that lines are lost, which is to be told."""
        self.give_up(lines)
        self._untold += lines

    def give_up(self, lines: int) -> None:
        """Enter that lines are lost that never came to be written; whoever gave them up tells of it."""
        self.lost_lines += lines

    def _enter_telling(self) -> None:
        if self._telling:
            self._untold = 0
            self.was_told = True

    def _cut(self, data: bytes, written: int) -> int:
        """Note where the bytes were cut; return how many lines before that are whole."""
        whole = data.count(b"\n", 0, written)
        if written:
            whole -= self.cut_short  # the first LF ended what was cut short before
            self.cut_short = data[written - 1] != 0x0A
            if self.cut_short and data[written] == 0x0A:
                whole += 1  # only its LF is missing, and that comes
        return whole
