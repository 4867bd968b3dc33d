"""Setup: the server's greeting, and which server this screen watches."""

from functools import partial
from typing import NamedTuple

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widgets import Input, Static

from smtppseudo.config.settings import SettingsError, check
from smtppseudo.link.errors import LinkError, OpRefusedError
from smtppseudo.link.machine import checked_word
from smtppseudo.link.route import UnresolvedError, own_address, resolve
from smtppseudo.monitor.codec import Frame
from smtppseudo.tui.feeder import Feed
from smtppseudo.tui.screens.dialog import Confirm, Dialog
from smtppseudo.tui.texts import shown, text_of
from smtppseudo.tui.waiting import answer, aside, begin
from smtppseudo.tui.widgets.push import Push, Switch

_LOOK_UP_AFTER_S = 0.3


class Wanted(NamedTuple):
    """What Setup ended with: which server, how to log in there. `word` None: as before."""

    host: str
    port: int
    word: str | None
    is_kept: bool
    cleartext: bool
    set_word: bool = False  # the server is to get a new magic word

    def __repr__(self) -> str:
        return f"Wanted({self.host!r}, {self.port!r})"


class Checked(NamedTuple):
    """What an address was found to be: what to say of it, and whether it will do."""

    address: str
    says: str
    is_good: bool


def look_up(address: str) -> Checked:
    """Find out where an address leads, which may take seconds."""
    try:
        found = resolve(address)
    except UnresolvedError as error:
        return Checked(address, f"{shown(address)} is not a valid IP. ({error})", is_good=False)
    own = own_address(address)
    places = ", ".join(found[:3]) + (" and more" if len(found) > 3 else "")
    return Checked(address, f"{places}: {'this machine' if own else 'another machine'}", is_good=True)


