"""The table of servers."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Size
from textual.message import Message
from textual.strip import Strip

from smtppseudo.tui.texts import fit
from smtppseudo.tui.widgets.tables import Layout, Table, lay_out

_COLUMNS: Final[Mapping[str, Layout]] = {
    "server": Layout("Server", 16, 2),
    "state": Layout("State", 9),
    "slots": Layout("Slots", 6, rank=1, is_right=True),
    "today": Layout("Today", 6, rank=2, is_right=True),
    "minute": Layout("/min", 4, rank=3, is_right=True),
    "caller": Layout("Last caller", 15, 1, rank=4),
    "last": Layout("At", 5, rank=7),
    "version": Layout("Version", 7, rank=6),
    "login": Layout("Login", 6, rank=5),
    "trouble": Layout("Trouble", 16, 6),
}


class ServerRow(NamedTuple):
    """The cells of a server. Without a connection (not `is_up`), they say what was seen last."""

    server: str
    state: str = "○ Offline"
    slots: str = ""
    today: str = ""
    minute: str = ""
    caller: str = ""
    last: str = ""
    version: str = ""
    login: str = ""
    trouble: str = ""
    is_up: bool = False


class FleetPane(Table):
    """The table. The servers keep their order."""

    head_lines = 1

    class Moved(Message):
        """The cursor is on another server."""

    def __init__(self, *, id: str) -> None:  # noqa: A002
        super().__init__(id=id)
        self._rows: Sequence[ServerRow] = ()

    @property
    def count(self) -> int:
        return len(self._rows)

    def go_to(self, line: int) -> None:
        super().go_to(line)
        self.post_message(self.Moved())

    def show(self, rows: Sequence[ServerRow]) -> None:
        """Show these servers."""
        if rows != self._rows:
            self._rows = rows
            self.virtual_size = Size(0, self.head_lines + len(rows))
            self.refresh()

    def on_resize(self) -> None:
        self.keep_cursor_in_view()

    def render_line(self, y: int) -> Strip:
        width = self.scrollable_content_region.width
        widths = lay_out(_COLUMNS, width)
        if y == 0:
            titles = [fit(_COLUMNS[name].title, room, right=_COLUMNS[name].is_right) for name, room in widths.items()]
            return Strip([Segment(fit(" " + " ".join(titles), width), self.style("head"))], width)
        line = self.scroll_offset.y + y - 1
        if line >= self.count:
            return Strip.blank(width, self.rich_style)
        row = self._rows[line]
        base = self.style("said" if row.is_up else "dim")
        bar = self.cursor_bar() if line == self._cursor else Style()
        styles = {"trouble": self.style("warning" if row.is_up else "fault")}
        if not row.state.endswith("Online"):
            styles["state"] = styles["trouble"]
        segments = [Segment(" ", base + bar)]
        for name, room in widths.items():
            text = fit(getattr(row, name), room, right=_COLUMNS[name].is_right)
            segments.append(Segment(text + " ", base + styles.get(name, Style()) + bar))
        return Strip(segments).adjust_cell_length(width, base + bar)
