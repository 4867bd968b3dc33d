"""Operations: what can be changed at the server from the main screen, and what is asked before."""

from typing import TYPE_CHECKING

from smtppseudo.link.errors import CertificateError, ConnectionLostError, LinkError, OpRefusedError
from smtppseudo.link.route import Target, own_address
from smtppseudo.link.wire import TlsMode
from smtppseudo.service.systemd import UnitState
from smtppseudo.tui.screens.certificate import Certificate
from smtppseudo.tui.screens.dialog import Confirm
from smtppseudo.tui.screens.service import ServicePanel
from smtppseudo.tui.screens.setup import Setup, Wanted
from smtppseudo.tui.screens.words import AskWord, GivenWord, NewWord
from smtppseudo.tui.slots import SlotRow
from smtppseudo.tui.texts import sentence
from smtppseudo.tui.waiting import answer, aside

if TYPE_CHECKING:
    from smtppseudo.tui.app import MonitorApp

_ACCEPT = (
    "Every message is then taken and thrown away. Honest mail is lost without a bounce: its senders will"
    " believe that it arrived."
)
_NO_DATA = "What callers send, and the replies to it, are then neither logged nor shown, only that they came."


class Operations:
    """Asks, has it done, and says so where it is refused."""

    def __init__(self, app: "MonitorApp") -> None:
        self._app = app

    async def switch_server(self) -> None:
        """Start it, or stop it after asking."""
        model = self._app.model
        if model.state != "online":
            await self._now("Start server", "start")
            return
        count = model.board.open_count
        sessions = f"; {count} open session{'' if count == 1 else 's'} will be ended" if count else ""
        text = f"The SMTP port will be closed{sessions}. The server itself, and this screen, go on."
        self._ask("Stop server", text, "Stop server", "stop")

    async def switch_setting(self, name: str) -> None:
        """Turn a setting on or off: after asking, where something could be lost."""
        is_on = self._app.model.settings.get(name) is True
        title, text = ("Accept Mail", _ACCEPT) if name == "accept_mail" else ("Show/Log data events", _NO_DATA)
        changes = {"changes": {name: not is_on}, "revision": self._app.model.revision}
        if is_on is (name == "accept_mail"):  # to refuse mail again, or to log again, loses nothing
            await self._now(title, "set", **changes)
        else:
            verb = "Accept Mail" if name == "accept_mail" else "Turn them off"
            self._ask(title, text, verb, "set", **changes)

    def disconnect(self, row: SlotRow) -> None:
        """End the session in a slot, after asking."""
        text = f"The session with {row.ip} port {row.port} in slot {row.slot} will be ended."
        self._ask("Disconnect", text, "Disconnect", "disconnect", slot=row.slot)

    def magic_word(self) -> None:
        """Change the server's magic word."""
        app = self._app
        opened = app.standing.opened
        if opened is None:
            self._refuse("New magic word", "there is no connection to the server now")
            return

        def done(word: str | None) -> None:
            if word is not None:
                app.remember_new_word(word)
                app.notify("The magic word is set.", title="New magic word", markup=False)

        app.push_screen(NewWord(lambda: app.feed, opened.place), done)

    async def service(self) -> None:
        """Show the service panel, for this machine only."""
        app = self._app
        address = app.target.address
        if await aside(lambda: own_address(address)) is None:
            self._refuse("Service", f"{address} is not this machine; its service is managed there")
            return
        unit = await aside(app.service.ask)
        if unit.reason:
            self._refuse("Service", unit.reason)
            return

        def changed(unit: UnitState) -> None:
            app.show_unit(unit)
            app.retry()

        app.push_screen(ServicePanel(app.service, unit, changed))

    def setup(self) -> None:
        """Show Setup, and do what it ended with."""
        app = self._app
        target, opened = app.target, app.standing.opened
        port = target.port or (opened.port if opened is not None else app.usual_port())
        is_kept = app.memory.word_of(target.address, port) is not None
        wanted = Wanted(target.address, port, None, is_kept, target.tls == "off")

        def done(given: Wanted | None) -> None:
            if given is None:
                return
            if given.set_word:
                self.magic_word()
                return
            app.watch_server(given, is_same=given[:2] == wanted[:2] and given.cleartext == wanted.cleartext)

        app.push_screen(Setup(app.feed, wanted, _login(opened), is_connected=opened is not None), done)

    def ask_word(self) -> None:
        """Ask for the magic word of the server that wants one."""
        app = self._app
        error = app.standing.error
        port = app.target.port or app.usual_port()
        is_kept = app.memory.word_of(app.target.address, port) is not None

        def done(given: GivenWord | None) -> None:
            if given is not None:
                app.watch_server(
                    Wanted(app.target.address, port, given.word, given.is_kept, app.target.tls == "off"), is_same=False
                )

        app.push_screen(AskWord(sentence(str(error)), is_kept=is_kept), done)

    def ask_trust(self, error: CertificateError) -> None:
        """Ask whether a certificate is the server's."""

        def done(is_trusted: bool | None) -> None:
            if not is_trusted:
                return
            try:
                self._app.accept(error)
            except OSError as failure:
                self._refuse("Certificate", f"{failure.strerror}; which certificate is accepted cannot be saved")

        self._app.push_screen(Certificate(error), done)

    def _ask(self, title: str, text: str, yes: str, op: str, **fields: object) -> None:
        async def act() -> None:
            await self._do(op, **fields)

        self._app.push_screen(Confirm(title, text, yes, act))

    async def _now(self, title: str, op: str, **fields: object) -> None:
        try:
            await self._do(op, **fields)
        except LinkError as error:
            self._refuse(title, str(error))

    async def _do(self, op: str, **fields: object) -> None:
        app = self._app
        if app.standing.opened is None:
            raise ConnectionLostError("there is no connection to the server now")
        try:
            await answer(app.feed.ask(op, **fields))
        except OpRefusedError as error:
            if error.code != "conflict":
                raise
            await app.load_settings()
            text = "somebody else has changed the settings; look how they are now, and try again"
            raise OpRefusedError(text, error.code) from None
        await app.load_settings()

    def _refuse(self, title: str, reason: str) -> None:
        self._app.notify(sentence(reason), title=title, severity="error", timeout=10, markup=False)


def _login(opened: object) -> str:
    user = getattr(opened, "user", "")
    if user == "cookie":
        return "not needed: this user can read the server's cookie"
    return "leave empty to go on with the one in use" if user else "what this screen logs in with"


def target_of(wanted: Wanted, before: Target) -> Target:
    """Return what to connect to, after Setup."""
    is_same = (wanted.host, wanted.port) == (before.address, before.port)
    word = wanted.word if wanted.word is not None else (before.magic_word if is_same else None)
    # That it is TLS to this machine, too, comes from the command line, and is not asked in Setup.
    otherwise: TlsMode = "on" if is_same and before.tls == "on" else "auto"
    return Target(wanted.host, wanted.port, word, "off" if wanted.cleartext else otherwise)
