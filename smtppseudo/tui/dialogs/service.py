"""The service dialog: whether the service of this machine is installed and runs; install, start, stop, uninstall."""

from collections.abc import Callable
from functools import partial
from typing import Final

from textual.app import ComposeResult, SuspendNotSupported
from textual.widgets import Static

from smtppseudo.events import printable_lines
from smtppseudo.service.commands import ServiceAction
from smtppseudo.service.layout import as_typed
from smtppseudo.service.systemd import ToolError, UnitState, run_tool
from smtppseudo.tui.background import in_thread, start_worker
from smtppseudo.tui.dialogs.dialog import ConfirmDialog, Dialog, text_line
from smtppseudo.tui.server_view import ServiceControl
from smtppseudo.tui.widgets.buttons import TextButton


class ServiceDialog(Dialog[None]):
    """The dialog. `changed` is called with the new state after every command."""

    AUTO_FOCUS = "#cancel"

    def __init__(self, control: ServiceControl, unit: UnitState, changed: Callable[[UnitState], None]) -> None:
        actions = [TextButton(action.value.capitalize(), id=action.value) for action in ServiceAction]
        super().__init__("Service of this machine", *actions, TextButton("Close", id="cancel"))
        self._control, self._unit, self._changed = control, unit, changed

    def body(self) -> ComposeResult:
        yield text_line("")

    def on_mount(self) -> None:
        self._show(self._unit)

    def press(self, button: TextButton) -> None:
        action = ServiceAction(button.id)
        if action not in _CONFIRMATIONS:
            self._start(action, True)
            return
        name = action.value.capitalize()
        dialog = ConfirmDialog(f"{name} the service", _CONFIRMATIONS[action], name)
        self.app.push_screen(dialog, partial(self._start, action))

    def _start(self, action: ServiceAction, is_sure: bool | None) -> None:
        if is_sure:
            start_worker(self, partial(self._do, action), "service")

    async def _do(self, action: ServiceAction) -> None:
        problem = await in_thread(partial(self._control.problem_with, action))
        if problem:
            self.complain(problem)
            return
        argv = self._control.argv_for(action)
        try:
            if self._control.needs_terminal:
                with self.app.suspend():
                    self._control.run(argv)
            else:
                await in_thread(partial(run_tool, *argv))
        except ToolError as error:
            self.complain(str(error))
            return
        except SuspendNotSupported:
            self.complain(f"This terminal cannot run the command; in another one, type `{as_typed(argv)}`")
            return
        self.complain("")
        unit = await in_thread(self._control.ask)
        self._show(unit)
        self._changed(unit)

    def _show(self, unit: UnitState) -> None:
        hint = "\n\nIf a command needs root, this screen is hidden while sudo asks for a password."
        state = unit.reason or (
            f"Installed   {unit.installed}\nRunning     {unit.running}\nAt boot     {unit.at_boot}"
            f"{hint if self._control.needs_terminal else ''}"
        )
        self.query_one(".text", Static).update(printable_lines(state))
        self.query_one("#install", TextButton).label = "Upgrade" if unit.is_installed else "Install"
        for action, is_possible in (
            (ServiceAction.INSTALL, not unit.reason),
            (ServiceAction.START, unit.is_installed and not unit.is_running),
            (ServiceAction.STOP, unit.is_running),
            (ServiceAction.UNINSTALL, unit.is_installed),
        ):
            self.query_one(f"#{action.value}", TextButton).disabled = not is_possible


_CONFIRMATIONS: Final = {
    ServiceAction.STOP: (
        "Until the service is started again, neither callers nor monitors can connect. This screen loses its"
        " connection, too."
    ),
    ServiceAction.UNINSTALL: (
        "This stops the service and removes it. Settings, state and logs stay;"
        " `smtppseudo uninstall-service --purge` removes them, too."
    ),
}
