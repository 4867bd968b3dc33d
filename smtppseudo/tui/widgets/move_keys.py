"""The keys that move in both tables."""

from typing import Final

from textual.binding import Binding, BindingType

MOVE_KEYS: Final[list[BindingType]] = [
    Binding("up,k", "move(-1)", "Line up", show=False),
    Binding("down,j", "move(1)", "Line down", show=False),
    Binding("pageup", "page(-1)", "Page up", show=False),
    Binding("pagedown", "page(1)", "Page down", show=False),
    Binding("home", "jump(0)", "First line", show=False),
    Binding("end", "jump(-1)", "Last line", show=False),
]
