"""The transcript of a session: both sides, with times, as far as this screen saw it."""

from datetime import tzinfo
from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from smtppseudo.tui.dialogs.dialog import Dialog, box
from smtppseudo.tui.model import Model
from smtppseudo.tui.texts import clock_time, reply_class
from smtppseudo.tui.transcripts import SessionKey, Transcript, TranscriptLine

_STYLES: Final = {"no": "$primary", "mistake": "$muted", "fault": "$error", "said": ""}
_REFRESH_S: Final = 0.2


class TranscriptDialog(Dialog[None]):
    """The dialog. It grows while the session goes on."""

    BINDINGS: ClassVar[list[BindingType]] = [("enter", "cancel", "Close")]

    def __init__(self, model: Model, key: SessionKey, zone: tzinfo | None) -> None:
        super().__init__()
        self._model = model
        self._key = key
        self._title = f"Slot {key.slot}, session {key.session}: {key.ip} port {key.port}"
        row = model.board.rows.get(key.slot)
        is_known = row is not None and row.key == key
        self._known = [(name, getattr(row, name)) for name in ("helo", "sender", "last", "reply") if is_known]
        self._zone = zone
        self._shown: tuple[int, ...] | None = None

    def compose(self) -> ComposeResult:
        with box(self._title, "Esc closes"), VerticalScroll():
            yield Static("", markup=False)

    def on_mount(self) -> None:
        self.catch_up()
        self.set_interval(_REFRESH_S, self.catch_up)

    def catch_up(self) -> None:
        """Show new lines."""
        transcript = self._model.transcripts.get(self._key)
        if transcript is None and self._shown is not None:
            return  # removed in the meantime: the lines on the screen stay
        version = () if transcript is None else (transcript.cut, len(transcript))
        if version == self._shown:
            return
        self._shown = version
        scroll = self.query_one(VerticalScroll)
        at_end = scroll.is_vertical_scroll_end
        self.query_one(Static).update(self._nothing() if transcript is None else self._text(transcript))
        if at_end:
            scroll.scroll_end(animate=False)

    def _nothing(self) -> Content:
        lines = ["This screen saw nothing of this session: it is older than the events kept."]
        known = [f"{name:<8}{value}" for name, value in self._known if value]
        return Content("\n".join([*lines, "", "The server's last state of it:" if known else "", *known]))

    def _text(self, transcript: Transcript) -> Content:
        lines = [self._line(line) for line in transcript.lines()]
        if transcript.cut:
            text = f"-- {transcript.cut} events before this are not kept --"
            lines.insert(0, Content.assemble((text, "$warn italic")))
        if not transcript.is_whole:
            text = "-- this is not the start: the session began before this screen connected --"
            lines.insert(0, Content.assemble((text, "$warn italic")))
        return Content("\n").join(lines)

    def _line(self, line: TranscriptLine) -> Content:
        time = clock_time(line.time, self._zone) if line.time else " " * 8
        style = "$muted" if line.side == "-" else _STYLES[reply_class(line.text)] if line.side == "S" else ""
        return Content.assemble((f"{time} ", "$muted"), (f"{line.side} {line.text}", style))
