"""The transcript of a session: both sides, with times, as far as this screen saw it."""

from datetime import tzinfo

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from smtppseudo.tui.model import Model
from smtppseudo.tui.screens.dialog import Dialog
from smtppseudo.tui.slots import SlotRow
from smtppseudo.tui.texts import clock_time
from smtppseudo.tui.transcripts import Line, Transcript

_STYLES = {"C": "bold", "S": "$spark", "-": "$muted"}


class TranscriptPanel(Dialog[None]):
    """The panel; it grows as the session goes on."""

    BINDINGS = [("enter,q", "cancel", "Close")]  # noqa: RUF012 - as Textual has it

    def __init__(self, model: Model, row: SlotRow, zone: tzinfo | None) -> None:
        super().__init__()
        self._model = model
        self._slot, self._session = row.slot, row.session
        self._title = f"Slot {row.slot}, session {row.session}: {row.ip} port {row.port}"
        self._known = [(name, getattr(row, name)) for name in ("helo", "sender", "last", "error")]
        self._zone = zone
        self._shown: object = None

    def compose(self) -> ComposeResult:
        """Make the box."""
        with Vertical() as box:
            box.border_title = Content(self._title)
            box.border_subtitle = "Esc closes"
            with VerticalScroll():
                yield Static("", markup=False)

    def on_mount(self) -> None:
        """Show what is there, and what comes."""
        self.query_one(VerticalScroll).focus()
        self.catch_up()
        self.set_interval(0.2, self.catch_up)

    def catch_up(self) -> None:
        """Show what came since."""
        seen = self._model.transcripts.get(self._session)
        version = None if seen is None else (seen.cut, len(seen))
        if version == self._shown and self._shown is not None:
            return
        if seen is None and self._shown is not None:
            return  # it is not kept any more; what is on the screen stays there
        self._shown = version or ()
        scroll = self.query_one(VerticalScroll)
        at_end = scroll.is_vertical_scroll_end
        self.query_one(Static).update(self._nothing() if seen is None else self._text(seen))
        if at_end:
            scroll.scroll_end(animate=False)

    def _nothing(self) -> Content:
        lines = ["This screen saw nothing of this session: it is older than the events kept."]
        known = [f"{name:<8}{value}" for name, value in self._known if value]
        return Content("\n".join([*lines, "", "What the server knows of it:" if known else "", *known]))

    def _text(self, seen: Transcript) -> Content:
        lines = [self._line(line) for line in seen.lines()]
        if seen.cut:
            lines.insert(0, Content.assemble((f"-- {seen.cut} events before this are not kept --", "$warn italic")))
        if not seen.is_whole:
            text = "-- this is not the start: the session began before what this screen saw --"
            lines.insert(0, Content.assemble((text, "$warn italic")))
        return Content("\n").join(lines)

    def _line(self, line: Line) -> Content:
        time = clock_time(line.time, self._zone) if line.time else " " * 8
        return Content.assemble((f"{time} ", "$muted"), (f"{line.side} {line.text}", _STYLES[line.side]))
