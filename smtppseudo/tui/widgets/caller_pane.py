"""The callers with the most connections, as bars, and why sessions ended."""

from collections.abc import Sequence
from textwrap import wrap
from typing import Final

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from smtppseudo.tui.model import Model
from smtppseudo.tui.texts import fit
from smtppseudo.tui.transcripts import SessionKey
from smtppseudo.tui.widgets.tables import Table

CALLERS_SHOWN: Final = 15
_IP_WIDTH_MAX: Final = 24
_ENDINGS_LINES: Final = 2


class CallerPane(Table):
    """The pane. `show` fills it."""

    _model: Model
    _callers: Sequence[tuple[str, int]] = ()
    _endings = ""

    @property
    def lines(self) -> int:
        """The number of lines that show everything."""
        return len(self._callers) + 1 + _ENDINGS_LINES

    @property
    def key(self) -> SessionKey | None:
        return self._model.transcripts.latest_of(self._callers[self._cursor][0]) if self.count else None

    @property
    def count(self) -> int:
        return min(len(self._callers), max(0, self.size.height - _ENDINGS_LINES))

    def show(self, model: Model) -> None:
        """Show the figures."""
        self._model = model
        shown = (model.callers.top(CALLERS_SHOWN), model.callers.endings_text())
        if shown != (self._callers, self._endings):
            self._callers, self._endings = shown
            self.go_to(self._cursor)

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        if y < self.count:
            return self._line(y, width)
        endings = wrap(f"Ended: {self._endings}", max(1, width - 1)) if self._endings else ["nobody has called yet"]
        text = dict(enumerate(endings[:_ENDINGS_LINES], self.count + (self.count + 2 < self.size.height))).get(y, "")
        return Strip([Segment(fit(f" {text}", width), self.style("dim"))], width)

    def _line(self, line: int, width: int) -> Strip:
        ip, count = self._callers[line]
        ip_width = min(_IP_WIDTH_MAX, max([len(ip) for ip, _ in self._callers[: self.count]]))
        text = f"{count:>6,}  {fit(ip, ip_width)}  "[:width]
        bar = "▇" * max(1, (width - len(text) - 1) * count // self._callers[0][1])
        style = self.style("said") + (self.cursor_bar() if line == self._cursor and self.has_focus else Style())
        return Strip([Segment(text, style), Segment(fit(bar, width - len(text)), self.style("other"))], width)
