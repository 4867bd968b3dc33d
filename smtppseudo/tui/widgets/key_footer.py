"""The footer: what the keys do in the pane that has the focus. A click on a key does the same."""

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

from textual import events
from textual.content import Content
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

    def render(self) -> Content:
        parts = [Content.assemble((f" {hint.key}", "$accent bold"), f" {hint.label}") for hint in self._shown()]
        return Content("").join(parts)

    async def on_click(self, event: events.Click) -> None:
        ends = accumulate([hint.width for hint in self._shown()])
        hint = next((hint for hint, end in zip(self._shown(), ends, strict=True) if event.x < end), None)
        if hint is not None:
            await self.screen.run_action(hint.action)

    def _shown(self) -> list[Hint]:
        shown = list(self.hints)
        while shown and sum([hint.width for hint in shown]) > self.size.width:
            shown.remove(max(shown, key=lambda hint: hint.rank))
        return shown
