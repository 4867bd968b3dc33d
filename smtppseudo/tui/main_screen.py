"""The main screen: header and buttons at the top, slots with the top callers beside them, events below."""

from datetime import tzinfo
from functools import partial
from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from smtppseudo.link.errors import LinkError
from smtppseudo.link.route import own_address
from smtppseudo.service.systemd import UnitState
from smtppseudo.tui import overview
from smtppseudo.tui.actions import ACTIONS
from smtppseudo.tui.background import in_thread, start_worker
from smtppseudo.tui.dialogs.dialog import ConfirmDialog, TextDialog
from smtppseudo.tui.dialogs.service import ServiceDialog
from smtppseudo.tui.memory import Memory
from smtppseudo.tui.page import Page
from smtppseudo.tui.query import EVENTS, STATES, Query, QueryError
from smtppseudo.tui.server_view import ServerView
from smtppseudo.tui.slots import COLUMNS
from smtppseudo.tui.texts import clock_time, reply_class
from smtppseudo.tui.transcripts import SessionKey, Transcript, TranscriptLine
from smtppseudo.tui.widgets.bars import Hint, PaneTitle, RateBar, TopBar
from smtppseudo.tui.widgets.buttons import TextButton, TextSwitch
from smtppseudo.tui.widgets.caller_pane import CallerPane
from smtppseudo.tui.widgets.event_pane import EventPane
from smtppseudo.tui.widgets.prompt import Prompt
from smtppseudo.tui.widgets.slot_pane import SlotPane
from smtppseudo.tui.widgets.tables import Table

SIDE_COLUMNS: Final = 100  # from this width of the terminal on, the top callers are beside the slots
DETAILS_COLUMNS: Final = 160  # from here on, the details, too
_TITLE_ROWS: Final = 2
_EVENT_ROWS_MIN: Final = 5
_ACCEPT = (
    "The server then accepts every message and throws it away. Honest mail is lost without a bounce: its senders"
    " believe that it arrived."
)
_NO_DATA = "What callers send and the replies to it are then neither logged nor shown, only that they connected."
_STYLES: Final = {"no": "$primary", "mistake": "$muted", "fault": "$error", "said": ""}


