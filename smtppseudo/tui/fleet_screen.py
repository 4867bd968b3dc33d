"""The fleet screen: several servers in a table, and below it what is wrong with the one under the cursor."""

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from smtppseudo.events import printable
from smtppseudo.link.errors import NeedsMagicWordError
from smtppseudo.link.route import shown_names
from smtppseudo.tui import overview
from smtppseudo.tui.actions import FLEET_ACTIONS
from smtppseudo.tui.dialogs.magic_word import LoginDialog, TypedWord
from smtppseudo.tui.feeder import EventBatch, PolledReply
from smtppseudo.tui.operations import Operations
from smtppseudo.tui.page import Page
from smtppseudo.tui.server_view import ServerView
from smtppseudo.tui.texts import sentence, text_of
from smtppseudo.tui.widgets.bars import Headline, Hint, TopBar
from smtppseudo.tui.widgets.fleet_pane import FleetPane, ServerRow


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

    def hints(self) -> list[Hint]:
        return [Hint("⏎", "open", "enter"), *super().hints()]

    def redraw(self, *, texts: bool = True) -> None:
        if texts:
            views = [server.view for server in self.servers]
            self._top.headline = _headline(views)
            self._pane.show(_rows_of(views))
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


_DATE_LENGTH = len("2026-06-01 ")


def _rows_of(views: Sequence[ServerView]) -> list[ServerRow]:
    """Return the lines of servers."""
    names = shown_names({view.place: text_of(view.model.settings, "server_name") for view in views})
    return [_row_of(view, names[view.place]) for view in views]


def _row_of(view: ServerView, name: str) -> ServerRow:
    model, link, seen = view.model, view.link, view.link.seen
    row = ServerRow(name, trouble=link.error.short if link.error is not None else "connecting")
    if seen is not None:
        last = overview.last_connect(view)
        row = row._replace(
            slots=f"{model.board.open_count}/{len(model.board.rows)}",
            today=f"{model.mails_refused_today or 0:,}",
            minute=f"{model.rate.last_minute(view.second):,}",
            caller=model.last_caller[1],
            last=last[5:10] if len(last) > _DATE_LENGTH else last[:5],  # the date, if it was long ago
            version=printable(seen.server).removeprefix("smtppseudo "),
            login={"cookie": "cookie", "magic": "word"}.get(seen.user, ""),
        )
    if link.up is not None:
        is_online, warning = model.state == "online", overview.notice(view).partition("\n")[0]
        state = "● Online" if is_online else row.state
        row = row._replace(state=state, trouble=warning if is_online else "SMTP port closed", is_up=True)
    return row


def _headline(views: Sequence[ServerView]) -> Headline:
    """Return what the top bar shows: the sums."""
    online = sum([view.link.up is not None and view.model.state == "online" for view in views])
    refused = sum([view.model.mails_refused_today or 0 for view in views])
    minute = sum([view.model.rate.last_minute(view.second) for view in views])
    facts = (f"{overview.mails_refused(refused)} today", f"{minute:,} in the last minute")
    return Headline("", online == len(views), f"{online} of {len(views)} servers online", facts)
