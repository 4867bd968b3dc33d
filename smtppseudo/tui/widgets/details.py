"""The details beside the tables: the server, connections per minute, top callers, the service."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from smtppseudo.tui.rates import sparkline

CALLERS_SHOWN: Final = 10
_SPARKLINE: Final = "~"  # the name of a line that holds a sparkline
_SPARKLINE_MINUTES: Final = 30


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
        text = Content("\n\n").join([_render(section) for section in sections])
        if text != self._text:
            has_other_height = text.plain.count("\n") != self._text.plain.count("\n")
            self._text = text
            self._static.update(text, layout=has_other_height)


def _render(section: Section) -> Content:
    title = Content.assemble((f" {section.title}", "bold"))
    return Content("\n").join([title, *[_line(name, value) for name, value in section.lines]])


def _line(name: str, value: str) -> Content:
    if name == _SPARKLINE:
        return Content.assemble(" ", (value, "$secondary"))
    return Content.assemble((f" {name:<11} " if name else " ", "$muted"), value)


def rate_section(figures: Sequence[int]) -> Section:
    """Return connections per minute, the current minute at the end."""
    shown = list(figures[-_SPARKLINE_MINUTES:])
    most = max(shown, default=0)
    lines = [(_SPARKLINE, sparkline(shown)), ("", f"{shown[-1]} this minute, at most {most} in {len(shown)}")]
    return Section("Connections per minute", lines)


def caller_section(callers: Sequence[tuple[str, int]]) -> Section:
    """Return the callers with the most connections."""
    lines = [("", f"{count:>6}  {ip}") for ip, count in callers] or [("", "none yet")]
    return Section("Top callers", lines)