class MainScreen(Page):
    """The main screen of a server. `hints` are what the keys do besides: in a fleet, Esc goes back."""

    AUTO_FOCUS = "#slots"
    actions = ACTIONS
    BINDINGS: ClassVar[list[BindingType]] = [Binding(action.keys, action.name, action.title) for action in ACTIONS]

    def __init__(self, view: ServerView, memory: Memory, *hints: Hint) -> None:
        super().__init__([view], memory)
        self._view, self._hints = view, hints
        self._model = view.model  # the one in the panes
        self._search = ""
        self._wants_details: bool | None = None  # None: by width
        self._top, self._rate = TopBar(id="top"), RateBar(id="rate")
        self._server = TextButton("Start", id="switch_server", key="o", disabled=True)
        self._data_events = TextSwitch("Log data", id="data_events", key="l", disabled=True)
        self._accept_mail = TextSwitch("Accept mail", id="accept_mail", key="a", disabled=True)
        self._slots_title = PaneTitle("Slots", id="slots-title")
        self._callers_title = PaneTitle("Top callers", id="callers-title", corner="┬")
        self._events_title = PaneTitle("Events", id="events-title")
        self._slots = SlotPane(view.model.board, view.now, id="slots")
        self._callers = CallerPane(id="callers")
        self._events = EventPane(view.model.events, view.zone, id="events")
        self._details = Static("", markup=False)
        self._details_text = Content("")
        self._prompt = Prompt(id="prompt")
        self._callers_side = Vertical(self._callers_title, self._callers, classes="side")
        details = VerticalScroll(self._details, id="details", can_focus=False)
        self._details_side = Vertical(PaneTitle("Details", id="details-title", corner="┬"), details, classes="side")
        self._upper = Horizontal(Vertical(self._slots_title, self._slots), self._callers_side, id="upper")
        self._panes = Vertical(self._upper, self._events_title, self._events, id="panes")
        self._body = Horizontal(self._panes, self._details_side, id="body")

    def cancel_prompt(self) -> bool:
        if self._prompt.display:
            self._prompt.action_cancel()
            return True
        return False

    def compose(self) -> ComposeResult:
        yield self._top
        setup = TextButton("Setup", id="setup", key="s")
        yield Horizontal(self._server, self._data_events, self._accept_mail, setup, self._rate, id="controls")
        yield self.notice
        yield self._body
        yield self._prompt
        yield self.footer

    def on_resize(self) -> None:
        self._place_sides()

    def hints(self) -> list[Hint]:
        if self._prompt.display:
            return [Hint("⏎", "done", "enter"), Hint("Esc", "cancel", "app.interrupt")]
        enter = Hint("⏎", "session" if isinstance(self.focused, Table) else "press", "enter")
        return [enter, *self._hints, *super().hints()]

    def follow_loss(self, view: ServerView) -> None:
        if view is self._view and self.app.screen is self:
            self.ask_for_missing(view)

    def _share_height(self) -> None:
        """Give the slots the rows that they need, and the callers up to a third; but leave a fifth to the events."""
        rows = self._panes.size.height - _TITLE_ROWS
        if rows > 0:
            beside = self._callers.lines if self._callers_side.display else 0
            wanted = max(self._slots.lines, min(beside, rows // 3))
            self._upper.styles.height = 1 + max(2, min(wanted, rows - max(_EVENT_ROWS_MIN, rows // 5)))

    def redraw(self, *, texts: bool = True) -> None:
        model = self._view.model
        if model is not self._model:
            self._model = model
            self._slots.show_board(model.board)
            self._events.show_events(model.events)
        self._slots.catch_up()
        self._events.catch_up()
        if texts:
            self._redraw_texts()

    def _redraw_texts(self) -> None:
        view, model = self._view, self._view.model
        self._top.headline = overview.headline(view)
        self._rate.figures = (model.rate.last_minute(view.second), model.rate.bars(view.second))
        self._redraw_controls()
        self.show_notice(overview.notice(view))
        self._callers.show(model)
        details, before = overview.details(view), self._details_text
        if details != before:
            self._details_text = details
            self._details.update(details, layout=details.plain.count("\n") != before.plain.count("\n"))
        self._redraw_titles()
        self._slots.is_stale = view.link.up is None
        is_known = bool(model.started_at)
        self.notice.set_class(not is_known, "-alone")
        if self._body.display != is_known:
            self._body.display = is_known
            self.call_after_refresh(self._share_height)
        self._share_height()

    def _redraw_controls(self) -> None:
        settings, is_connected = self._view.model.settings, self._view.link.up is not None
        self._server.label = "Stop" if self._view.model.state == "online" else "Start"
        self._server.disabled = not is_connected
        for control, key in ((self._data_events, "log_data_events"), (self._accept_mail, "accept_mail")):
            control.is_on = settings.get(key) is True
            control.disabled = not is_connected

    def _redraw_titles(self) -> None:
        board, events, pane = self._view.model.board, self._view.model.events, self._events
        self._slots_title.about = f"filter: {board.query.text}, {len(board.order)} shown" if board.query else ""
        self._callers_title.label = overview.callers_title(self._view.model.callers, self._view.zone)
        parts = (
            f"filter: {events.query.text}" if events.query else "",
            f"search: {self._search}" if self._search else "",
            f"{self._view.model.not_shown:,} not shown" if self._view.model.not_shown else "",
            "following" if pane.is_following else f"paused, {pane.new_count:,} new (p)",
        )
        self._events_title.about = " · ".join(filter(None, parts))

    def _place_sides(self) -> None:
        """Show what there is room for beside the slots: the top callers, the details, or both."""
        is_narrow, is_wide = self.size.width < SIDE_COLUMNS, self.size.width >= DETAILS_COLUMNS
        self._details_side.display = not is_narrow and (is_wide if self._wants_details is None else self._wants_details)
        self._callers_side.display = is_wide or not (is_narrow or self._details_side.display)
        self._redraw_texts()

    def on_text_button_pressed(self, event: TextButton.Pressed) -> None:
        """Run the action that the button's id names."""
        event.stop()
        start_worker(self, partial(self.run_action, str(event.button.id)), "button")

    def on_table_opened(self, event: Table.Opened) -> None:
        """Show a session. The text grows while the session goes on."""
        key, model = event.key, self._view.model
        if key is None or not key.session:
            reason = "No event of it is kept any more." if key is None else "This event belongs to no session."
            self.notify(reason, title="Session", markup=False)
            return
        row = model.board.rows.get(key.slot)
        names = ("helo", "sender", "last", "reply") if row is not None and row.key == key else ()
        known = [f"{name:<8}{value}" for name in names if (value := getattr(row, name))]
        nothing = "This screen saw nothing of this session: it is older than the events kept.\n"
        otherwise = "\n".join([nothing, "The server's last state of it:" if known else "", *known])

        def text() -> Content | None:
            transcript = model.transcripts.get(key)
            return None if transcript is None else _transcript_text(transcript, self._view.zone)

        title = f"Slot {key.slot}, session {key.session}: {key.ip} port {key.port}"
        self.app.push_screen(TextDialog(title, text, otherwise))

    def on_prompt_typed(self, event: Prompt.Typed) -> None:
        """Filter or search for the text."""
        model = self._view.model
        try:
            if event.purpose == "slots":
                model.board.filter(Query.parse(event.text, "state", STATES))
                self._slots.reorder()
            elif event.purpose == "events":
                model.events.filter(Query.parse(event.text, "event", EVENTS))
                self._events.show_events(model.events)
            else:
                self._search = " ".join(event.text.split())
                if self._search:
                    self._find(-1)
                else:
                    self._events.action_jump(-1)
        except QueryError as error:
            self._prompt.complain(str(error))
            return
        self._redraw_titles()
        self._prompt.complain("")
        if event.is_done:
            self._prompt.display = False
            (self._slots if event.purpose == "slots" else self._events).focus()

    def action_switch_server(self) -> None:
        model = self._view.model
        if model.state != "online":
            self._do_now("Start", "start")
            return
        count = model.board.open_count
        sessions = f" and ends {count} open session{'' if count == 1 else 's'}" if count else ""
        text = f"This closes the SMTP port{sessions}. The server process and this screen keep running."
        self._confirm("Stop server", text, "Stop server", "stop")

    def action_data_events(self) -> None:
        if self._view.model.settings.get("log_data_events") is True:
            self._confirm("Log data", _NO_DATA, "Turn them off", "set", **self._changes(log_data_events=False))
        else:
            self._do_now("Log data", "set", **self._changes(log_data_events=True))

    def action_accept_mail(self) -> None:
        if self._view.model.settings.get("accept_mail") is True:
            self._do_now("Accept mail", "set", **self._changes(accept_mail=False))
        else:
            self._confirm("Accept mail", _ACCEPT, "Accept mail", "set", **self._changes(accept_mail=True))

    def _changes(self, **changes: bool) -> dict[str, object]:
        return {"changes": changes, "revision": self._view.model.revision}

    def _confirm(self, title: str, text: str, yes: str, op: str, **fields: object) -> None:
        self.app.push_screen(ConfirmDialog(title, text, yes, partial(self._view.change, op, **fields)))

    def _do_now(self, title: str, op: str, **fields: object) -> None:
        async def change() -> None:
            try:
                await self._view.change(op, **fields)
            except LinkError as error:
                self.report(title, str(error))

        start_worker(self, change, "op")

    def action_service(self) -> None:
        start_worker(self, self._show_service, "op")

    async def _show_service(self) -> None:
        view, control, address = self._view, self._view.dependencies.service, self._view.target.address
        if await in_thread(lambda: own_address(address)) is None:
            self.report("Service", f"{address} is not this machine; manage its service there")
            return
        unit = await in_thread(control.ask)
        if unit.reason:
            self.report("Service", unit.reason)
            return

        def follow(unit: UnitState) -> None:
            view.set_unit(unit)
            self.retry(view)

        self.app.push_screen(ServiceDialog(control, unit, follow))

    def action_disconnect(self) -> None:
        key = self._key_at_cursor()
        row = None if key is None else self._view.model.board.rows.get(key.slot)
        if row is None or row.state != "open" or row.key != key:
            self.notify("There is no open session here.", title="Disconnect", markup=False)
            return
        text = f"This ends the session of {row.ip} port {row.port} in slot {row.slot}."
        self._confirm("Disconnect", text, "Disconnect", "disconnect", slot=row.slot)

    def action_block(self) -> None:
        key = self._key_at_cursor()
        if key is None or not key.ip:
            self.notify("There is no caller here.", title="Block", markup=False)
            return
        text = (
            f"This turns {key.ip} away for 7 days and ends its open sessions. If the server keeps a block list,"
            f" {key.ip} is in it, too. `smtppseudo unblock {key.ip}` undoes this."
        )
        self._confirm("Block", text, "Block", "block", network=key.ip)

    def _key_at_cursor(self) -> SessionKey | None:
        return (self.focused if isinstance(self.focused, Table) else self._slots).key

    def action_filter(self) -> None:
        if self._events.has_focus:
            self._prompt.ask("events", self._view.model.events.query.text)
        else:
            self._prompt.ask("slots", self._view.model.board.query.text)

    def action_search(self) -> None:
        self._prompt.ask("search", self._search)

    def action_search_next(self) -> None:
        self._find(1)

    def action_search_previous(self) -> None:
        self._find(-1)

    def _find(self, step: int) -> None:
        if not self._search:
            self.action_search()
        elif not self._events.search(self._search, step):
            self.notify(f"No event contains {self._search}", title="Search", markup=False)

    def action_pause(self) -> None:
        self._events.toggle_pause()
        self._redraw_titles()

    def action_sort(self) -> None:
        self._slots.sort_by(COLUMNS[(COLUMNS.index(self._view.model.board.sort) + 1) % len(COLUMNS)])

    def action_reverse(self) -> None:
        self._slots.sort_by(self._view.model.board.sort)

    def action_details(self) -> None:
        if self.size.width >= SIDE_COLUMNS:
            self._wants_details = not self._details_side.display
            self._place_sides()
        else:
            self.app.push_screen(TextDialog("Details", partial(overview.details, self._view, has_callers=True)))


def _transcript_text(transcript: Transcript, zone: tzinfo | None) -> Content:
    lines = [_line(line, zone) for line in transcript.lines()]
    notes = [] if transcript.is_whole else ["this is not the start: the session began before this screen connected"]
    notes += [f"{transcript.cut} events before this are not kept"] if transcript.cut else []
    return Content("\n").join([*[Content.styled(f"-- {note} --", "$warning italic") for note in notes], *lines])


def _line(line: TranscriptLine, zone: tzinfo | None) -> Content:
    time = clock_time(line.time, zone) if line.time else " " * 8
    style = "$muted" if line.side == "-" else _STYLES[reply_class(line.text)] if line.side == "S" else ""
    return Content.assemble((f"{time} ", "$muted"), (f"{line.side} {line.text}", style))
