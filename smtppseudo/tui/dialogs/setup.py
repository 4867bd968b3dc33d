"""Setup: the server's greeting, and which server this screen shows."""

import asyncio
from functools import partial
from typing import Final, NamedTuple

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Input, Static

from smtppseudo.config.settings import Settings, check
from smtppseudo.events import printable
from smtppseudo.link.errors import LinkError, OpRefusedError
from smtppseudo.link.machine import checked_word
from smtppseudo.link.route import Target, own_address, resolve
from smtppseudo.link.wire import TlsMode
from smtppseudo.smtp.dialogue import Dialogue
from smtppseudo.tui.background import in_thread, start_worker
from smtppseudo.tui.dialogs.dialog import ConfirmDialog, Dialog, field
from smtppseudo.tui.server_view import ServerView
from smtppseudo.tui.texts import text_of
from smtppseudo.tui.widgets.buttons import TextButton, TextSwitch

_LOOK_UP_AFTER_S: Final = 0.3  # after the last key


class SetupResult(NamedTuple):
    """Which server to show, and whether to keep its magic word."""

    target: Target
    is_kept: bool
    wants_new_word: bool = False  # change the server's magic word; nothing else counts then


def look_up(address: str) -> str:
    """Return the addresses of a name in words; this may take seconds. Raises ValueError if there are none."""
    if not address:
        raise ValueError("an empty address is not a valid IP")
    try:
        found = resolve(address)
    except LinkError as error:
        raise ValueError(f"{address} is not a valid IP. ({error})") from None
    addresses = ", ".join(found[:3]) + (" and more" if len(found) > 3 else "")
    return f"{addresses}: {'this machine' if own_address(address) else 'another machine'}"


def _check_port(value: str) -> str:
    if not (value.isascii() and value.isdecimal() and 0 < int(value) < 1 << 16):
        raise ValueError(f"{value or 'nothing'} is not a port: 1 to 65535")
    return "the server's monitor port, usually 26"


