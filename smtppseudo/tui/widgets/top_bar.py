"""The header: server, state and the figures that matter; beside the buttons, the connections of the last minute."""

from collections.abc import Sequence
from typing import NamedTuple

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
