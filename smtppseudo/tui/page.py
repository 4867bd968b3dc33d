"""Pages: the screens behind the dialogs, and what all of them can do: connect, log in, Setup, help, theme.

Each page has its actions, which the footer, the help and the palette show.
"""

from collections.abc import Sequence
from functools import partial
from typing import ClassVar, Final

from textual.screen import Screen
from textual.widgets import Input, Static

from smtppseudo.link.errors import CertificateError, ChangedCertificateError, UnknownCertificateError
from smtppseudo.link.pins import SHOW_COMMAND
from smtppseudo.link.route import Target
from smtppseudo.tui.actions import KEY_SIGNS, ScreenAction, help_text
from smtppseudo.tui.dialogs.dialog import ConfirmDialog, TextDialog
from smtppseudo.tui.dialogs.magic_word import LoginDialog, NewWordDialog, TypedWord
from smtppseudo.tui.dialogs.setup import SetupDialog, SetupResult
from smtppseudo.tui.feeder import EventBatch
from smtppseudo.tui.memory import Memory
from smtppseudo.tui.server_view import ServerView
from smtppseudo.tui.texts import sentence
from smtppseudo.tui.themes import DARK, LIGHT
from smtppseudo.tui.widgets.bars import Hint, KeyFooter
from smtppseudo.tui.widgets.buttons import TextButton

_FINGERPRINT_LINE_CHARS: Final = len("0A:") * 16


class Page(Screen[None]):
    """A page that shows `servers`. Its `action_` methods are described in `actions`."""

    actions: ClassVar[tuple[ScreenAction, ...]]
    not_urgent: ClassVar[tuple[type, ...]] = (EventBatch,)  # updates that can wait for the next draw

    def __init__(self, servers: Sequence[ServerView], memory: Memory) -> None:
        super().__init__()
        self.servers, self.memory = servers, memory
        self.notice = Static("", id="notice", markup=False)
        self.footer = KeyFooter(id="footer")

    @property
    def selected(self) -> ServerView:
        """The server that the actions are about."""
        return self.servers[0]

    def redraw(self, *, texts: bool = True) -> None:
        """Draw changes in the tables; with `texts`, everything else, too."""
        raise NotImplementedError

    def follow_loss(self, view: ServerView) -> None:
        """Ask for what a server's login lacked."""
        raise NotImplementedError

    def cancel_prompt(self) -> bool:
        """Leave a filter or a search that is being typed; return whether there was one."""
        return False

    def on_mount(self) -> None:
        self.redraw()
        self.show_hints()

    def on_descendant_focus(self) -> None:
        self.show_hints()

    def show_hints(self) -> None:
        """Show in the footer what the keys do now."""
        self.footer.hints = self.hints()

    def hints(self) -> list[Hint]:
        """Return what the keys of the actions do where the focus is."""
        pane = "" if self.focused is None else self.focused.id or ""
        hints: list[Hint] = []
        for action in self.actions:
            key = action.keys.split(",")[0]
            if action.footer and (not action.panes or pane in action.panes.split()):
                hints.append(Hint(KEY_SIGNS.get(key, key), action.footer, action.name, action.rank))
        return hints

    def show_notice(self, text: str) -> None:
        """Show a text below or above the tables, or none."""
        if self.notice.content != text:
            self.notice.update(text)
        self.notice.display = bool(text)

    def report(self, title: str, reason: str) -> None:
        """Show why something was not done."""
        self.notify(sentence(reason), title=title, severity="error", timeout=10, markup=False)

    async def action_enter(self) -> None:
        if isinstance(self.focused, Input):
            await self.focused.action_submit()
        elif self.focused is not None:
            await self.focused.run_action("press" if isinstance(self.focused, TextButton) else "open")

    def action_help(self) -> None:
        self.app.push_screen(TextDialog("Help", partial(help_text, self.actions)))

    def action_leave(self) -> None:
        self.app.exit()

    def action_theme(self) -> None:
        self.app.theme = self.memory.theme = LIGHT if self.app.theme == DARK else DARK
        self.save()

    def action_setup(self) -> None:
        view = self.selected

        def finish(result: SetupResult | None) -> None:
            if result is not None and result.wants_new_word:
                self.action_magic_word()
            elif result is not None:
                self._connect(view, result.target, is_kept=result.is_kept)

        self.app.push_screen(SetupDialog(view, is_kept=self._has_kept_word(view)), finish)

    def action_magic_word(self) -> None:
        view = self.selected
        if view.link.up is None:
            self.report("New magic word", "there is no connection to the server now")
            return

        def finish(word: str | None) -> None:
            if word is None:
                return
            view.target = view.target._replace(magic_word=word)
            if self._has_kept_word(view):
                self.memory.keep_word(view.full_target, is_kept=True)
                self.save()
            self.notify("The magic word was changed.", title="New magic word", markup=False)

        self.app.push_screen(NewWordDialog(view, view.link.up.place), finish)

    def action_retry(self) -> None:
        self.retry(self.selected)

    def retry(self, view: ServerView) -> None:
        """Connect now, or first ask for the magic word or about the certificate."""
        link = view.link
        if link.needs_word:
            dialog = LoginDialog(sentence(str(link.error)), is_kept=self._has_kept_word(view))
            self.app.push_screen(dialog, partial(self.log_in, view))
        elif isinstance(link.error, CertificateError):
            self._ask_trust(view, link.error)
        elif link.up is None:
            view.source.retry()

    def ask_for_missing(self, view: ServerView) -> None:
        """Ask for the magic word, or whether to trust a new certificate, if the last try failed for lack of it."""
        # A changed certificate is different: it stays refused until the operator presses `r`.
        if view.link.needs_word or isinstance(view.link.error, UnknownCertificateError):
            self.retry(view)

    def log_in(self, view: ServerView, typed: TypedWord | None) -> None:
        """Connect with a magic word, if one was typed."""
        if typed is not None:
            self._connect(view, view.full_target._replace(magic_word=typed.word), is_kept=typed.is_kept)

    def _connect(self, view: ServerView, target: Target, *, is_kept: bool) -> None:
        """Save which server to show, and connect to it unless that is done."""
        self.memory.replace(view.target, target)
        self.memory.keep_word(target, is_kept=is_kept)
        self.save()
        if view.link.up is None or target != view.full_target:
            view.connect(target)
        else:
            view.target = target

    def _has_kept_word(self, view: ServerView) -> bool:
        return self.memory.word_of(view.full_target) is not None

    def save(self) -> None:
        """Save the memory; warn if that fails."""
        try:
            self.memory.save()
        except OSError as error:
            text = f"{error.strerror}; this screen forgets what you set when it is closed"
            self.notify(text, title="Cannot save", severity="warning", markup=False)

    def _ask_trust(self, view: ServerView, error: CertificateError) -> None:
        def accept(is_trusted: bool | None) -> None:
            if not is_trusted:
                return
            try:
                view.dependencies.keyring.accept(*error.place, error.fingerprint)
            except OSError as failure:
                self.report("Certificate", f"{failure.strerror}; the accepted certificate cannot be saved")
            else:
                view.source.retry()

        dialog = ConfirmDialog("Certificate", _certificate_text(error), "Trust it from now on")
        self.app.push_screen(dialog, accept)


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
