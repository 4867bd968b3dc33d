"""The table of slots. It draws only the lines in view, so that ten thousand slots cost no more than ten."""

from collections.abc import Callable, Mapping
from itertools import accumulate
from typing import Final

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Size
from textual.reactive import reactive
from textual.strip import Strip

from smtppseudo.tui.slots import Column, SlotBoard, SlotRow
from smtppseudo.tui.texts import fit, format_span, reply_class, short_command
from smtppseudo.tui.transcripts import SessionKey
from smtppseudo.tui.widgets.tables import Layout, Table, lay_out

_LAYOUT: Final[Mapping[Column, Layout]] = {
    "slot": Layout("Slot", 5, is_right=True),
    "state": Layout("State", 10),
    "ip": Layout("Remote IP", 15),
    "port": Layout("Port", 5, rank=5, is_right=True),
    "helo": Layout("HELO", 9, 3, 3),
    "sender": Layout("Sender", 12, 4, 4),
    "last": Layout("Last", 12, 5),
    "reply": Layout("Reply", 5, 4),
    "idle": Layout("Idle", 6, rank=2, is_right=True),
}
_SIGNS: Final = {"open": "●", "closed": "○"}
_IP_SHARE_MAX: Final = 0.4
_REPLY_TEXT_FROM: Final = 130  # in a narrower table, the reply is its code alone
_NEW_S: Final = 2.0  # what changed since is bold


def column_widths(width: int, ip_width: int = 0) -> dict[Column, int]:
    """Return the columns that have room, with their widths."""
    columns = dict(_LAYOUT)
    columns["ip"] = columns["ip"]._replace(width=max(15, min(ip_width, int(width * _IP_SHARE_MAX))))
    if width < _REPLY_TEXT_FROM:
        columns["reply"] = columns["reply"]._replace(share=0)
    return lay_out(columns, width)


class SlotPane(Table):
    """The table, and a line of the free slots. The cursor stays on its slot when the order changes."""

    head_lines = 1
    is_stale: reactive[bool] = reactive(False)

    def __init__(self, board: SlotBoard, clock: Callable[[], float], *, id: str) -> None:  # noqa: A002
        super().__init__(id=id)
        self._board = board
        self._clock = clock
        self._cursor_slot = 1
        self._widths: dict[Column, int] = {}
        self._idle_shown: dict[int, str] = {}

    @property
    def key(self) -> SessionKey | None:
        order = self._board.order
        return order[self._cursor].key if self._cursor < len(order) else None

    @property
    def count(self) -> int:
        return len(self._board.order)

    @property
    def lines(self) -> int:
        """The number of lines that show everything."""
        return 1 + len(self._board.order) + bool(self._board.free)

    def show_board(self, board: SlotBoard) -> None:
        """Show the slots of another server."""
        self._board = board
        self.reorder()

    def reorder(self) -> None:
        """Draw all rows, in the board's order."""
        order = self._board.order
        if self.virtual_size.height != self.lines:
            self.virtual_size = Size(0, self.lines)
        nearest = min(self._cursor, max(0, len(order) - 1))
        self._cursor = next((line for line, row in enumerate(order) if row.slot == self._cursor_slot), nearest)
        if order:
            self._cursor_slot = order[self._cursor].slot
        self._lay_out_columns()
        self.refresh()

    def sort_by(self, column: Column) -> None:
        """Sort by a column; if that is the order already, reverse it."""
        board = self._board
        board.sort_by(column, is_reversed=column == board.sort and not board.is_reversed)
        self.reorder()

    def _lay_out_columns(self) -> None:
        # Not only at a resize: the scrollbar comes and goes.
        widths = column_widths(self.scrollable_content_region.width, self._board.ip_width)
        if widths != self._widths:
            self._widths = widths
            self.refresh()

    def catch_up(self) -> None:
        """Draw the rows that changed, and rows whose idle time has changed as text."""
        touched = self._board.drain()
        if touched is None:
            self.reorder()
            return
        order, now = self._board.order, self._clock()
        for y in range(1, self.size.height):
            line = self.scroll_offset.y + y - 1
            if line >= len(order):
                return
            row = order[line]
            if row.slot in touched or self._idle_shown.get(row.slot) != format_span(now - row.idle_since):
                self.refresh_lines(self.scroll_offset.y + y)

    def render_line(self, y: int) -> Strip:
        width = self.scrollable_content_region.width
        if y == 0:
            return self._titles(width)
        line = self.scroll_offset.y + y - 1
        order = self._board.order
        if line == len(order) and self._board.free:
            return Strip([Segment(fit(f"   {self._board.free} free", width), self.style("dim"))], width)
        if line >= len(order):
            return Strip.blank(width, self.rich_style)
        return self._line(order[line], width, is_cursor=line == self._cursor)

    def on_resize(self) -> None:
        self._lay_out_columns()
        self.keep_cursor_in_view()

    def on_click(self, event: events.Click) -> None:
        """Sort by the column whose title was clicked."""
        ends = accumulate([width + 1 for width in self._widths.values()])
        column = next((column for column, end in zip(self._widths, ends, strict=True) if event.x <= end), None)
        if event.y == 0 and column is not None:
            self.sort_by(column)

    def go_to(self, line: int) -> None:
        order = self._board.order
        if not order:
            return
        before = self._cursor
        self._cursor = max(0, min(line, len(order) - 1))
        self._cursor_slot = order[self._cursor].slot
        self.refresh_lines(before + 1)
        self.refresh_lines(self._cursor + 1)
        self.keep_cursor_in_view()

    def _titles(self, width: int) -> Strip:
        board = self._board
        cells: list[str] = []
        for column, room in self._widths.items():
            arrow = ("▼" if board.is_reversed else "▲") if column == board.sort else ""
            cells.append(fit(_LAYOUT[column].title + arrow, room, right=_LAYOUT[column].is_right))
        text = fit(" " + " ".join(cells), width)
        return Strip([Segment(text, self.style("head"))], width)

    def _line(self, row: SlotRow, width: int, *, is_cursor: bool) -> Strip:
        now = self._clock()
        idle = self._idle_shown[row.slot] = format_span(now - row.idle_since)
        base = self.style("dim" if self.is_stale else "said" if row.state == "open" else "closed")
        bold = Style(bold=now - row.idle_since < _NEW_S)
        reply = base if self.is_stale else base + self.style(reply_class(row.reply))
        if is_cursor:
            bar = self.cursor_bar()
            base, reply = base + bar, reply + bar
        segments = [Segment(" ", base)]
        for column, room in self._widths.items():
            text = fit(_text(row, column, idle, room), room, right=_LAYOUT[column].is_right)
            segments.append(Segment(text + " ", (reply if column == "reply" else base) + bold))
        return Strip(segments).adjust_cell_length(width, base)


def _text(row: SlotRow, column: Column, idle: str, room: int) -> str:
    if column == "idle":
        return idle
    if column == "state":
        return f"{_SIGNS.get(row.state, '·')} {row.state_text}"
    if column == "last":
        return short_command(row.last)
    if column == "reply" and room == _LAYOUT[column].width:
        return row.reply[:3]
    return str(getattr(row, column) or "")
