"""Operations: what the operator can change from the main screen, and the dialogs for it."""

from collections.abc import Iterable
from functools import partial
from typing import Final

from textual.app import App

from smtppseudo.link.errors import CertificateError, ChangedCertificateError, LinkError, UnknownCertificateError
from smtppseudo.link.pins import SHOW_COMMAND
from smtppseudo.link.route import Target, own_address
from smtppseudo.service.systemd import UnitState
from smtppseudo.tui.background import in_thread
from smtppseudo.tui.dialogs.dialog import ConfirmDialog
from smtppseudo.tui.dialogs.magic_word import LoginDialog, NewWordDialog, TypedWord
from smtppseudo.tui.dialogs.service import ServiceDialog
from smtppseudo.tui.dialogs.setup import SetupDialog, SetupResult
from smtppseudo.tui.memory import Memory
from smtppseudo.tui.server_view import ServerView
from smtppseudo.tui.slots import SlotRow
from smtppseudo.tui.texts import sentence
from smtppseudo.tui.themes import DARK, LIGHT

_ACCEPT = (
    "The server then accepts every message and throws it away. Honest mail is lost without a bounce: its senders"
    " believe that it arrived."
)
_NO_DATA = "What callers send and the replies to it are then neither logged nor shown, only that they connected."
_FINGERPRINT_LINE_CHARS: Final = len("0A:") * 16


