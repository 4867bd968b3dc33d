"""The screen of `demo`: the monitor screen, with its files in the demo's directory and an optional end."""

from pathlib import Path

from smtppseudo.cli import screen
from smtppseudo.cli.access import user_keyring
from smtppseudo.demo.process import ServerProcess
from smtppseudo.demo.traffic import ADDRESS
from smtppseudo.files import StateDir
from smtppseudo.link.route import Target
from smtppseudo.service.systemd import UnitState
from smtppseudo.tui.app import MonitorApp
from smtppseudo.tui.dialogs.service import ServiceControl
from smtppseudo.tui.server_view import Dependencies


def show(server: ServerProcess, directory: Path, seconds: float | None) -> int:
    """Show the screen until the user quits, the time is up, or a signal arrives; return the exit status."""
    keyring = user_keyring(str(server.state_dir))
    dependencies = Dependencies(
        keyring,
        StateDir(directory / "screen"),
        service=ServiceControl(ask=lambda: UnitState(reason="The demo's server is not a service.")),
    )
    app = MonitorApp([Target(ADDRESS, server.monitor_port)], dependencies)
    app.call_later(app.notify, "Ctrl-Z, and fg to return", title="Commands to try", timeout=10)
    return screen.show(app, seconds)
