"""Dialogs about the magic word: the one that lets this screen in, and a new one for the server."""

import os
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widgets import Input, Static

from smtppseudo.link.errors import LinkError
from smtppseudo.link.machine import checked_word
from smtppseudo.monitor.credentials import WORD_ITERATIONS, WORD_SALT_BYTES, derive
from smtppseudo.tui.feeder import Feed
from smtppseudo.tui.screens.dialog import Dialog
from smtppseudo.tui.texts import sentence, shown
from smtppseudo.tui.waiting import answer, aside, begin
from smtppseudo.tui.widgets.push import Push, Switch


class GivenWord(NamedTuple):
    """A magic word that was typed, and whether it is to be kept."""

    word: str
    is_kept: bool

    def __repr__(self) -> str:
        return "GivenWord([redacted])"


class AskWord(Dialog[GivenWord]):
    """Asks for the magic word of a server. `reason` says why."""

    def __init__(self, reason: str, *, is_kept: bool) -> None:
        super().__init__()
        self._reason = reason
        self._is_kept = is_kept

    def compose(self) -> ComposeResult:
        """Make the box."""
        with Vertical() as box:
            box.border_title = "Magic word"
            yield Static(self._reason, classes="text", markup=False)
            with Horizontal(classes="row"):
                yield Static("Magic word", classes="label", markup=False)
                yield Input(password=True, compact=True, id="word")
            yield Static("", classes="hint", markup=False)
            yield Switch("Remember it in a file that only you can read", id="keep")
            yield Static("", classes="bad", markup=False)
            with Horizontal(classes="buttons"):
                yield Push("Log in", id="yes")
                yield Push("Cancel", id="no")

    def on_mount(self) -> None:
        """Begin with the word."""
        self.query_one("#keep", Switch).is_on = self._is_kept
        self.query_one(Input).focus()

    def on_input_submitted(self) -> None:
        """Log in."""
        self._log_in()

    def on_push_pressed(self, event: Push.Pressed) -> None:
        """Do what the button says."""
        event.stop()
        if isinstance(event.push, Switch):
            event.push.is_on = not event.push.is_on
        elif event.push.id == "yes":
            self._log_in()
        else:
            self.action_cancel()

    def _log_in(self) -> None:
        try:
            word = checked_word(self.query_one(Input).value)
        except ValueError as error:
            hint = self.query_one(".hint", Static)
            hint.update(sentence(str(error)))
            hint.add_class("-bad")
        else:
            self.dismiss(GivenWord(word, self.query_one("#keep", Switch).is_on))


class NewWord(Dialog[str]):
    """Asks, twice, for a new magic word and makes it the server's. What leaves this machine is not the word."""

    def __init__(self, feed: Callable[[], Feed], place: str) -> None:
        super().__init__()
        self._feed = feed
        self._place = place

    def compose(self) -> ComposeResult:
        """Make the box."""
        with Vertical() as box:
            box.border_title = "New magic word"
            text = f"It lets monitors in at {self._place}. When it is set, all other monitors are logged out."
            yield Static(shown(text), classes="text", markup=False)
            for id_, label in (("word", "Magic word"), ("again", "The same again")):
                with Horizontal(classes="row"):
                    yield Static(label, classes="label", markup=False)
                    yield Input(password=True, compact=True, id=id_)
            yield Static("8 to 128 printable ASCII characters", classes="hint", markup=False)
            yield Static("", classes="bad", markup=False)
            with Horizontal(classes="buttons"):
                yield Push("Set it", id="yes")
                yield Push("Cancel", id="no")

    def on_mount(self) -> None:
        """Begin with the word."""
        self.query_one("#word").focus()

    def on_input_changed(self) -> None:
        """Say at once what is wrong."""
        self._show(self._fault())

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Go on."""
        if event.input.id == "word":
            self.query_one("#again").focus()
        else:
            self._set()

    def on_push_pressed(self, event: Push.Pressed) -> None:
        """Do what the button says."""
        event.stop()
        if event.push.id == "yes":
            self._set()
        else:
            self.action_cancel()

    def _fault(self) -> str:
        word, again = self.query_one("#word", Input).value, self.query_one("#again", Input).value
        try:
            checked_word(word)
        except ValueError as error:
            return f"{error}: {len(word)} so far"
        return "" if again == word else "the two are not the same yet"

    def _show(self, fault: str) -> None:
        hint = self.query_one(".hint", Static)
        hint.update(fault or "good")

    def _set(self) -> None:
        fault = self._fault()
        if fault:
            self._show(fault)
            self.query_one(".hint").add_class("-bad")
            return
        self.query_one("#yes", Push).disabled = True
        begin(self, partial(self._have_it_set, self.query_one("#word", Input).value), "act")

    async def _have_it_set(self, word: str) -> None:
        credentials = await aside(lambda: derive(word, os.urandom(WORD_SALT_BYTES), WORD_ITERATIONS))
        try:
            await answer(self._feed().ask("magic_word", **credentials.to_fields()))
        except LinkError as error:
            self.complain(str(error))
            self.query_one("#yes", Push).disabled = False
        else:
            self.dismiss(word)
