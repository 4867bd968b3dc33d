"""The fleet screen: several servers in a table, and below it what is wrong with the one under the cursor."""

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from smtppseudo.link.errors import NeedsMagicWordError
from smtppseudo.tui import fleet, overview
from smtppseudo.tui.actions import FLEET_ACTIONS
from smtppseudo.tui.dialogs.magic_word import LoginDialog, TypedWord
from smtppseudo.tui.feeder import EventBatch, PolledReply
from smtppseudo.tui.operations import Operations
from smtppseudo.tui.page import Page
from smtppseudo.tui.texts import sentence
from smtppseudo.tui.widgets.fleet_pane import FleetPane
from smtppseudo.tui.widgets.key_footer import Hint
from smtppseudo.tui.widgets.top_bar import TopBar


class FleetScreen(Page):
    """The fleet screen. `open_server` shows one of the servers on a page of its own."""

    AUTO_FOCUS = "#servers"
    actions = FLEET_ACTIONS
    not_urgent = (EventBatch, PolledReply)
    BINDINGS: ClassVar[list[BindingType]] = [Binding(action.keys, action.name, action.title) for action in actions]

    def __init__(self, servers: Sequence[Operations], open_server: Callable[[Operations], None]) -> None:
        super().__init__(servers)
        self._open_server = open_server
        self._top, self._pane = TopBar(id="top"), FleetPane(id="servers")
        self._typed: TypedWord | None = None  # for all servers that need a word
        self._has_asked = False

    @property
    def selected(self) -> Operations:
        return self.servers[self._pane.cursor_line]

    def compose(self) -> ComposeResult:
        yield self._top
        yield self._pane
        yield self.notice
        yield self.footer

    def first_hints(self) -> list[Hint]:
        return [Hint("⏎", "open", "enter")]

    def redraw(self, *, texts: bool = True) -> None:
        if texts:
            views = [server.view for server in self.servers]
            self._top.headline = fleet.headline(views)
            self._pane.show(fleet.rows_of(views))
            self.show_notice(overview.notice(self.selected.view, is_fleet=True))

    def on_fleet_pane_moved(self) -> None:
        self.redraw()

    def on_table_opened(self) -> None:
        self._open_server(self.selected)

    def follow_loss(self, server: Operations) -> None:
        """Log in with the word that was typed for all servers; if there is none, ask for it, once."""
        link = server.view.link
        if not (link.needs_word and isinstance(link.error, NeedsMagicWordError)):
            return
        if self._typed is not None:
            server.log_in(self._typed)
        elif not self._has_asked and self.app.screen is self:
            self._has_asked = True
            self._ask_word(server)

    def action_retry(self) -> None:
        if self.selected.view.link.needs_word:
            self._ask_word(self.selected)
        else:
            super().action_retry()

    def _ask_word(self, server: Operations) -> None:
        """Ask for the word of this server, and of others that lack a word or refused the same one."""
        before = server.view.target.magic_word

        def log_in(typed: TypedWord | None) -> None:
            self._typed = typed
            for each in self.servers:
                if each.view.link.needs_word and each.view.target.magic_word == before:
                    each.log_in(typed)

        reason = f"{sentence(str(server.view.link.error))} The word is tried at each server here that needs one."
        self.app.push_screen(LoginDialog(reason, is_kept=False), log_in)