class Setup(Dialog[Wanted]):
    """The form. The greeting is saved at the server; the rest is this screen's own."""

    def __init__(self, feed: Feed, wanted: Wanted, login: str, *, is_connected: bool) -> None:
        super().__init__()
        self._feed = feed
        self._before = wanted
        self._login = login
        self._is_connected = is_connected
        self._greeting = ""
        self._revision = 0
        self._checked: Checked | None = None
        self._looks_up = ""

    def compose(self) -> ComposeResult:
        """Make the form."""
        before = self._before
        with Vertical() as box:
            box.border_title = "Setup"
            yield from self._field("greeting", "Greeting", "")
            yield from self._field("host", "IP to monitor", before.host)
            yield from self._field("port", "Port", str(before.port))
            yield from self._field("word", "Magic word", "", password=True)
            with Horizontal(classes="options"):
                yield Switch("Remember the magic word", id="keep")
                yield Switch("Clear text to other machines", id="cleartext")
            yield Static("", classes="bad", markup=False)
            with Horizontal(classes="buttons"):
                yield Push("Save", id="save")
                yield Push("Cancel", id="cancel")
                yield Push("Change the server's magic word", id="server-word")

    def _field(self, name: str, label: str, value: str, *, password: bool = False) -> ComposeResult:
        with Horizontal(classes="row"):
            yield Static(label, classes="label", markup=False)
            yield Input(value, compact=True, password=password, id=name)
        yield Static("", classes="hint", id=f"{name}-hint", markup=False)

    def on_mount(self) -> None:
        """Fill the form."""
        self.query_one("#keep", Switch).is_on = self._before.is_kept
        self.query_one("#cleartext", Switch).is_on = self._before.cleartext
        self._hint("word", self._login)
        greeting = self.query_one("#greeting", Input)
        greeting.disabled = True
        self.query_one("#server-word", Push).disabled = not self._is_connected
        self._check_port(self._before.port)
        self._look_up_soon(self._before.host)
        if self._is_connected:
            self._hint("greeting", "asking the server ...")
            begin(self, self._load, "load")
            greeting.focus()
        else:
            self._hint("greeting", "can be changed when there is a connection to the server")
            self.query_one("#host").focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Check what is typed, as it is typed."""
        value = event.value
        if event.input.id == "greeting":
            self._check_greeting(value)
        elif event.input.id == "host":
            self._look_up_soon(value.strip())
        elif event.input.id == "port":
            self._check_port(value)
        elif event.input.id == "word":
            self._check_word(value)

    def on_input_submitted(self) -> None:
        """Save."""
        self._save()

    def on_push_pressed(self, event: Push.Pressed) -> None:
        """Do what the button says."""
        event.stop()
        push = event.push
        if isinstance(push, Switch):
            push.is_on = not push.is_on
        elif push.id == "save":
            self._save()
        elif push.id == "server-word":
            self.dismiss(self._before._replace(set_word=True))
        else:
            self.action_cancel()

    def action_cancel(self) -> None:
        """Leave it; ask first where something was typed."""
        if not self._is_changed():
            self.dismiss(None)
            return

        def leave(is_sure: bool | None) -> None:
            if is_sure:
                self.dismiss(None)

        text = "What you changed here is not saved."
        self.app.push_screen(Confirm("Leave Setup", text, "Leave without saving"), leave)

    def _is_changed(self) -> bool:
        values = {name: self.query_one(f"#{name}", Input).value for name in ("greeting", "host", "port", "word")}
        before = {"greeting": self._greeting, "host": self._before.host, "port": str(self._before.port), "word": ""}
        switches = (self.query_one("#keep", Switch).is_on, self.query_one("#cleartext", Switch).is_on)
        return values != before or switches != (self._before.is_kept, self._before.cleartext)

    async def _load(self) -> None:
        try:
            fields = await answer(self._feed.ask("get"))
        except LinkError as error:
            self._hint("greeting", str(error), is_bad=True)
            return
        self._take(fields)
        greeting = self.query_one("#greeting", Input)
        greeting.disabled = False
        greeting.value = self._greeting
        self._check_greeting(self._greeting)
        greeting.focus()

    def _take(self, fields: Frame) -> None:
        settings, revision = fields.get("settings"), fields.get("revision")
        self._greeting = text_of(settings, "greeting") if isinstance(settings, dict) else ""
        self._revision = revision if isinstance(revision, int) else 0

    def _check_greeting(self, value: str) -> bool:
        if self.query_one("#greeting", Input).disabled:
            return True
        try:
            check("greeting", value)
        except SettingsError as error:
            self._hint("greeting", str(error), is_bad=True)
            return False
        is_form = any(name in value for name in ("{hostname}", "{date}", "{ip}"))
        self._hint("greeting", f"callers see: 220 {value}{'' if is_form else ' and the date'}")
        return True

    def _check_port(self, value: str | int) -> bool:
        is_good = str(value).isascii() and str(value).isdecimal() and 0 < int(value) < 1 << 16
        text = "26, unless the server was told otherwise"
        if not is_good:
            text = f"{shown(str(value))} is not a port: 1 to 65535" if value else "a port is needed: 1 to 65535"
        self._hint("port", text, is_bad=not is_good)
        return is_good

    def _check_word(self, value: str) -> bool:
        if not value:
            self._hint("word", self._login)
            return True
        try:
            checked_word(value)
        except ValueError as error:
            self._hint("word", f"{error}: {len(value)} so far", is_bad=True)
            return False
        self._hint("word", "what this screen logs in with; it does not change the server's")
        return True

    def _look_up_soon(self, address: str) -> None:
        self._checked = None
        self._looks_up = address
        if not address:
            self._hint("host", "An empty address is not a valid IP.", is_bad=True)
            return
        self._hint("host", "looking it up ...")
        self.set_timer(_LOOK_UP_AFTER_S, lambda: self._look_up(address))

    def _look_up(self, address: str) -> None:
        if address == self._looks_up:  # nothing was typed since
            begin(self, partial(self._look_up_now, address), "look-up")

    async def _look_up_now(self, address: str) -> Checked:
        checked = await aside(lambda: look_up(address))
        if address == self._looks_up:
            self._checked = checked
            self._hint("host", checked.says, is_bad=not checked.is_good)
        return checked

    def _hint(self, name: str, text: str, is_bad: bool = False) -> None:
        # No such widget: an answer has come while the screen was being closed.
        for hint in self.query(f"#{name}-hint").results(Static):
            hint.update(shown(text))
            hint.set_class(is_bad, "-bad")

    def _save(self) -> None:
        begin(self, self._save_all, "save")

    async def _save_all(self) -> None:
        greeting, port, word = (self.query_one(f"#{name}", Input).value for name in ("greeting", "port", "word"))
        faults = [
            name
            for name, is_good in (
                ("greeting", self._check_greeting(greeting)),
                ("host", await self._address_is_good()),
                ("port", self._check_port(port)),
                ("word", self._check_word(word)),
            )
            if not is_good
        ]
        if faults:
            self.query_one(f"#{faults[0]}").focus()
            return
        if self._is_connected and greeting != self._greeting and not await self._set_greeting(greeting):
            return
        keep, cleartext = self.query_one("#keep", Switch).is_on, self.query_one("#cleartext", Switch).is_on
        self.dismiss(Wanted(self._looks_up, int(port), word or None, keep, cleartext))

    async def _address_is_good(self) -> bool:
        if not self._looks_up:
            return False
        checked = self._checked or await self._look_up_now(self._looks_up)
        return checked.is_good

    async def _set_greeting(self, greeting: str) -> bool:
        """Have it saved; say what is wrong where it is refused."""
        try:
            await answer(self._feed.ask("set", changes={"greeting": greeting}, revision=self._revision))
        except OpRefusedError as error:
            if error.code == "conflict":
                await self._tell_conflict()
            else:
                self._hint("greeting", str(error), is_bad=True)
            return False
        except LinkError as error:
            self._hint("greeting", str(error), is_bad=True)
            return False
        return True

    async def _tell_conflict(self) -> None:
        try:
            self._take(await answer(self._feed.ask("get")))
        except LinkError as error:
            self._hint("greeting", str(error), is_bad=True)
            return
        text = f'Somebody else has changed the settings; the greeting is "{self._greeting}" now.'
        self._hint("greeting", f"{text} Save again to replace it.", is_bad=True)
