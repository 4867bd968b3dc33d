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
from smtppseudo.link.route import own_address, resolve
from smtppseudo.monitor.codec import Frame
from smtppseudo.smtp.dialogue import Dialogue
from smtppseudo.tui.background import in_thread, reply_to, start_worker
from smtppseudo.tui.dialogs.dialog import ConfirmDialog, Dialog, box, buttons, complaint, field
from smtppseudo.tui.feeder import Feeder
from smtppseudo.tui.texts import text_of
from smtppseudo.tui.widgets.buttons import TextButton, TextSwitch

_LOOK_UP_AFTER_S: Final = 0.3  # after the last key


class SetupResult(NamedTuple):
    """Which server to show, and how to log in there. `word` None: as before."""

    host: str
    port: int
    word: str | None
    is_kept: bool
    cleartext: bool
    wants_new_word: bool = False  # change the server's magic word; nothing else counts then

    def __repr__(self) -> str:
        return f"SetupResult({self.host!r}, {self.port!r})"


class AddressCheck(NamedTuple):
    """The result of a name lookup, as a text."""

    text: str
    is_good: bool


def look_up(address: str) -> AddressCheck:
    """Look an address or a name up. This may take seconds."""
    try:
        found = resolve(address)
    except LinkError as error:
        return AddressCheck(f"{address} is not a valid IP. ({error})", is_good=False)
    own = own_address(address)
    addresses = ", ".join(found[:3]) + (" and more" if len(found) > 3 else "")
    return AddressCheck(f"{addresses}: {'this machine' if own else 'another machine'}", is_good=True)


def _check_port(value: str) -> str:
    if not (value.isascii() and value.isdecimal() and 0 < int(value) < 1 << 16):
        raise ValueError(f"{value or 'nothing'} is not a port: 1 to 65535")
    return "the server's monitor port, usually 26"


