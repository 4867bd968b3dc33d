"""The top of the screen: which server, how it stands, and what came in last."""

from typing import NamedTuple

from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

_SPARK_MINUTES = 30


class Headline(NamedTuple):
    """What the top says, ready to be drawn. `is_online` None is: no connection."""

    place: str = ""
    is_online: bool | None = None
    status: str = ""
    facts: tuple[str, ...] = ()
    spark: str = ""
    per_minute: int = 0


class Top(Widget):
    """Two lines."""

    headline: reactive[Headline] = reactive(Headline())

    def render(self) -> Content:
        """Draw them."""
        said = self.headline
        sign, style = ("●", "$online bold") if said.is_online else ("○", "$offline bold")
        name = Content.assemble((" smtppseudo  ", "bold"), said.place)
        first = _two_ends(name, Content.assemble((f"{sign} {said.status} ", style)), self.size.width)
        rate = f"{said.per_minute}/min "
        spark = said.spark[-max(0, min(_SPARK_MINUTES, self.size.width - 60)) :] if self.size.width > 64 else ""
        right = Content.assemble((spark, "$spark"), " ", rate)
        room = self.size.width - right.cell_length - 2
        facts = list(said.facts)
        while len(facts) > 1 and len(" · ".join(facts)) + 1 > room:
            facts.pop()
        second = _two_ends(Content.assemble((" " + " · ".join(facts), "$muted")), right, self.size.width)
        return Content("\n").join([first, second])


def _two_ends(left: Content, right: Content, width: int) -> Content:
    room = width - right.cell_length
    return left.truncate(max(0, room - 1), ellipsis=True).pad_right(max(0, room - left.cell_length)) + right
