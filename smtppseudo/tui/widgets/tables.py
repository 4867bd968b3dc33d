"""What the tables share: the keys that move, the styles of replies, and the bar of the cursor."""

from typing import Final

from rich.style import Style
from textual.binding import Binding, BindingType
from textual.widget import Widget

TABLE_STYLES: Final = {
    *[f"reply--{kind}" for kind in ("said", "no", "mistake", "fault")],
    "table--cursor",
    "table--resting",
}
MOVE_KEYS: Final[list[BindingType]] = [
    Binding("up,k", "move(-1)", "Line up", show=False),
    Binding("down,j", "move(1)", "Line down", show=False),
    Binding("pageup", "page(-1)", "Page up", show=False),
    Binding("pagedown", "page(1)", "Page down", show=False),
    Binding("home", "jump(0)", "First line", show=False),
    Binding("end", "jump(-1)", "Last line", show=False),
]


def cursor_bar(table: Widget) -> Style:
    """Return the style of the cursor's line; where the focus is elsewhere, it is dim."""
    if table.has_focus:
        return table.get_component_rich_style("table--cursor")
    return Style(bgcolor=table.get_component_rich_style("table--resting").bgcolor)
