"""The title of a pane: a rule with its name, and its state on the right."""

from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget


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
