"""The widgets of one line: header, connections of the last minute, titles of panes, and footer."""

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

from textual import events
from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from smtppseudo.tui.rates import sparkline

_SPARKLINE_MIN: int = 5


class Headline(NamedTuple):
    """The texts of the top bar. `is_online` None: no connection."""

    place: str = ""
    is_online: bool | None = None
    status: str = ""
    facts: tuple[str, ...] = ()


class TopBar(Widget):
    """One line. Where there is little room, the last facts are left out."""

    headline: reactive[Headline] = reactive(Headline())

    def render(self) -> Content:
        headline, width = self.headline, self.size.width
        sign, style = ("●", "$primary bold") if headline.is_online else ("○", "$error bold")
        status = f"{sign} {headline.status}"
        facts = list(headline.facts)
        while facts and len("   ".join([status, *facts])) + 2 > width:
            facts.pop()
        right = Content.assemble((status, style), *[f"   {fact}" for fact in facts], " ")
        name = " smtppseudo  " if width - right.cell_length > len(" smtppseudo  ") + len(headline.place) else " "
        room = max(0, width - right.cell_length)
        left = Content.assemble((name, "bold"), headline.place).truncate(max(0, room - 1), ellipsis=True)
        return left.pad_right(max(0, room - left.cell_length)) + right


class RateBar(Widget):
    """The connections of the last minute, behind a sparkline of as many bars as there is room for."""

    figures: reactive[tuple[int, Sequence[int]]] = reactive((0, ()))

    def render(self) -> Content:
        count, bars = self.figures
        text = f"{count:,} in the last minute "
        text = text if len(text) <= self.size.width else f"{count:,}/min "
        room = max(0, self.size.width - len(text) - 2)
        spark = sparkline(list(bars[-room:])) if any(bars) and room >= _SPARKLINE_MIN else ""
        line = Content.assemble((spark, "$secondary"), "  ", text)
        return line.pad_left(max(0, self.size.width - line.cell_length))


class PaneTitle(Widget):
    """One line. `about` is the text on the right: filter, counts, ..."""

    about: reactive[str] = reactive("")
    label: reactive[str] = reactive("")

    def __init__(self, label: str, *, id: str, corner: str = "") -> None:  # noqa: A002
        super().__init__(id=id)
        self.set_reactive(PaneTitle.label, label)
        self._corner = corner

    def render(self) -> Content:
        width = self.size.width
        label = f"{self._corner}─ {self.label} "
        about = f" {self.about} ─" if self.about else ""
        if len(label) + len(about) + 1 > width:
            about = about[: max(0, width - len(label) - 2)] + "…" if width > len(label) + 4 else ""
        rule = "─" * max(0, width - len(label) - len(about))
        return Content.assemble((label, "bold"), (rule, "$muted"), about)


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
