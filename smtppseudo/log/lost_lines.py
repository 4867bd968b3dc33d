"""Lost lines: counts the log lines that could not be written, also after partial writes."""

from collections.abc import Callable


class LostLines:
    """Counts lost lines until a report of them is written.

    `unreported` counts those that no report includes yet; `reason` is why the last one was lost. `was_reported`: the
    report that `report` returned last has been written. `is_cut_short`: the last line in the log lacks its LF, so the
    next write begins with it.
    """

    def __init__(self, on_trouble: Callable[[str], None]) -> None:
        self.lost_lines = 0
        self.unreported = 0
        self.reason = ""
        self.was_reported = False
        self.is_cut_short = False
        self._is_reporting = False
        self._on_trouble = on_trouble
        self._reported_trouble = ""

    def report(self, *, can_write: bool) -> int:
        """Return how many lost lines the first line of the next write must report; 0 if none, or not `can_write`."""
        self._is_reporting = self.unreported > 0 and can_write
        self.was_reported = False
        return self.unreported if self._is_reporting else 0

    def encode(self, lines: list[str]) -> bytes:
        """Return the bytes to write: the lines, after the LF of a line that was cut short."""
        data = "".join(lines).encode("ascii", "backslashreplace")
        return b"\n" + data if self.is_cut_short else data

    def record_write(self, lines: int, data: bytes, written: int) -> int:
        """Record how many bytes of `data`, from `encode`, were written; return the number of whole lines in them."""
        if written == len(data):
            self.is_cut_short = False
            self._reported_trouble = ""
            whole = lines
        else:
            whole = data.count(b"\n", 0, written)
            if written:
                whole -= self.is_cut_short  # the first LF ended an earlier line
                self.is_cut_short = data[written - 1] != 0x0A
                whole += self.is_cut_short and data[written] == 0x0A  # the next write adds the LF that is missing
        if self._is_reporting and whole:  # the report is the first line
            self.unreported = 0
            self.was_reported = True
        if whole < lines:
            self.lose(lines - whole - (self._is_reporting and not whole))  # a report is not lost: it is repeated
        return whole

    def begin_trouble(self, place: str, reason: str) -> None:
        """Set why lines are lost; call `on_trouble` once for each reason, until a write succeeds."""
        self.reason = reason
        if reason != self._reported_trouble:
            self._reported_trouble = reason
            self._on_trouble(f"{place}: {reason}; log lines are lost until writing works again")

    def lose(self, lines: int) -> None:
        """Count lost lines, and report them later."""
        self.lost_lines += lines
        self.unreported += lines
