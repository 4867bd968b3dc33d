"""The footer: what the keys do in the pane that has the focus. A click on a key does the same."""

from collections.abc import Sequence
from typing import NamedTuple

from textual import events
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget


class Hint(NamedTuple):
    """A key, what it does, and the screen's action. Hints of a high `rank` are left out first."""

    key: str
    label: str
    action: str
    rank: int = 0

    @property
    def width(self) -> int:
        """Its cells, with a space behind it."""
        return len(self.key) + len(self.label) + 2


class KeyFooter(Widget):
    """One line."""

    hints: reactive[Sequence[Hint]] = reactive(())

    class Clicked(Message):
        """A hint was clicked."""

        def __init__(self, hint: Hint) -> None:
            super().__init__()
            self.hint = hint

    def render(self) -> Content:
        parts = [Content.assemble((f" {hint.key}", "$accent bold"), f" {hint.label}") for hint in self._shown()]
        return Content("").join(parts)

    def on_click(self, event: events.Click) -> None:
        left = 0
        for hint in self._shown():
            left += hint.width
            if event.x < left:
                self.post_message(self.Clicked(hint))
                return

    def _shown(self) -> list[Hint]:
        shown = list(self.hints)
        while shown and sum([hint.width for hint in shown]) > self.size.width:
            shown.remove(max(shown, key=lambda hint: hint.rank))
        return shown
