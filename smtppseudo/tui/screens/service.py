"""The service panel: whether the service of this machine is installed and runs, and what can be done to it."""

import shlex
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

from textual.app import ComposeResult, SuspendNotSupported
from textual.containers import Horizontal, Vertical
from textual.widgets import Static

from smtppseudo.service.commands import ServiceAction, argv_for, problem_with
from smtppseudo.service.systemd import UnitState, query_service
from smtppseudo.tui.screens.dialog import Confirm, Dialog
from smtppseudo.tui.texts import shown
from smtppseudo.tui.waiting import aside, begin
from smtppseudo.tui.widgets.push import Push


def _nobody(words: list[str]) -> None:
    raise SuspendNotSupported(f"nobody runs {words}")


class Service(NamedTuple):
    """How to ask after the service of this machine, and how something is done to it.

    `run` has a command run in the bare terminal.
    """

    ask: Callable[[], UnitState] = query_service
    argv_for: Callable[[ServiceAction], list[str]] = argv_for
    problem_with: Callable[[ServiceAction], str] = problem_with
    run: Callable[[list[str]], None] = _nobody


class ServicePanel(Dialog[None]):
    """The panel. `changed` hears the state whenever something was done."""

    def __init__(self, service: Service, unit: UnitState, changed: Callable[[UnitState], None]) -> None:
        super().__init__()
        self._service = service
        self._unit = unit
        self._changed = changed

    def compose(self) -> ComposeResult:
        """Make the box."""
        with Vertical() as box:
            box.border_title = "Service of this machine"
            yield Static("", classes="text", id="state", markup=False)
            yield Static("", classes="bad", markup=False)
            with Horizontal(classes="buttons"):
                for action in ServiceAction:
                    yield Push(action.value.capitalize(), id=action.value)
                yield Push("Close", id="close")

    def on_mount(self) -> None:
        """Show how it stands."""
        self._show(self._unit)
        self.query_one("#close").focus()

    def on_push_pressed(self, event: Push.Pressed) -> None:
        """Do what the button says, after asking where callers would find nobody any more."""
        event.stop()
        if event.push.id == "close":
            self.action_cancel()
            return
        action = ServiceAction(event.push.id)
        if action in _ASKED:
            self._ask(action)
        else:
            begin(self, partial(self._do, action), "service")

    def _ask(self, action: ServiceAction) -> None:
        def do(is_sure: bool | None) -> None:
            if is_sure:
                begin(self, partial(self._do, action), "service")

        name = action.value.capitalize()
        self.app.push_screen(Confirm(f"{name} the service", _ASKED[action], name), do)

    async def _do(self, action: ServiceAction) -> None:
        obstacle = await aside(partial(self._service.problem_with, action))
        if obstacle:
            self.complain(obstacle)
            return
        words = self._service.argv_for(action)
        try:
            with self.app.suspend():
                self._service.run(words)
        except SuspendNotSupported:
            self.complain(f"The command cannot run in this terminal; in another, type `{shlex.join(words)}`")
            return
        self.complain("")
        unit = await aside(self._service.ask)
        self._show(unit)
        self._changed(unit)

    def _show(self, unit: UnitState) -> None:
        self._unit = unit
        state = unit.reason or f"Installed   {unit.installed}\nRunning     {unit.running}\nAt boot     {unit.at_boot}"
        if not unit.reason:
            state += "\n\nWhere root is needed, the screen makes way, and you are asked for a password."
        self.query_one("#state", Static).update(shown_lines(state))
        self.query_one("#install", Push).label = "Upgrade" if unit.is_installed else "Install"
        for action, is_possible in (
            (ServiceAction.INSTALL, not unit.reason),
            (ServiceAction.START, unit.is_installed and not unit.is_running),
            (ServiceAction.STOP, unit.is_running),
            (ServiceAction.UNINSTALL, unit.is_installed),
        ):
            self.query_one(f"#{action.value}", Push).disabled = not is_possible


def shown_lines(text: str) -> str:
    """Return a text of several lines as printable ASCII."""
    return "\n".join(map(shown, text.split("\n")))


_ASKED: Final = {
    ServiceAction.STOP: (
        "Until the service is started again, callers and monitors find nobody: this screen will lose its connection,"
        " too."
    ),
    ServiceAction.UNINSTALL: (
        "The service will be stopped and its units removed. Settings, state and logs stay;"
        " `smtppseudo uninstall-service --purge` removes them, too."
    ),
}
