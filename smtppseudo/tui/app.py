"""The application: passes updates from the feeders to the models, and decides when the screen is drawn."""

import os
import signal
import sys
from collections.abc import Iterable, Sequence
from functools import partial
from typing import ClassVar, Final

from textual import constants
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.driver import Driver
from textual.screen import Screen

from smtppseudo.link.route import Target
from smtppseudo.tui.background import start_worker
from smtppseudo.tui.dialogs.dialog import Dialog
from smtppseudo.tui.feeder import EventBatch, LinkDown, LinkUp, ResumePoint, Update
from smtppseudo.tui.fleet_screen import FleetScreen
from smtppseudo.tui.main_screen import MainScreen
from smtppseudo.tui.memory import Memory
from smtppseudo.tui.page import Page
from smtppseudo.tui.server_view import Dependencies, ServerView
from smtppseudo.tui.themes import DARK, LIGHT, THEMES
from smtppseudo.tui.widgets.bars import Hint

TICK_S: Final = 0.1
_FLOOD_EVENTS: Final = 500  # with this many in a tick, the tables are drawn half as often: keys come first
_FLOOD_S: Final = 0.19
_TEXTS_EVERY_S: Final = 0.5  # shortest time between two draws of all but the tables
_DRAW_EVERY_S: Final = 1.0  # even if nothing has happened: idle times change


class MonitorApp(App[None]):
    """The application."""

    CSS_PATH = "style.tcss"
    TITLE = "smtppseudo"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+z", "suspend_process", show=False, priority=True),
        Binding("ctrl+c", "interrupt", show=False, priority=True),
        Binding("escape", "leave_server", show=False),
    ]

    def __init__(self, targets: Sequence[Target], dependencies: Dependencies) -> None:
        super().__init__()
        self._memory = memory = Memory(dependencies.store)
        self.servers = servers = [ServerView(target, dependencies, len(targets)) for target in targets]
        is_one = len(servers) == 1
        self._home: Page = MainScreen(servers[0], memory) if is_one else FleetScreen(servers, memory, self.open_server)
        self.page: Page = self._home  # the one in front, or behind a dialog
        self._now = dependencies.monotonic
        self._is_undrawn = True
        self._drawn_at = 0.0
        self._texts_at = 0.0
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = memory.theme if memory.theme in (DARK, LIGHT) else DARK

    def get_default_screen(self) -> Screen[None]:
        """Return the first page."""
        return self._home

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:  # noqa: ARG002
        """Return the commands of the palette: every action."""
        for action in self.page.actions:
            yield SystemCommand(action.title, action.help, partial(self.page.run_action, action.name))

    def get_driver_class(self) -> type[Driver]:
        """Return the class that reads and writes the terminal."""
        if sys.platform == "win32" or constants.DRIVER is not None:
            return super().get_driver_class()
        from smtppseudo.tui.terminal import TerminalDriver  # noqa: PLC0415 - not on Windows

        return TerminalDriver

    def action_suspend_process(self) -> None:
        """Suspend the screen and all of its process group, as the terminal does it for other programs."""
        if sys.platform != "win32" and self._driver is not None and self._driver.can_suspend:
            os.kill(0, signal.SIGTSTP)

    async def action_interrupt(self) -> None:
        """Leave what is in front: a dialog, the palette, a filter, one of several servers, or the screen."""
        if self.screen is not self.page:
            await self.screen.run_action("cancel" if isinstance(self.screen, Dialog) else "dismiss")
        elif self.page is not self._home:
            self.action_leave_server()
        elif not self.page.cancel_prompt():
            self.exit()

    def open_server(self, view: ServerView) -> None:
        """Show one of several servers."""
        self.page = MainScreen(view, self._memory, Hint("Esc", "servers", "app.leave_server"))
        self.push_screen(self.page)
        self.page.ask_for_missing(view)

    def action_leave_server(self) -> None:
        """Go back to the list of servers."""
        if self.screen is self.page is not self._home and not self.page.cancel_prompt():
            self.pop_screen()
            self.page = self._home
            self.page.redraw()

    def on_mount(self) -> None:
        for view in self.servers:
            view.source.start(view.target, ResumePoint())
        self.set_interval(TICK_S, self.tick)

    def on_unmount(self) -> None:
        for view in self.servers:
            view.source.stop()

    def tick(self) -> None:
        """Process the updates since the last tick; draw what changed."""
        now = self._now()
        shown: list[Update] = []
        for view in self.servers:
            updates = view.source.take()
            for update in updates:
                self._follow(view, update, now)
            shown += updates if view in self.page.servers else ()
            view.refresh_slots(now)
        is_changed = any(view.is_changed for view in self.page.servers)
        self._is_undrawn |= bool(shown) or is_changed
        count = sum(len(update.notices) for update in shown if isinstance(update, EventBatch))
        is_urgent = is_changed or any(not isinstance(update, self.page.not_urgent) for update in shown)
        is_due = self._is_undrawn and now - self._drawn_at >= (_FLOOD_S if count >= _FLOOD_EVENTS else 0)
        if is_urgent or is_due or now - self._texts_at >= _DRAW_EVERY_S:
            texts = is_urgent or now - self._texts_at >= _TEXTS_EVERY_S
            self._is_undrawn, self._drawn_at, self._texts_at = False, now, now if texts else self._texts_at
            for view in self.page.servers:
                view.is_changed = False
            self.page.redraw(texts=texts)

    def _follow(self, view: ServerView, update: Update, now: float) -> None:
        if view.follow(update, now):
            start_worker(self, view.load_settings, f"settings {id(view)}")
        if isinstance(update, LinkUp) and update.is_own:
            start_worker(self, view.load_unit, f"unit {id(view)}")
        elif isinstance(update, LinkDown):
            self._home.follow_loss(view)
            if self.page is not self._home:
                self.page.follow_loss(view)