class SetupDialog(Dialog[SetupResult]):
    """The form. The greeting is saved at the server, the rest on this machine."""

    AUTO_FOCUS = "#host"  # the greeting gets the focus when it is loaded

    def __init__(self, source: Feeder, before: SetupResult, login: str, date: str, *, is_connected: bool) -> None:
        super().__init__()
        self._source = source
        self._before = before
        self._login = login
        self._date = date
        self._is_connected = is_connected
        self._greeting = ""
        self._settings: Frame = {}
        self._revision = 0
        self._address = ""
        self._checked: AddressCheck | None = None  # None: the lookup has not ended

    def compose(self) -> ComposeResult:
        before = self._before
        with box("Setup"):
            for name, label, value in (
                ("greeting", "Greeting", ""),
                ("host", "IP to monitor", before.host),
                ("port", "Port", str(before.port)),
                ("word", "Magic word", ""),
            ):
                line = Input(value, compact=True, password=name == "word", id=name, disabled=name == "greeting")
                yield field(label, line)
                yield Static("", classes="hint", id=f"{name}-hint", markup=False)
            with Horizontal(classes="options"):
                yield TextSwitch("Remember the magic word", id="keep")
                yield TextSwitch("Clear text to other machines", id="cleartext")
            yield complaint()
            word = TextButton("Change the server's magic word", id="server-word", disabled=not self._is_connected)
            yield buttons(TextButton("Save", id="save"), TextButton("Cancel", id="cancel"), word)

    def on_mount(self) -> None:
        self.query_one("#keep", TextSwitch).is_on = self._before.is_kept
        self.query_one("#cleartext", TextSwitch).is_on = self._before.cleartext
        for name in ("greeting", "port", "word"):
            self._check(name)
        self._look_up_soon(self._before.host)
        if self._is_connected:
            self._hint("greeting", "asking the server ...")
            start_worker(self, self._load, "load")

    def on_input_changed(self, event: Input.Changed) -> None:
        """Check each value while it is typed."""
        if event.input.id == "host":
            self._look_up_soon(event.value.strip())
        else:
            self._check(str(event.input.id))

    def on_input_submitted(self) -> None:
        self._save()

    def press(self, button: TextButton) -> None:
        if button.id == "save":
            self._save()
        else:
            self.dismiss(self._before._replace(wants_new_word=True))

    def action_cancel(self) -> None:
        """Leave; ask first if something was typed."""
        if not self._is_changed():
            self.dismiss(None)
            return

        def leave(is_sure: bool | None) -> None:
            if is_sure:
                self.dismiss(None)

        text = "Your changes here are not saved."
        self.app.push_screen(ConfirmDialog("Leave Setup", text, "Leave without saving"), leave)

    def _is_changed(self) -> bool:
        values = [self._value(name) for name in ("greeting", "host", "port", "word")]
        before = self._before
        return (
            values != [self._greeting, before.host, str(before.port), ""]
            or self.query_one("#keep", TextSwitch).is_on != before.is_kept
            or self.query_one("#cleartext", TextSwitch).is_on != before.cleartext
        )

    def _value(self, name: str) -> str:
        return self.query_one(f"#{name}", Input).value

    async def _load(self) -> None:
        """Show the server's greeting."""
        try:
            fields = await reply_to(self._source.ask("get"))
        except LinkError as error:
            self._hint("greeting", str(error), is_bad=True)
            return
        self._take(fields)
        greeting = self.query_one("#greeting", Input)
        greeting.disabled = False
        greeting.value = self._greeting
        self._check("greeting")
        greeting.focus()

    def _take(self, fields: Frame) -> None:
        settings, revision = fields.get("settings"), fields.get("revision")
        self._settings = settings if isinstance(settings, dict) else {}
        self._greeting = text_of(self._settings, "greeting")
        self._revision = revision if isinstance(revision, int) else 0

    def _check(self, name: str) -> bool:
        """Check the greeting, the port or the magic word, and show the result; return whether it is good."""
        check_value = {"greeting": self._check_greeting, "port": _check_port, "word": self._check_word}[name]
        try:
            self._hint(name, check_value(self._value(name)))
        except ValueError as error:
            self._hint(name, str(error), is_bad=True)
            return False
        return True

    def _check_greeting(self, value: str) -> str:
        if not self.query_one("#greeting", Input).disabled:
            check("greeting", value)
            return f"callers get: {self._preview(value)}"
        return "needs a connection to the server"

    def _check_word(self, value: str) -> str:
        try:
            return "this screen logs in with it; the server's is not changed" if checked_word(value) else ""
        except ValueError as error:
            if not value:
                return self._login
            raise ValueError(f"{error}: {len(value)} so far") from None

    def _preview(self, greeting: str) -> str:
        """Return the first line that a caller at 192.0.2.1 would get now."""
        settings = Settings(
            greeting=greeting,
            hostname=text_of(self._settings, "hostname"),
            refusal=text_of(self._settings, "refusal"),
            accept_mail=self._settings.get("accept_mail") is True,
            reject_at="connect" if self._settings.get("reject_at") == "connect" else "mail",
        )
        return Dialogue(settings).greeting("192.0.2.1", self._date).decode().strip()

    def _look_up_soon(self, address: str) -> None:
        self._checked = None
        self._address = address
        if not address:
            self._hint("host", "An empty address is not a valid IP.", is_bad=True)
            return
        self._hint("host", "looking it up ...")
        start_worker(self, partial(self._look_up, address, _LOOK_UP_AFTER_S), "look-up")

    async def _look_up(self, address: str, after_s: float = 0.0) -> AddressCheck:
        await asyncio.sleep(after_s)
        checked = await in_thread(partial(look_up, address))
        if address == self._address:
            self._checked = checked
            self._hint("host", checked.text, is_bad=not checked.is_good)
        return checked

    def _hint(self, name: str, text: str, is_bad: bool = False) -> None:
        # Not query_one: an answer may come while the dialog is being closed.
        for hint in self.query(f"#{name}-hint").results(Static):
            hint.update(printable(text))
            hint.set_class(is_bad, "-bad")

    def _save(self) -> None:
        start_worker(self, self._save_all, "save")

    async def _save_all(self) -> None:
        greeting, port, word = self._value("greeting"), self._value("port"), self._value("word")
        checks = {
            "greeting": self._check("greeting"),
            "host": await self._is_address_good(),
            "port": self._check("port"),
            "word": self._check("word"),
        }
        bad = next((name for name, is_good in checks.items() if not is_good), None)
        if bad is not None:
            self.query_one(f"#{bad}").focus()
            return
        if self._is_connected and greeting != self._greeting and not await self._set_greeting(greeting):
            return
        keep, cleartext = self.query_one("#keep", TextSwitch).is_on, self.query_one("#cleartext", TextSwitch).is_on
        self.dismiss(SetupResult(self._address, int(port), word or None, keep, cleartext))

    async def _is_address_good(self) -> bool:
        if not self._address:
            return False
        checked = self._checked or await self._look_up(self._address)
        return checked.is_good

    async def _set_greeting(self, greeting: str) -> bool:
        """Save the greeting at the server; return whether that was done, and show why not."""
        try:
            try:
                await reply_to(self._source.ask("set", changes={"greeting": greeting}, revision=self._revision))
            except OpRefusedError as error:
                if error.code != "conflict":
                    raise
                self._take(await reply_to(self._source.ask("get")))
                text = f'Another monitor has changed the settings; the greeting is "{self._greeting}" now.'
                self._hint("greeting", f"{text} Save again to replace it.", is_bad=True)
                return False
        except LinkError as error:
            self._hint("greeting", str(error), is_bad=True)
            return False
        return True
