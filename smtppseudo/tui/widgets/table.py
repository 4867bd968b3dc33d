"""The table of slots. It draws only the lines that are seen, so that ten thousand slots cost no more than ten."""

from collections.abc import Callable, Mapping
from typing import ClassVar, Final, NamedTuple

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from smtppseudo.tui.slots import COLUMNS, Column, SlotBoard, SlotRow
from smtppseudo.tui.texts import fitted, span


class _Head(NamedTuple):
    """A column: its title, its least width, its share of what is left, and how much it is missed if left out."""

    title: str
    width: int
    share: int
    rank: int  # columns of a higher rank are left out first


_HEADS: Final[Mapping[Column, _Head]] = {
    "slot": _Head("Slot", 5, 0, 0),
    "state": _Head("State", 8, 0, 0),
    "ip": _Head("Remote IP", 15, 2, 0),
    "port": _Head("Port", 5, 0, 4),
    "helo": _Head("HELO", 9, 3, 3),
    "sender": _Head("Sender", 9, 3, 5),
    "last": _Head("Last", 9, 5, 2),
    "error": _Head("Error", 9, 5, 1),
    "idle": _Head("Idle", 6, 0, 1),
}
_RIGHT: Final = ("slot", "port", "idle")
_SIGNS: Final = {"open": "●", "closed": "○"}
_STATE_WITH_REASON: Final = 22
_IPV6: Final = 26
_WIDE: Final = 130


def lay_out(width: int) -> dict[Column, int]:
    """Return the columns that have room, and their widths; a space stands between, and at each end."""
    heads = dict(_HEADS)
    if width >= _WIDE:
        heads["state"] = heads["state"]._replace(width=_STATE_WITH_REASON)
        heads["ip"] = heads["ip"]._replace(width=_IPV6, share=0)
    while sum(head.width + 1 for head in heads.values()) + 1 > width and len(heads) > 1:
        del heads[max(heads, key=lambda column: heads[column].rank)]
    rest = width - 1 - sum(head.width + 1 for head in heads.values())
    shares = sum(head.share for head in heads.values())
    widths: dict[Column, int] = {}
    for column, head in heads.items():
        more = rest * head.share // shares if shares and rest > 0 else 0
        rest, shares = rest - more, shares - head.share
        widths[column] = head.width + more
    return widths