class Operations:
    """Changes at the server and of this screen. Asks first where something could be lost; reports a refusal."""

    def __init__(self, app: App[None], view: ServerView, memory: Memory) -> None:
        self._app = app
        self.view = view
        self._memory = memory

    async def switch_server(self) -> None:
        """Open the SMTP port, or close it after a confirmation."""
        model = self.view.model
        if model.state != "online":
            await self._do_now("Start", "start")
            return
        count = model.board.open_count
        sessions = f" and ends {count} open session{'' if count == 1 else 's'}" if count else ""
        text = f"This closes the SMTP port{sessions}. The server process and this screen keep running."
        self._confirm("Stop server", text, "Stop server", "stop")

    async def switch_setting(self, name: str) -> None:
        """Turn a setting on or off, after a confirmation if mail or log records could be lost."""
        model = self.view.model
        is_on = model.settings.get(name) is True
        title, text = ("Accept mail", _ACCEPT) if name == "accept_mail" else ("Log data", _NO_DATA)
        changes = {"changes": {name: not is_on}, "revision": model.revision}
        if is_on is (name == "accept_mail"):  # to refuse mail again, or to log again, loses nothing
            await self._do_now(title, "set", **changes)
        else:
            verb = "Accept mail" if name == "accept_mail" else "Turn them off"
            self._confirm(title, text, verb, "set", **changes)

    def disconnect(self, row: SlotRow) -> None:
        """End the session in a slot, after a confirmation."""
        text = f"This ends the session of {row.ip} port {row.port} in slot {row.slot}."
        self._confirm("Disconnect", text, "Disconnect", "disconnect", slot=row.slot)

    def block(self, ip: str) -> None:
        """Block a caller, after a confirmation."""
        text = (
            f"This turns {ip} away for 7 days and ends its open sessions. If the server keeps a block list, {ip} is in"
            f" it, too. `smtppseudo unblock {ip}` undoes this."
        )
        self._confirm("Block", text, "Block", "block", network=ip)

    def change_magic_word(self) -> None:
        """Change the server's magic word."""
        view = self.view
        if view.link.up is None:
            self.report("New magic word", "there is no connection to the server now")
            return

        def finish(word: str | None) -> None:
            if word is None:
                return
            view.target = view.target._replace(magic_word=word)
            if self._has_kept_word():
                self._memory.keep_word(view.full_target, is_kept=True)
                self._save()
            self._app.notify("The magic word was changed.", title="New magic word", markup=False)

        self._app.push_screen(NewWordDialog(view, view.link.up.place), finish)

    async def show_service(self) -> None:
        """Show the service of this machine."""
        view, control = self.view, self.view.dependencies.service
        address = view.target.address
        if await in_thread(lambda: own_address(address)) is None:
            self.report("Service", f"{address} is not this machine; manage its service there")
            return
        unit = await in_thread(control.ask)
        if unit.reason:
            self.report("Service", unit.reason)
            return

        def follow(unit: UnitState) -> None:
            view.set_unit(unit)
            self.retry()

        self._app.push_screen(ServiceDialog(control, unit, follow))

    def show_setup(self) -> None:
        """Show Setup, and connect as it says."""

        def finish(result: SetupResult | None) -> None:
            if result is not None and result.wants_new_word:
                self.change_magic_word()
            elif result is not None:
                self._watch(result.target, is_kept=result.is_kept)

        self._app.push_screen(SetupDialog(self.view, is_kept=self._has_kept_word()), finish)

    def retry(self) -> None:
        """Connect now, or first ask for the magic word or about the certificate."""
        link = self.view.link
        if link.needs_word:
            reason = sentence(str(link.error))
            self._app.push_screen(LoginDialog(reason, is_kept=self._has_kept_word()), self.log_in)
        elif isinstance(link.error, CertificateError):
            self._ask_trust(link.error)
        elif link.up is None:
            self.view.source.retry()

    def ask_for_missing(self) -> None:
        """Ask for the magic word, or whether to trust a new certificate, if the last try failed for lack of it."""
        # A changed certificate is different: it stays refused until the operator presses `r`.
        link = self.view.link
        if link.needs_word or isinstance(link.error, UnknownCertificateError):
            self.retry()

    def remember(self, views: Iterable[ServerView]) -> None:
        """Save which servers are shown."""
        self._memory.servers = [view.target for view in views]
        self._save()

    def toggle_theme(self) -> None:
        """Change between dark and light."""
        self._app.theme = LIGHT if self._app.theme == DARK else DARK
        self._memory.theme = self._app.theme
        self._save()

    def _save(self) -> None:
        """Save the memory; warn if that fails."""
        try:
            self._memory.save()
        except OSError as error:
            text = f"{error.strerror}; this screen forgets what you set when it is closed"
            self._app.notify(text, title="Cannot save", severity="warning", markup=False)

    def report(self, title: str, reason: str) -> None:
        """Show why something was not done."""
        self._app.notify(sentence(reason), title=title, severity="error", timeout=10, markup=False)

    def log_in(self, typed: TypedWord | None) -> None:
        """Connect with a magic word, if one was typed."""
        if typed is not None:
            self._watch(self.view.full_target._replace(magic_word=typed.word), is_kept=typed.is_kept)

    def _watch(self, target: Target, *, is_kept: bool) -> None:
        """Save which server to show, and connect to it unless that is done."""
        view = self.view
        self._memory.replace(view.target, target)
        self._memory.keep_word(target, is_kept=is_kept)
        self._save()
        if view.link.up is None or target != view.full_target:
            view.connect(target)
        else:
            view.target = target

    def _has_kept_word(self) -> bool:
        return self._memory.word_of(self.view.full_target) is not None

    def _ask_trust(self, error: CertificateError) -> None:
        def accept(is_trusted: bool | None) -> None:
            if not is_trusted:
                return
            try:
                self.view.dependencies.keyring.accept(*error.place, error.fingerprint)
            except OSError as failure:
                self.report("Certificate", f"{failure.strerror}; the accepted certificate cannot be saved")
            else:
                self.view.source.retry()

        self._app.push_screen(ConfirmDialog("Certificate", _certificate_text(error), "Trust it from now on"), accept)

    def _confirm(self, title: str, text: str, yes: str, op: str, **fields: object) -> None:
        self._app.push_screen(ConfirmDialog(title, text, yes, partial(self.view.change, op, **fields)))

    async def _do_now(self, title: str, op: str, **fields: object) -> None:
        try:
            await self.view.change(op, **fields)
        except LinkError as error:
            self.report(title, str(error))


def _certificate_text(error: CertificateError) -> str:
    host, port = error.place
    place = f"{host} port {port}"
    if isinstance(error, ChangedCertificateError):
        lines = [f"{place} shows another certificate than the one that was accepted.", ""]
        lines += ["Accepted:", *_in_lines(error.accepted), "Now:", *_in_lines(error.fingerprint), ""]
        lines += ["Either the server has a new certificate, or another machine pretends to be the server."]
    else:
        lines = [f"{place} is new here. The fingerprint of its certificate is", *_in_lines(error.fingerprint), ""]
    lines += ["No password was sent yet. To compare, run on the server:", f"  {SHOW_COMMAND}"]
    return "\n".join(lines)


def _in_lines(fingerprint: str) -> list[str]:
    """Split a fingerprint in two: it is too long for a line of the dialog."""
    name, _, digits = fingerprint.partition(":")
    return [f"  {name}:{digits[:_FINGERPRINT_LINE_CHARS]}", f"  {' ' * len(name)} {digits[_FINGERPRINT_LINE_CHARS:]}"]
