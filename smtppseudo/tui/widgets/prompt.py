"""The line at the bottom where a filter or a search is typed, and below it what is wrong with it."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Input, Static

Purpose: TypeAlias = Literal["slots", "events", "search"]

_LABELS = {"slots": "Filter slots:", "events": "Filter events:", "search": "Search events:"}
_HINTS = {
    "slots": "words, ip:192.0.2.0/24, state:open",
    "events": "words, ip:192.0.2.0/24, event:connected,closed",
    "search": "words; Enter finds the latest match, then N and n go on",
}


class Prompt(Vertical):
    """Visible only while it is used. A filter acts while it is typed; Esc restores the one before."""

    BINDINGS = [Binding("escape", "cancel", "Cancel", show=False)]  # noqa: RUF012 - as Textual has it
    _purpose: Purpose = "slots"
    _before = ""

    @dataclass
    class Typed(Message):
        """The text has changed; `is_done`: it is complete."""

        purpose: Purpose
        text: str
        is_done: bool

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield Static("", id="prompt-label", markup=False)
            yield Input(compact=True, id="prompt-input")
        yield Static("", id="prompt-complaint", markup=False)

    def ask(self, purpose: Purpose, text: str) -> None:
        """Show the prompt with a text to edit."""
        self._purpose, self._before = purpose, text
        self.query_one("#prompt-label", Static).update(_LABELS[purpose])
        self.complain("")
        line = self.query_one(Input)
        with line.prevent(Input.Changed):
            line.value = text
        line.placeholder = _HINTS[purpose]
        self.display = True
        line.focus()

    def complain(self, reason: str) -> None:
        """Show an error in the text."""
        complaint = self.query_one("#prompt-complaint", Static)
        complaint.update(reason)
        complaint.display = bool(reason)

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        if self.display and self._purpose != "search":
            self.post_message(self.Typed(self._purpose, event.value, is_done=False))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.post_message(self.Typed(self._purpose, event.value, is_done=True))

    def action_cancel(self) -> None:
        text = "" if self._purpose == "search" else self._before
        self.post_message(self.Typed(self._purpose, text, is_done=True))
