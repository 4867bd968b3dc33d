"""The fleet screen: several servers in a table, and below it what is wrong with the one under the cursor."""

from collections.abc import Callable, Sequence
from typing import ClassVar, Final, NamedTuple

from rich.segment import Segment
from rich.style import Style
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.strip import Strip

from smtppseudo.events import printable
from smtppseudo.link.errors import NeedsMagicWordError
from smtppseudo.link.route import shown_names
from smtppseudo.tui import overview
from smtppseudo.tui.actions import FLEET_ACTIONS
from smtppseudo.tui.dialogs.magic_word import LoginDialog, TypedWord
from smtppseudo.tui.feeder import EventBatch, PolledReply
from smtppseudo.tui.memory import Memory
from smtppseudo.tui.page import Page
from smtppseudo.tui.server_view import ServerView
from smtppseudo.tui.texts import fit, sentence, text_of
from smtppseudo.tui.widgets.bars import Headline, Hint, TopBar
from smtppseudo.tui.widgets.tables import Layout, Table, lay_out

_COLUMNS: Final = {
    "server": Layout("Server", 16, 2),
    "state": Layout("State", 9),
    "slots": Layout("Slots", 6, rank=1, is_right=True),
    "today": Layout("Today", 6, rank=2, is_right=True),
    "minute": Layout("/min", 4, rank=3, is_right=True),
    "caller": Layout("Last caller", 15, 1, rank=4),
    "last": Layout("At", 5, rank=7),
    "version": Layout("Version", 7, rank=6),
    "login": Layout("Login", 6, rank=5),
    "trouble": Layout("Trouble", 16, 6),
}


class ServerRow(NamedTuple):
    """The cells of a server. Without a connection (not `is_up`), they say what was seen last."""

    server: str
    state: str = "○ Offline"
    slots: str = ""
    today: str = ""
    minute: str = ""
    caller: str = ""
    last: str = ""
    version: str = ""
    login: str = ""
    trouble: str = ""
    is_up: bool = False


class FleetPane(Table):
    """The table of servers, which keep their order."""

    head_lines = 1
    _rows: Sequence[ServerRow] = ()

    class Moved(Message):
        """The cursor is on another server."""

    @property
    def count(self) -> int:
        return len(self._rows)

    def go_to(self, line: int) -> None:
        super().go_to(line)
        self.post_message(self.Moved())

    def show(self, rows: Sequence[ServerRow]) -> None:
        """Show these servers."""
        if rows != self._rows:
            self._rows = rows
            self.virtual_size = Size(0, self.head_lines + len(rows))
            self.refresh()

    def on_resize(self) -> None:
        self.keep_cursor_in_view()

    def render_line(self, y: int) -> Strip:
        width = self.scrollable_content_region.width
        widths = lay_out(_COLUMNS, width)
        if y == 0:
            titles = [fit(_COLUMNS[name].title, room, right=_COLUMNS[name].is_right) for name, room in widths.items()]
            return Strip([Segment(fit(" " + " ".join(titles), width), self.style("head"))], width)
        line = self.scroll_offset.y + y - 1
        if line >= self.count:
            return Strip.blank(width, self.rich_style)
        row = self._rows[line]
        base = self.style("said" if row.is_up else "dim")
        bar = self.cursor_bar() if line == self._cursor else Style()
        styles = {"trouble": self.style("warning" if row.is_up else "fault")}
        if not row.state.endswith("Online"):
            styles["state"] = styles["trouble"]
        segments = [Segment(" ", base + bar)]
        for name, room in widths.items():
            text = fit(getattr(row, name), room, right=_COLUMNS[name].is_right)
            segments.append(Segment(text + " ", base + styles.get(name, Style()) + bar))
        return Strip(segments).adjust_cell_length(width, base + bar)


class FleetScreen(Page):
    """The fleet screen. `open_server` shows one of the servers on a page of its own."""

    AUTO_FOCUS = "#servers"
    actions = FLEET_ACTIONS
    not_urgent = (EventBatch, PolledReply)
    BINDINGS: ClassVar[list[BindingType]] = [Binding(action.keys, action.name, action.title) for action in actions]

    def __init__(
        self, servers: Sequence[ServerView], memory: Memory, open_server: Callable[[ServerView], None]
    ) -> None:
        super().__init__(servers, memory)
        self._open_server = open_server
        self._top, self._pane = TopBar(id="top"), FleetPane(id="servers")
        self._typed: TypedWord | None = None  # for all servers that need a word
        self._has_asked = False

    @property
    def selected(self) -> ServerView:
        return self.servers[self._pane.cursor_line]

    def compose(self) -> ComposeResult:
        yield self._top
        yield self._pane
        yield self.notice
        yield self.footer

    def on_mount(self) -> None:
        self.memory.servers = [view.target for view in self.servers]
        self.save()

    def hints(self) -> list[Hint]:
        return [Hint("⏎", "open", "enter"), *super().hints()]

    def redraw(self, *, texts: bool = True) -> None:
        if texts:
            self._top.headline = _headline(self.servers)
            self._pane.show(_rows_of(self.servers))
            self.show_notice(overview.notice(self.selected, is_fleet=True))

    def on_fleet_pane_moved(self) -> None:
        self.redraw()

    def on_table_opened(self) -> None:
        self._open_server(self.selected)

    def follow_loss(self, view: ServerView) -> None:
        """Log in with the word that was typed for all servers; if there is none, ask for it, once."""
        if not (view.link.needs_word and isinstance(view.link.error, NeedsMagicWordError)):
            return
        if self._typed is not None:
            self.log_in(view, self._typed)
        elif not self._has_asked and self.app.screen is self:
            self._has_asked = True
            self._ask_word(view)

    def action_retry(self) -> None:
        if self.selected.link.needs_word:
            self._ask_word(self.selected)
        else:
            super().action_retry()

    def _ask_word(self, view: ServerView) -> None:
        """Ask for the word of this server, and of others that lack a word or refused the same one."""
        before = view.target.magic_word

        def log_in(typed: TypedWord | None) -> None:
            self._typed = typed
            for each in self.servers:
                if each.link.needs_word and each.target.magic_word == before:
                    self.log_in(each, typed)

        reason = f"{sentence(str(view.link.error))} The word is tried at each server here that needs one."
        self.app.push_screen(LoginDialog(reason, is_kept=False), log_in)


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
            last=last[5:10] if " " in last else last[:5],  # the date, if it was long ago
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
