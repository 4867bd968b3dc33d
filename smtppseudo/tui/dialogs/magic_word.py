"""Dialogs about the magic word: the login at a server, and a new magic word for it."""

import os
from functools import partial
from typing import NamedTuple

from textual.app import ComposeResult
from textual.widgets import Input, Static

from smtppseudo.link.errors import LinkError
from smtppseudo.link.machine import checked_word
from smtppseudo.monitor.credentials import WORD_ITERATIONS, WORD_SALT_BYTES, derive
from smtppseudo.tui.background import in_thread, reply_to, start_worker
from smtppseudo.tui.dialogs.dialog import Dialog, field, text_line
from smtppseudo.tui.server_view import ServerView
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
        super().__init__("Magic word", TextButton("Log in", id="yes"), TextButton("Cancel", id="cancel"))
        self._reason = reason
        self._keep = TextSwitch("Remember it in a file that only you can read", id="keep", is_on=is_kept)

    def body(self) -> ComposeResult:
        yield text_line(self._reason)
        yield field("Magic word", Input(password=True, compact=True, id="word"))
        yield self._keep

    def submit(self) -> None:
        try:
            word = checked_word(self.query_one(Input).value)
        except ValueError as error:
            self.complain(str(error))
        else:
            self.dismiss(TypedWord(word, self._keep.is_on))


class NewWordDialog(Dialog[str]):
    """Asks twice for a new magic word and sets it at the server. Only keys derived from it leave this machine."""

    def __init__(self, view: ServerView, place: str) -> None:
        super().__init__("New magic word", TextButton("Set it", id="yes"), TextButton("Cancel", id="cancel"))
        self._view, self._place = view, place
        self._word = Input(password=True, compact=True, id="word")
        self._again = Input(password=True, compact=True, id="again")
        self._hint = Static("8 to 128 printable ASCII characters", classes="hint", markup=False)

    def body(self) -> ComposeResult:
        yield text_line(f"The monitor password of {self._place}. Setting it logs out all other monitors.")
        yield field("Magic word", self._word)
        yield field("The same again", self._again)
        yield self._hint

    def on_input_changed(self) -> None:
        self._hint.update(self._fault() or "good")

    def _fault(self) -> str:
        word = self._word.value
        try:
            checked_word(word)
        except ValueError as error:
            return f"{error}: {len(word)} so far"
        return "" if self._again.value == word else "the two are not the same yet"

    def submit(self) -> None:
        fault = self._fault()
        if self._word.has_focus:
            self._again.focus()
        elif fault:
            self._hint.update(fault)
            self._hint.add_class("-bad")
        else:
            self.query_one("#yes").disabled = True
            start_worker(self, partial(self._set, self._word.value), "act")

    async def _set(self, word: str) -> None:
        credentials = await in_thread(lambda: derive(word, os.urandom(WORD_SALT_BYTES), WORD_ITERATIONS))
        try:
            await reply_to(self._view.source.ask("magic_word", **credentials.to_fields()))
        except LinkError as error:
            self.complain(str(error))
            self.query_one("#yes").disabled = False
        else:
            self.dismiss(word)
