"""Dialogs about the magic word: the login at a server, and a new magic word for it."""

import os
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from textual.app import ComposeResult
from textual.widgets import Input, Static

from smtppseudo.link.errors import LinkError
from smtppseudo.link.machine import checked_word
from smtppseudo.monitor.credentials import WORD_ITERATIONS, WORD_SALT_BYTES, derive
from smtppseudo.tui.background import in_thread, reply_to, start_worker
from smtppseudo.tui.dialogs.dialog import Dialog, box, buttons, complaint, field, text_line
from smtppseudo.tui.feeder import Feeder
from smtppseudo.tui.widgets.buttons import TextButton, TextSwitch


class TypedWord(NamedTuple):
    """A magic word that was typed, and whether to keep it."""

    word: str
    is_kept: bool

    def __repr__(self) -> str:
        return "TypedWord([redacted])"


class LoginDialog(Dialog[TypedWord]):
    """Asks for the magic word of a server. `reason` says why."""

    def __init__(self, reason: str, *, is_kept: bool) -> None:
        super().__init__()
        self._reason = reason
        self._is_kept = is_kept

    def compose(self) -> ComposeResult:
        with box("Magic word"):
            yield text_line(self._reason)
            yield field("Magic word", Input(password=True, compact=True, id="word"))
            yield TextSwitch("Remember it in a file that only you can read", id="keep")
            yield complaint()
            yield buttons(TextButton("Log in", id="yes"), TextButton("Cancel", id="cancel"))

    def on_mount(self) -> None:
        self.query_one("#keep", TextSwitch).is_on = self._is_kept

    def on_input_submitted(self) -> None:
        self._log_in()

    def press(self, button: TextButton) -> None:  # noqa: ARG002
        self._log_in()

    def _log_in(self) -> None:
        try:
            word = checked_word(self.query_one(Input).value)
        except ValueError as error:
            self.complain(str(error))
        else:
            self.dismiss(TypedWord(word, self.query_one("#keep", TextSwitch).is_on))


class NewWordDialog(Dialog[str]):
    """Asks twice for a new magic word and sets it at the server. Only keys derived from it leave this machine."""

    def __init__(self, source: Callable[[], Feeder], place: str) -> None:
        super().__init__()
        self._source = source
        self._place = place

    def compose(self) -> ComposeResult:
        with box("New magic word"):
            yield text_line(f"The monitor password of {self._place}. Setting it logs out all other monitors.")
            yield field("Magic word", Input(password=True, compact=True, id="word"))
            yield field("The same again", Input(password=True, compact=True, id="again"))
            yield Static("8 to 128 printable ASCII characters", classes="hint", markup=False)
            yield complaint()
            yield buttons(TextButton("Set it", id="yes"), TextButton("Cancel", id="cancel"))

    def on_input_changed(self) -> None:
        self.query_one(".hint", Static).update(self._fault() or "good")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if event.input.id == "word":
            self.query_one("#again").focus()
        else:
            self._submit()

    def press(self, button: TextButton) -> None:  # noqa: ARG002
        self._submit()

    def _fault(self) -> str:
        word, again = self.query_one("#word", Input).value, self.query_one("#again", Input).value
        try:
            checked_word(word)
        except ValueError as error:
            return f"{error}: {len(word)} so far"
        return "" if again == word else "the two are not the same yet"

    def _submit(self) -> None:
        fault = self._fault()
        if fault:
            hint = self.query_one(".hint", Static)
            hint.update(fault)
            hint.add_class("-bad")
            return
        self.query_one("#yes", TextButton).disabled = True
        start_worker(self, partial(self._set, self.query_one("#word", Input).value), "act")

    async def _set(self, word: str) -> None:
        credentials = await in_thread(lambda: derive(word, os.urandom(WORD_SALT_BYTES), WORD_ITERATIONS))
        try:
            await reply_to(self._source().ask("magic_word", **credentials.to_fields()))
        except LinkError as error:
            self.complain(str(error))
            self.query_one("#yes", TextButton).disabled = False
        else:
            self.dismiss(word)
