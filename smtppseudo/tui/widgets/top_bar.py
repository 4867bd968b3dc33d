"""The top bar: server, state, last connect and connections per minute."""

from typing import Final, NamedTuple

from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

_SPARKLINE_MINUTES: Final = 30


class Headline(NamedTuple):
    """The texts of the top bar. `is_online` None: no connection."""

    place: str = ""
    is_online: bool | None = None
    status: str = ""
    facts: tuple[str, ...] = ()
    spark: str = ""
    per_minute: int = 0


class TopBar(Widget):
    """Two lines. Where there is little room, the last facts are left out."""

    headline: reactive[Headline] = reactive(Headline())

    def render(self) -> Content:
        headline, width = self.headline, self.size.width
        sign, style = ("●", "$primary bold") if headline.is_online else ("○", "$error bold")
        name = Content.assemble((" smtppseudo  ", "bold"), headline.place)
        first = _spread(name, Content.assemble((f"{sign} {headline.status} ", style)), width)
        spark = headline.spark[-max(0, min(_SPARKLINE_MINUTES, width - 60)) :] if width > 64 else ""
        right = Content.assemble((spark, "$secondary"), " ", f"{headline.per_minute}/min ")
        room = width - right.cell_length - 2
        facts = list(headline.facts)
        while len(facts) > 1 and len(" · ".join(facts)) + 1 > room:
            facts.pop()
        second = _spread(Content.assemble((" " + " · ".join(facts), "$muted")), right, width)
        return Content("\n").join([first, second])


def _spread(left: Content, right: Content, width: int) -> Content:
    room = width - right.cell_length
    return left.truncate(max(0, room - 1), ellipsis=True).pad_right(max(0, room - left.cell_length)) + right
