"""What the tables of sessions share: keys, cursor, and the styles of replies."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, TypeVar

from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.scroll_view import ScrollView

from smtppseudo.tui.transcripts import SessionKey

C = TypeVar("C", bound=str)


class Layout(NamedTuple):
    """How a column is laid out. Spare width is divided by `share`; columns of a high `rank` are left out first."""

    title: str
    width: int
    share: int = 0
    rank: int = 0
    is_right: bool = False


def lay_out(columns: Mapping[C, Layout], width: int) -> dict[C, int]:
    """Return the columns that have room, with their widths. There is a space before, between and after them."""
    columns = dict(columns)
    while sum(layout.width + 1 for layout in columns.values()) + 1 > width and len(columns) > 1:
        del columns[max(columns, key=lambda name: columns[name].rank)]
    spare = width - 1 - sum(layout.width + 1 for layout in columns.values())
    shares = sum(layout.share for layout in columns.values())
    widths: dict[C, int] = {}
    for name, layout in columns.items():
        more = spare * layout.share // shares if shares and spare > 0 else 0
        spare, shares = spare - more, shares - layout.share
        widths[name] = layout.width + more
    return widths


class Table(ScrollView, can_focus=True):
    """A table with a cursor, below `head_lines` lines of titles. Enter or a click opens a session."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"table--{part}"
        for part in ("said", "no", "mistake", "fault", "closed", "dim", "warning", "other", "head", "cursor", "resting")
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Line up"),
        Binding("down,j", "move(1)", "Line down"),
        Binding("pageup", "page(-1)", "Page up"),
        Binding("pagedown", "page(1)", "Page down"),
        Binding("home", "jump(0)", "First line"),
        Binding("end", "jump(-1)", "Last line"),
        Binding("enter", "open", "Session"),
    ]
    head_lines = 0
    _cursor = 0

    @dataclass
    class Opened(Message):
        """The operator opened a session; `key` None: no event of it is kept."""

        key: SessionKey | None

    @property
    def key(self) -> SessionKey | None:
        """The session under the cursor."""
        return None

    @property
    def cursor_line(self) -> int:
        """The line of the cursor."""
        return self._cursor

    @property
    def count(self) -> int:
        """The number of lines that the cursor can reach."""
        raise NotImplementedError

    def go_to(self, line: int) -> None:
        """Put the cursor on a line, the nearest one if there is none, and show it."""
        self._cursor = max(0, min(line, self.count - 1))
        self.keep_cursor_in_view()
        self.refresh()

    def keep_cursor_in_view(self) -> None:
        """Scroll as far as needed, in a table that scrolls below its titles."""
        line, top, height = self.cursor_line, self.scroll_offset.y, max(1, self.size.height - self.head_lines)
        if not top <= line < top + height:
            self.scroll_to(y=line if line < top else line - height + 1, animate=False)

    def on_click(self, event: events.Click) -> None:
        """Open the session that was clicked."""
        line = self.scroll_offset.y + event.y - self.head_lines
        if 0 <= line < self.count:
            self.go_to(line)
            self.action_open()

    def action_move(self, step: int) -> None:
        self.go_to(self.cursor_line + step)

    def action_page(self, step: int) -> None:
        self.go_to(self.cursor_line + step * max(1, self.size.height - 1 - self.head_lines))

    def action_jump(self, line: int) -> None:
        self.go_to(line if line >= 0 else self.count)

    def action_open(self) -> None:
        if self.count:
            self.post_message(self.Opened(self.key))

    def style(self, part: str) -> Style:
        """Return the style of a part of a table."""
        return self.get_component_rich_style(f"table--{part}")

    def cursor_bar(self) -> Style:
        """Return the style of the cursor's line; where the focus is elsewhere, it is dim."""
        return self.style("cursor") if self.has_focus else Style(bgcolor=self.style("resting").bgcolor)