class SetupDialog(Dialog[SetupResult]):
    """The form. The greeting is saved at the server, the rest on this machine."""

    def __init__(self, view: ServerView, *, is_kept: bool) -> None:
        self._view, self._is_connected = view, view.link.up is not None
        word = TextButton("Change the server's magic word", id="server-word", disabled=not self._is_connected)
        super().__init__("Setup", TextButton("Save", id="save"), TextButton("Cancel", id="cancel"), word)
        self._before = view.full_target
        self._keep = TextSwitch("Remember the magic word", id="keep", is_on=is_kept)
        self._cleartext = TextSwitch("Clear text to other machines", id="cleartext", is_on=view.target.tls == "off")
        self._take_greeting()

    def _take_greeting(self) -> None:
        model = self._view.model
        self._greeting, self._revision = text_of(model.settings, "greeting"), model.revision

    def body(self) -> ComposeResult:
        for name, label, value in (
            ("greeting", "Greeting", self._greeting),
            ("host", "IP to monitor", self._before.address),
            ("port", "Port", str(self._before.port)),
            ("word", "Magic word", ""),
        ):
            is_disabled = name == "greeting" and not self._is_connected
            yield field(label, Input(value, compact=True, password=name == "word", id=name, disabled=is_disabled))
            yield Static("", classes="hint", id=f"{name}-hint", markup=False)
        yield Horizontal(self._keep, self._cleartext, classes="options")

    def on_mount(self) -> None:
        self._form_before = self._form()
        for name in self._form_before[0]:
            self._check_soon(name)

    def _form(self) -> tuple[dict[str, str], bool, bool]:
        """Return the input lines by name, and the state of the switches."""
        values = {str(line.id): line.value for line in self.query(Input)}
        return values, self._keep.is_on, self._cleartext.is_on

    def _value(self, name: str) -> str:
        return self.query_one(f"#{name}", Input).value

    def on_input_changed(self, event: Input.Changed) -> None:
        """Check each value while it is typed."""
        self._check_soon(str(event.input.id))

    def _check_soon(self, name: str) -> None:
        start_worker(self, partial(self._check, name, _LOOK_UP_AFTER_S), f"check {name}")

    def press(self, button: TextButton) -> None:
        if button.id == "save":
            self.submit()
        else:
            self.dismiss(SetupResult(self._before, self._keep.is_on, wants_new_word=True))

    def action_cancel(self) -> None:
        """Leave; ask first if something was typed."""
        if self._form() == self._form_before:
            self.dismiss(None)
            return

        def leave(is_sure: bool | None) -> None:
            if is_sure:
                self.dismiss(None)

        text = "Your changes here are not saved."
        self.app.push_screen(ConfirmDialog("Leave Setup", text, "Leave without saving"), leave)

    async def _check(self, name: str, look_up_after_s: float = 0) -> bool:
        """Check a value and show the result; return whether it is good."""
        try:
            if name == "host":
                self._hint(name, "looking it up ...")
                await asyncio.sleep(look_up_after_s)
                text = await in_thread(partial(look_up, self._value(name).strip()))
            else:
                check_value = {"greeting": self._check_greeting, "port": _check_port, "word": self._check_word}[name]
                text = check_value(self._value(name))
        except ValueError as error:
            self._hint(name, str(error), is_bad=True)
            return False
        self._hint(name, text)
        return True

    def _check_greeting(self, value: str) -> str:
        """Return the first line that a caller at 192.0.2.1 would get now."""
        if not self._is_connected:
            return "needs a connection to the server"
        check("greeting", value)
        of_server, at = self._view.model.settings, self._view.dependencies.wall().astimezone(self._view.zone)
        settings = Settings(
            greeting=value,
            hostname=text_of(of_server, "hostname"),
            refusal=text_of(of_server, "refusal"),
            accept_mail=of_server.get("accept_mail") is True,
            reject_at="connect" if of_server.get("reject_at") == "connect" else "mail",
        )
        date = f"{at:%m/%d/%Y} {at.hour % 12 or 12}:{at:%M:%S} {'AM' if at.hour < 12 else 'PM'} {at:%z}"
        return f"callers get: {Dialogue(settings).greeting('192.0.2.1', date).decode().strip()}"

    def _check_word(self, value: str) -> str:
        if value:
            try:
                checked_word(value)
            except ValueError as error:
                raise ValueError(f"{error}: {len(value)} so far") from None
            return "this screen logs in with it; the server's is not changed"
        up = self._view.link.up
        if up is not None and up.user == "cookie":
            return "not needed: this user can read the server's cookie"
        return "leave empty to keep the one in use" if up is not None else "this screen logs in with it"

    def _hint(self, name: str, text: str, is_bad: bool = False) -> None:
        # Not query_one: an answer may come while the dialog is being closed.
        for hint in self.query(f"#{name}-hint").results(Static):
            hint.update(printable(text))
            hint.set_class(is_bad, "-bad")

    def submit(self) -> None:
        start_worker(self, self._save_all, "save")

    async def _save_all(self) -> None:
        values, is_kept, is_cleartext = self._form()
        for name in values:
            if not await self._check(name):
                self.query_one(f"#{name}").focus()
                return
        if self._is_connected and values["greeting"] != self._greeting:
            try:
                await self._save_greeting(values["greeting"])
            except LinkError as error:
                self._hint("greeting", str(error), is_bad=True)
                return
        host, port, before = values["host"].strip(), int(values["port"]), self._before
        is_same = (host, port) == before[:2]
        word = values["word"] or (before.magic_word if is_same else None)
        # Setup does not offer TLS to this machine: it comes from the command line alone.
        tls: TlsMode = "off" if is_cleartext else "on" if is_same and before.tls == "on" else "auto"
        self.dismiss(SetupResult(Target(host, port, word, tls), is_kept))

    async def _save_greeting(self, greeting: str) -> None:
        try:
            await self._view.change("set", changes={"greeting": greeting}, revision=self._revision)
        except OpRefusedError as error:
            if error.code != "conflict":
                raise
            self._take_greeting()
            text = f'another monitor has changed the settings; the greeting is "{self._greeting}" now'
            raise OpRefusedError(f"{text}; save again to replace it", error.code) from None
