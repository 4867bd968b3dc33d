"""The details: the server, its service, and, where they have no pane, the top callers."""

from collections.abc import Iterable

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static


class Details(VerticalScroll, can_focus=False):
    """The panel."""

    def __init__(self, *, id: str) -> None:  # noqa: A002
        super().__init__(id=id)
        self._text = Content("")
        self._static = Static("", id="details-text", markup=False)

    def compose(self) -> ComposeResult:
        yield self._static

    def show(self, text: Content) -> None:
        """Show a text."""
        if text != self._text:
            has_other_height = text.plain.count("\n") != self._text.plain.count("\n")
            self._text = text
            self._static.update(text, layout=has_other_height)


def section(title: str, lines: Iterable[tuple[str, str]]) -> Content:
    """Return a heading, and lines of a name and a value. A line without a name is plain text."""
    parts = [Content.assemble((f" {name:<13} " if name else " ", "$muted"), value) for name, value in lines]
    return Content("\n").join([Content.styled(f" {title}", "bold"), *parts])
