"""The details: the server, the service, and, where they have no pane, the top callers."""

from collections.abc import Sequence
from typing import NamedTuple

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static


class Section(NamedTuple):
    """A heading, and lines of a name and a value. A line without a name is plain text."""

    title: str
    lines: Sequence[tuple[str, str]]


class Details(VerticalScroll, can_focus=False):
    """The panel."""

    def __init__(self, *, id: str) -> None:  # noqa: A002
        super().__init__(id=id)
        self._text = Content("")
        self._static = Static("", id="details-text", markup=False)

    def compose(self) -> ComposeResult:
        yield self._static

    def show(self, sections: Sequence[Section]) -> None:
        """Show sections, one below the other."""
        text = details_text(sections)
        if text != self._text:
            has_other_height = text.plain.count("\n") != self._text.plain.count("\n")
            self._text = text
            self._static.update(text, layout=has_other_height)


def details_text(sections: Sequence[Section]) -> Content:
    """Return sections, one below the other."""
    return Content("\n\n").join([_render(section) for section in sections])


def _render(section: Section) -> Content:
    title = Content.assemble((f" {section.title}", "bold"))
    return Content("\n").join([title, *[_line(name, value) for name, value in section.lines]])


def _line(name: str, value: str) -> Content:
    return Content.assemble((f" {name:<13} " if name else " ", "$muted"), value)
