"""The details beside the tables: the server, connections per minute, who calls most, the service."""

from collections.abc import Sequence
from typing import NamedTuple

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from smtppseudo.tui.tally import sparkline

CALLERS_SHOWN = 10
SPARK = "~"  # the name of a line that is a drawing
_WIDTH = 34


class Section(NamedTuple):
    """A heading and lines of a name and a value; a line without a name is a text."""

    title: str
    lines: Sequence[tuple[str, str]]


class Details(VerticalScroll, can_focus=False):
    """The panel."""

    def __init__(self, *, id: str) -> None:  # noqa: A002
        super().__init__(id=id)
        self._text = Content("")
        self._part = Static("", id="details-text", markup=False)

    def compose(self) -> ComposeResult:
        """Make its only part."""
        yield self._part

    def show(self, sections: Sequence[Section]) -> None:
        """Show sections, one below the other."""
        text = _text(sections)
        if text != self._text:
            has_other_height = text.plain.count("\n") != self._text.plain.count("\n")
            self._text = text
            self._part.update(text, layout=has_other_height)


def _text(sections: Sequence[Section]) -> Content:
    """Render sections, one below the other."""
    parts: list[Content] = []
    for section in sections:
        lines = [Content.assemble((f" {section.title}", "bold"))]
        lines += [_line(name, value) for name, value in section.lines]
        parts.append(Content("\n").join(lines))
    return Content("\n\n").join(parts)


def _line(name: str, value: str) -> Content:
    if name == SPARK:
        return Content.assemble(" ", (value, "$spark"))
    return Content.assemble((f" {name:<11} " if name else " ", "$muted"), value)


def of_rate(figures: Sequence[int]) -> Section:
    """Show connections per minute, the current one last."""
    width = _WIDTH - 4
    shown = list(figures[-width:])
    most = max(shown, default=0)
    lines = [(SPARK, sparkline(shown)), ("", f"{shown[-1]} this minute, {most} at most in {len(shown)}")]
    return Section("Connections per minute", lines)


def of_callers(callers: Sequence[tuple[str, int]]) -> Section:
    """Show who calls most."""
    lines = [("", f"{count:>6}  {ip}") for ip, count in callers] or [("", "nobody yet")]
    return Section("Top callers", lines)
