"""The main screen: slots above, events below, how things stand at the top."""

from functools import partial
from typing import TYPE_CHECKING, ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import Screen
from textual.widgets import Footer, Static

from smtppseudo.tui import overview
from smtppseudo.tui.actions import ACTIONS
from smtppseudo.tui.query import EVENTS, STATES, Query, QueryError
from smtppseudo.tui.screens.help import Help
from smtppseudo.tui.screens.transcript import TranscriptPanel
from smtppseudo.tui.slots import COLUMNS, Column
from smtppseudo.tui.waiting import begin
from smtppseudo.tui.widgets.details import Details
from smtppseudo.tui.widgets.events import EventPane
from smtppseudo.tui.widgets.prompt import Prompt
from smtppseudo.tui.widgets.push import Push, Switch
from smtppseudo.tui.widgets.table import SlotTable
from smtppseudo.tui.widgets.title import Title
from smtppseudo.tui.widgets.top import Top

if TYPE_CHECKING:
    from smtppseudo.tui.app import MonitorApp

_TITLES: Final = 2
_EVENTS_LEAST: Final = 5
DETAILS_FROM: Final = 130  # columns of the terminal, where the details are shown unasked


class MainScreen(Screen[None]):
    """The main screen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(action.keys, action.name, action.footer or action.title, show=bool(action.footer)) for action in ACTIONS
    ]

    def __init__(self, monitor: "MonitorApp") -> None:
        super().__init__()
        self.monitor = monitor
        self._search = ""
        self._details_wanted: bool | None = None
        self._top = Top(id="top")
        self._server = Push("Stop server", id="switch_server", key="o")
        self._data_events = Switch("Show/Log data events", id="data_events", key="l")
        self._accept_mail = Switch("Accept Mail", id="accept_mail", key="a")
        self._notice = Static("", id="notice", markup=False)
        self._body, self._panes = Horizontal(id="body"), Vertical(id="panes")
        self._slots_title, self._events_title = Title("Slots", id="slots-title"), Title("Events", id="events-title")
        self._table = SlotTable(monitor.model.board, monitor.now, id="slots")
        self._events = EventPane(monitor.model.stream, lambda: monitor.zone, id="events")
        self._details = Details(id="details")
        self._prompt = Prompt(id="prompt")

    def compose(self) -> ComposeResult:
        """Place the parts."""
        yield self._top
        with Horizontal(id="controls"):
            yield self._server
            yield self._data_events
            yield self._accept_mail
            yield Push("Setup", id="setup", key="s")
        yield self._notice
        with self._body:
            with self._panes:
                yield self._slots_title
                yield self._table
                yield self._events_title
                yield self._events
            yield self._details
        yield self._prompt
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        """Begin with the slots."""
        self._table.focus()
        self.redraw(set())

    def on_resize(self) -> None:
        """Show the details where there is room."""
        self._place_details()
        self._share_height()

    def _share_height(self) -> None:
        """Give the slots the room that they need, and the events at least a fifth of what there is."""
        room = self._panes.size.height - _TITLES
        if room > 0:
            wanted = len(self.monitor.model.board.rows) + 1
            self._table.styles.height = max(2, min(wanted, room - max(_EVENTS_LEAST, room // 5)))

    def redraw(self, touched: set[int], *, reorder: bool = True, words: bool = True) -> None:
        """Show what the model says now; `touched` are the slots that changed; `words` are all but the tables."""
        monitor = self.monitor
        table, pane = self._table, self._events
        if reorder:
            table.reorder()
        else:
            table.redraw(touched)
        pane.catch_up()
        if not words:
            return
        self.redraw_words()
        has_data = bool(monitor.model.started_at)
        table.is_stale = monitor.standing.opened is None
        if self._body.display != has_data:
            self._body.display = has_data
            self.call_after_refresh(self._share_height)
        self._notice.set_class(not has_data, "-alone")
        self._share_height()

    def show_model(self) -> None:
        """Show another model, of another server."""
        model = self.monitor.model
        self._table.show_board(model.board)
        self._events.show_stream(model.stream)
        self.redraw(set())

    def redraw_words(self) -> None:
        """Show what changes with time alone."""
        monitor = self.monitor
        model, standing = monitor.model, monitor.standing
        place = f"{monitor.target.address} port {monitor.target.port or monitor.usual_port()}"
        self._top.headline = overview.headline(model, standing, place, monitor.minute(), monitor.zone)
        self._redraw_controls()
        notice = self._notice
        text = overview.notice(model, standing, monitor.now())
        if notice.content != text:
            notice.update(text)
        notice.display = bool(text)
        details = self._details
        if details.display:
            details.show(
                list(
                    overview.sections(
                        model, standing, monitor.minute(), monitor.wall(), monitor.zone, monitor.unit_state
                    )
                )
            )
        self._redraw_titles()

    def _redraw_controls(self) -> None:
        settings, is_connected = self.monitor.model.settings, self.monitor.standing.opened is not None
        switch = self._server
        switch.label = "Stop server" if self.monitor.model.state == "online" else "Start server"
        switch.disabled = not is_connected
        for control, key in ((self._data_events, "log_data_events"), (self._accept_mail, "accept_mail")):
            control.is_on = settings.get(key) is True
            control.disabled = not is_connected

    def _redraw_titles(self) -> None:
        board, stream = self.monitor.model.board, self.monitor.model.stream
        parts = [f"filter: {board.query.text}, {len(board.order)} shown"] if board.query else []
        parts.append(f"{board.open_count} open, {board.used_count} used of {len(board.rows)}")
        self._slots_title.about = " · ".join(parts)
        pane = self._events
        parts = [f"filter: {stream.query.text}"] if stream.query else []
        if self._search:
            parts.append(f"search: {self._search}")
        if pane.is_paused:
            parts.append(f"paused, {pane.held_back} held back (p)")
        parts.append("following" if pane.is_following else "not following (e)")
        self._events_title.about = " · ".join(parts)

    def _place_details(self) -> None:
        details = self._details
        wanted = self._details_wanted
        details.display = self.size.width >= DETAILS_FROM if wanted is None else wanted
        self.redraw_words()

    def on_event_pane_changed(self) -> None:
        """Say that it follows, or is paused."""
        if self.is_mounted:
            self._redraw_titles()

    def on_push_pressed(self, event: Push.Pressed) -> None:
        """Do what the button says."""
        event.stop()
        begin(self, partial(self.run_action, str(event.push.id)), "act")

    async def on_slot_table_chosen(self, event: SlotTable.Chosen) -> None:
        """Show a session's transcript."""
        if event.row.session:
            await self.app.push_screen(TranscriptPanel(self.monitor.model, event.row, self.monitor.zone))

    def on_slot_table_sort_wanted(self, event: SlotTable.SortWanted) -> None:
        """Sort by a column; the other way round if it is that one already."""
        board = self.monitor.model.board
        self._sort(event.column, is_reversed=event.column == board.sort and not board.is_reversed)

    def on_prompt_typed(self, event: Prompt.Typed) -> None:
        """Filter, or search."""
        prompt = self._prompt
        try:
            self._take_typed(event)
        except QueryError as error:
            prompt.complain(str(error))
            return
        prompt.complain("")
        if event.is_done:
            prompt.display = False
            (self._table if event.purpose == "slots" else self._events).focus()

    def _take_typed(self, event: Prompt.Typed) -> None:
        model = self.monitor.model
        if event.purpose == "slots":
            model.board.filter(Query.parse(event.text, "state", STATES))
            self._table.reorder()
        elif event.purpose == "events":
            model.stream.filter(Query.parse(event.text, "event", EVENTS))
            self._events.show_stream(model.stream)
        else:
            self._search = " ".join(event.text.split())
            if self._search:
                self.action_search_back()
            else:
                self._events.forget_search()
        self._redraw_titles()

    def _sort(self, column: Column, *, is_reversed: bool) -> None:
        self.monitor.model.board.arrange(column, is_reversed=is_reversed)
        self._table.reorder()
        self._redraw_titles()

    def action_help(self) -> None:
        """Show the help."""
        self.app.push_screen(Help())

    def action_setup(self) -> None:
        """Show Setup."""
        self.monitor.operations.setup()

    async def action_switch_server(self) -> None:
        """Start or stop the server."""
        begin(self, self.monitor.operations.switch_server, "op")

    async def action_data_events(self) -> None:
        """Turn data events on or off."""
        begin(self, partial(self.monitor.operations.switch_setting, "log_data_events"), "op")

    async def action_accept_mail(self) -> None:
        """Turn Accept Mail on or off."""
        begin(self, partial(self.monitor.operations.switch_setting, "accept_mail"), "op")

    def action_magic_word(self) -> None:
        """Change the server's magic word."""
        self.monitor.operations.magic_word()

    async def action_service(self) -> None:
        """Show the service panel."""
        begin(self, self.monitor.operations.service, "op")

    def action_disconnect(self) -> None:
        """End the session in the slot under the cursor."""
        row = self._table.row
        if row is None or row.state != "open":
            self.notify("There is no open session in this slot.", title="Disconnect", markup=False)
        else:
            self.monitor.operations.disconnect(row)

    def action_filter(self) -> None:
        """Have a filter typed for the pane that has the focus."""
        model = self.monitor.model
        if self._events.has_focus:
            self._prompt.ask("events", model.stream.query.text)
        else:
            self._prompt.ask("slots", model.board.query.text)

    def action_search(self) -> None:
        """Have words typed to be searched for."""
        self._prompt.ask("search", self._search)

    def action_search_on(self) -> None:
        """Go to the next event that was searched for."""
        self._find(1)

    def action_search_back(self) -> None:
        """Go to the one before."""
        self._find(-1)

    def _find(self, step: int) -> None:
        if not self._search:
            self.action_search()
        elif not self._events.search(self._search, step):
            self.notify(f"No event holds {self._search}", title="Search", markup=False)

    def action_pause(self) -> None:
        """Hold the events still, or let them go on."""
        pane = self._events
        pane.is_paused = not pane.is_paused

    def action_follow(self) -> None:
        """Keep the newest event in view."""
        pane = self._events
        pane.is_paused = False
        pane.action_jump(-1)

    def action_sort(self) -> None:
        """Sort by the next column."""
        board = self.monitor.model.board
        following = COLUMNS[(COLUMNS.index(board.sort) + 1) % len(COLUMNS)]
        self._sort(following, is_reversed=False)

    def action_reverse(self) -> None:
        """Sort the other way round."""
        board = self.monitor.model.board
        self._sort(board.sort, is_reversed=not board.is_reversed)

    def action_details(self) -> None:
        """Show the details, or not."""
        self._details_wanted = not self._details.display
        self._place_details()

    def action_retry(self) -> None:
        """Try to connect at once."""
        self.monitor.retry()

    def action_theme(self) -> None:
        """Go from dark to light, or back."""
        self.monitor.turn_theme()

    def action_leave(self) -> None:
        """Close the screen."""
        self.app.exit()
