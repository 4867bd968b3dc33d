"""The transcript of a session: both sides, with times, as far as this screen saw it."""

from datetime import tzinfo
from typing import Final

from textual.content import Content

from smtppseudo.tui.dialogs.dialog import TextDialog
from smtppseudo.tui.model import Model
from smtppseudo.tui.texts import clock_time, reply_class
from smtppseudo.tui.transcripts import SessionKey, Transcript, TranscriptLine

_STYLES: Final = {"no": "$primary", "mistake": "$muted", "fault": "$error", "said": ""}


def transcript_dialog(model: Model, key: SessionKey, zone: tzinfo | None) -> TextDialog:
    """Return the dialog that shows a session. It grows while the session goes on."""
    row = model.board.rows.get(key.slot)
    names = ("helo", "sender", "last", "reply") if row is not None and row.key == key else ()
    known = [f"{name:<8}{value}" for name in names if (value := getattr(row, name))]
    lines = ["This screen saw nothing of this session: it is older than the events kept."]
    nothing = "\n".join([*lines, "", "The server's last state of it:" if known else "", *known])

    def text() -> Content | None:
        transcript = model.transcripts.get(key)
        return None if transcript is None else _text(transcript, zone)

    return TextDialog(f"Slot {key.slot}, session {key.session}: {key.ip} port {key.port}", text, nothing)


def _text(transcript: Transcript, zone: tzinfo | None) -> Content:
    lines = [_line(line, zone) for line in transcript.lines()]
    notes = [] if transcript.is_whole else ["this is not the start: the session began before this screen connected"]
    notes += [f"{transcript.cut} events before this are not kept"] if transcript.cut else []
    return Content("\n").join([*[Content.styled(f"-- {note} --", "$warning italic") for note in notes], *lines])


def _line(line: TranscriptLine, zone: tzinfo | None) -> Content:
    time = clock_time(line.time, zone) if line.time else " " * 8
    style = "$muted" if line.side == "-" else _STYLES[reply_class(line.text)] if line.side == "S" else ""
    return Content.assemble((f"{time} ", "$muted"), (f"{line.side} {line.text}", style))
