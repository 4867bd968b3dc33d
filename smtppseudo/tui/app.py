"""The application: passes updates from the feeder to the model, and decides when the screen is drawn."""

import os
import signal
import sys
from collections.abc import Iterable
from functools import partial
from typing import ClassVar, Final

from textual import constants
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.driver import Driver
from textual.screen import Screen

from smtppseudo.link.route import Target
from smtppseudo.tui.actions import ACTIONS
from smtppseudo.tui.background import start_worker
from smtppseudo.tui.dialogs.dialog import Dialog
from smtppseudo.tui.feeder import EventBatch, LinkDown, LinkUp, ResumePoint, Update
from smtppseudo.tui.main_screen import MainScreen
from smtppseudo.tui.operations import Operations
from smtppseudo.tui.server_view import Dependencies, ServerView
from smtppseudo.tui.themes import DARK, LIGHT, THEMES

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
    ]

    def __init__(self, target: Target, dependencies: Dependencies) -> None:
        super().__init__()
        self.view = ServerView(target, dependencies)
        self.operations = Operations(self, self.view)
        self.main = MainScreen(self.view, self.operations)
        self._is_undrawn = True
        self._drawn_at = 0.0
        self._texts_at = 0.0
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = self.view.memory.theme if self.view.memory.theme in (DARK, LIGHT) else DARK

    def get_default_screen(self) -> Screen[None]:
        """Return the main screen."""
        return self.main

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:  # noqa: ARG002
        """Return the commands of the palette: every action."""
        for action in ACTIONS:
            yield SystemCommand(action.title, action.help, partial(self.main.run_action, action.name))

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
        """Leave what is in front: a dialog, the palette, a filter, or the screen."""
        if self.screen is not self.main:
            await self.screen.run_action("cancel" if isinstance(self.screen, Dialog) else "dismiss")
        elif not self.main.cancel_prompt():
            self.exit()

    def on_mount(self) -> None:
        self.view.source.start(self.view.target, ResumePoint())
        self.set_interval(TICK_S, self.tick)

    def on_unmount(self) -> None:
        self.view.source.stop()

    def tick(self) -> None:
        """Process the updates since the last tick; draw what changed."""
        view = self.view
        updates = view.source.take()
        now = view.now()
        for update in updates:
            self._follow(update, now)
        self._is_undrawn |= bool(updates) or view.is_changed
        count = sum(len(update.notices) for update in updates if isinstance(update, EventBatch))
        is_urgent = view.is_changed or any(not isinstance(update, EventBatch) for update in updates)
        if is_urgent or now - self._drawn_at >= (_FLOOD_S if count >= _FLOOD_EVENTS else 0):
            self._draw(now, texts=is_urgent or now - self._texts_at >= _TEXTS_EVERY_S)
        view.refresh_slots(now)

    def _draw(self, now: float, *, texts: bool) -> None:
        if not self._is_undrawn and now - self._texts_at < _DRAW_EVERY_S:
            return
        self._is_undrawn = self.view.is_changed = False
        self._drawn_at = now
        self._texts_at = now if texts else self._texts_at
        self.main.redraw(texts=texts)

    def _follow(self, update: Update, now: float) -> None:
        if self.view.follow(update, now):
            start_worker(self, self.view.load_settings, "settings")
        if isinstance(update, LinkUp) and update.is_own:
            start_worker(self, self.view.load_unit, "unit")
        elif isinstance(update, LinkDown) and self.screen is self.main:
            self.operations.ask_for_missing()