class SlotTable(ScrollView, can_focus=True):
    """The table. The cursor stays on its slot when the order changes."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "slots--head",
        "slots--open",
        "slots--closed",
        "slots--free",
        "slots--error",
        "slots--cursor",
        "slots--stale",
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Slot above", show=False),
        Binding("down,j", "move(1)", "Slot below", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home", "jump(0)", "First slot", show=False),
        Binding("end", "jump(-1)", "Last slot", show=False),
        Binding("enter", "open", "Transcript"),
    ]

    is_stale: reactive[bool] = reactive(False)

    class Chosen(Message):
        """A slot's session is to be shown."""

        def __init__(self, row: SlotRow) -> None:
            super().__init__()
            self.row = row

    class SortWanted(Message):
        """A column's title was clicked."""

        def __init__(self, column: Column) -> None:
            super().__init__()
            self.column = column

    def __init__(self, board: SlotBoard, clock: Callable[[], float], *, id: str) -> None:  # noqa: A002
        super().__init__(id=id)
        self._board = board
        self._clock = clock
        self._cursor_slot = 1
        self._cursor_line = 0
        self._widths: dict[Column, int] = {}
        self._idle_shown: dict[int, str] = {}

    @property
    def row(self) -> SlotRow | None:
        """The row under the cursor."""
        order = self._board.order
        return order[self._cursor_line] if self._cursor_line < len(order) else None

    def watch_is_stale(self) -> None:
        """Draw in another colour what may be out of date."""
        self.refresh()

    def show_board(self, board: SlotBoard) -> None:
        """Show other slots."""
        self._board = board
        self.reorder()

    def reorder(self) -> None:
        """Draw all anew, in the board's order."""
        order = self._board.order
        if self.virtual_size.height != len(order) + 1:
            self.virtual_size = Size(0, len(order) + 1)
        self._cursor_line = next(
            (line for line, row in enumerate(order) if row.slot == self._cursor_slot),
            min(self._cursor_line, max(0, len(order) - 1)),
        )
        if order:
            self._cursor_slot = order[self._cursor_line].slot
        self.arrange_columns()
        self.refresh()

    def arrange_columns(self) -> None:
        """Give the columns the room that there is; the bar may have come or gone."""
        widths = lay_out(self.scrollable_content_region.width)
        if widths != self._widths:
            self._widths = widths
            self.refresh()

    def redraw(self, touched: set[int]) -> None:
        """Draw the rows that changed, and the idle times that read differently now."""
        order, now = self._board.order, self._clock()
        for y in range(1, self.size.height):
            line = self.scroll_offset.y + y - 1
            if line >= len(order):
                return
            row = order[line]
            if row.slot in touched or self._idle_shown.get(row.slot) != self._idle(row, now):
                self.refresh_lines(self.scroll_offset.y + y)

    def render_line(self, y: int) -> Strip:
        """Draw a line of what is seen; the first holds the titles."""
        width = self.scrollable_content_region.width
        if y == 0:
            return self._head(width)
        line = self.scroll_offset.y + y - 1
        order = self._board.order
        if line >= len(order):
            return Strip.blank(width, self.rich_style)
        return self._line(order[line], width, is_cursor=line == self._cursor_line)

    def on_resize(self) -> None:
        """Make room for as many columns as there is room for."""
        self.arrange_columns()
        self._follow_cursor()

    def on_click(self, event: events.Click) -> None:
        """Go to a row, open it at the second click, or sort."""
        if event.y == 0:
            column = self._column_at(event.x)
            if column is not None:
                self.post_message(self.SortWanted(column))
            return
        line = self.scroll_offset.y + event.y - 1
        if line < len(self._board.order):
            self._go_to(line)
            if event.chain > 1:
                self.action_open()

    def action_move(self, step: int) -> None:
        """Go up or down."""
        self._go_to(self._cursor_line + step)

    def action_page(self, step: int) -> None:
        """Go a page up or down."""
        self._go_to(self._cursor_line + step * max(1, self.size.height - 2))

    def action_jump(self, line: int) -> None:
        """Go to the first or the last row."""
        self._go_to(line if line >= 0 else len(self._board.order) - 1)

    def action_open(self) -> None:
        """Have the session of the row shown."""
        row = self.row
        if row is not None:
            self.post_message(self.Chosen(row))

    def _go_to(self, line: int) -> None:
        order = self._board.order
        if not order:
            return
        before = self._cursor_line
        self._cursor_line = max(0, min(line, len(order) - 1))
        self._cursor_slot = order[self._cursor_line].slot
        self.refresh_lines(before + 1)
        self.refresh_lines(self._cursor_line + 1)
        self._follow_cursor()

    def _follow_cursor(self) -> None:
        top, height = self.scroll_offset.y, max(1, self.size.height - 1)
        if self._cursor_line < top:
            self.scroll_to(y=self._cursor_line, animate=False)
        elif self._cursor_line >= top + height:
            self.scroll_to(y=self._cursor_line - height + 1, animate=False)

    def _column_at(self, x: int) -> Column | None:
        left = 1
        for column, width in self._widths.items():
            if left <= x <= left + width:
                return column
            left += width + 1
        return None

    def _head(self, width: int) -> Strip:
        board = self._board
        cells: list[str] = []
        for column, room in self._widths.items():
            arrow = ("▼" if board.is_reversed else "▲") if column == board.sort else ""
            cells.append(fitted(_HEADS[column].title + arrow, room, right=column in _RIGHT))
        text = fitted(" " + " ".join(cells), width)
        return Strip([Segment(text, self.get_component_rich_style("slots--head"))], width)

    def _line(self, row: SlotRow, width: int, *, is_cursor: bool) -> Strip:
        now = self._clock()
        idle = self._idle_shown[row.slot] = self._idle(row, now)
        base = self._style_of(row, is_cursor=is_cursor)
        error = base if is_cursor or self.is_stale else base + self.get_component_rich_style("slots--error")
        segments = [Segment(" ", base)]
        for column in COLUMNS:
            room = self._widths.get(column)
            if room is not None:
                text = fitted(_text(row, column, idle, room), room, right=column in _RIGHT)
                segments.append(Segment(text + " ", error if column == "error" else base))
        return Strip(segments).adjust_cell_length(width, base)

    def _style_of(self, row: SlotRow, *, is_cursor: bool) -> Style:
        if is_cursor and self.has_focus:
            return self.get_component_rich_style("slots--cursor")
        name = "slots--stale" if self.is_stale else f"slots--{row.state}"
        style = self.get_component_rich_style(name if name in self.COMPONENT_CLASSES else "slots--closed")
        return style + Style(underline=True) if is_cursor else style

    def _idle(self, row: SlotRow, now: float) -> str:
        return "" if row.state == "free" else span(now - row.idle_since)

    def on_focus(self) -> None:
        """Show the cursor."""
        self.refresh()

    def on_blur(self) -> None:
        """Show it less."""
        self.refresh()


def _text(row: SlotRow, column: Column, idle: str, room: int) -> str:
    if column == "slot":
        return str(row.slot)
    if column == "state":
        return _state(row, room)
    if column == "idle":
        return idle
    if column == "port":
        return str(row.port) if row.port else ""
    value: str = getattr(row, column)
    return value


def _state(row: SlotRow, room: int) -> str:
    sign = _SIGNS.get(row.state, "·")
    return f"{sign} {row.state_text if room >= _STATE_WITH_REASON else row.state}"
