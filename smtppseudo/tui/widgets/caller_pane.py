"""The callers with the most connections, as bars, and why sessions ended."""

from textwrap import wrap
from typing import ClassVar, Final

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.widget import Widget

from smtppseudo.tui.rates import CallerCounts
from smtppseudo.tui.texts import fit
from smtppseudo.tui.widgets.tables import MOVE_KEYS

CALLERS_SHOWN: Final = 15
_IP_WIDTH_MAX: Final = 24
_ENDINGS_LINES: Final = 2


class CallerPane(Widget, can_focus=True):
    """The pane. A line that is clicked, or the one under the cursor at Enter, opens that caller's latest session."""

    BINDINGS: ClassVar[list[BindingType]] = [*MOVE_KEYS, Binding("enter", "open", "Session")]

    class Opened(Message):
        """The operator opened a caller's latest session."""

        def __init__(self, ip: str) -> None:
            super().__init__()
            self.ip = ip

    def __init__(self, *, id: str) -> None:  # noqa: A002
        super().__init__(id=id)
        self._callers: list[tuple[str, int]] = []
        self._endings = ""
        self._cursor = 0

    @property
    def lines(self) -> int:
        """The number of lines that show everything."""
        return len(self._callers) + 1 + _ENDINGS_LINES

    @property
    def ip(self) -> str:
        """The address under the cursor; empty if there is none."""
        return self._callers[self._cursor][0] if self._callers else ""

    def show(self, counts: CallerCounts) -> None:
        """Show the figures."""
        shown = (counts.top(CALLERS_SHOWN), counts.endings_text())
        if shown != (self._callers, self._endings):
            self._callers, self._endings = shown
            self._cursor = max(0, min(self._cursor, len(self._callers) - 1))
            self.refresh()

    def render(self) -> Content:
        width = max(1, self.size.width)
        endings = wrap(f"Ended: {self._endings}", width - 1)[:_ENDINGS_LINES] if self._endings else []
        shown = self._callers[: self.size.height - len(endings)]
        most = max([count for _, count in shown], default=1)
        ip_width = min(_IP_WIDTH_MAX, max([len(ip) for ip, _ in shown], default=0))
        lines = [Content.styled(" nobody has called yet", "$muted")] if not shown else []
        for at, (ip, count) in enumerate(shown):
            text = f"{count:>6,}  {fit(ip, ip_width)}  "
            bar = "▇" * max(1, (width - len(text) - 1) * count // most)
            is_cursor = at == self._cursor and self.has_focus
            style = "$block-cursor-foreground on $block-cursor-background" if is_cursor else ""
            lines.append(Content.assemble((text, style), (bar, "$secondary")).truncate(width))
        lines += [Content("")] * min(1, self.size.height - len(lines) - len(endings))
        return Content("\n").join([*lines, *[Content.styled(f" {line}", "$muted") for line in endings]])

    def on_click(self, event: events.Click) -> None:
        """Open the caller's latest session."""
        if event.y < len(self._callers):
            self.action_jump(event.y)
            self.action_open()

    def action_move(self, step: int) -> None:
        self.action_jump(max(0, self._cursor + step))

    def action_page(self, step: int) -> None:
        self.action_move(step * self.size.height)

    def action_jump(self, line: int) -> None:
        last = min(len(self._callers), self.size.height) - 1
        self._cursor = max(0, last if line < 0 else min(line, last))
        self.refresh()

    def action_open(self) -> None:
        if self.ip:
            self.post_message(self.Opened(self.ip))
