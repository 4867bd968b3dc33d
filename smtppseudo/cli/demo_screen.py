"""The screen of `demo`: the monitor screen, with its files in the demo's directory and an optional end."""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Final

from smtppseudo.cli import exits
from smtppseudo.cli.access import user_keyring
from smtppseudo.demo.process import ServerProcess
from smtppseudo.demo.traffic import ADDRESS
from smtppseudo.files import StateDir
from smtppseudo.link.route import Target
from smtppseudo.service.systemd import UnitState
from smtppseudo.tui.app import MonitorApp
from smtppseudo.tui.dialogs.service import ServiceControl
from smtppseudo.tui.server_view import Dependencies

LEAVE_TIMEOUT_S: Final = 3.0


def show(server: ServerProcess, directory: Path, seconds: float | None, signals: Iterable[int]) -> int:
    """Show the screen until the user quits, the time is up, or a signal arrives; return the exit status."""
    keyring = user_keyring(str(server.state_dir))
    dependencies = Dependencies(
        keyring,
        StateDir(directory / "screen"),
        service=ServiceControl(ask=lambda: UnitState(reason="The demo's server is not a service.")),
    )
    app = MonitorApp(Target(ADDRESS, server.monitor_port), dependencies)
    sys.setswitchinterval(0.001)  # as in `monitor`; here the callers are a thread, too
    asyncio.run(_run(app, seconds, signals))
    return app.return_code or exits.GOOD


async def _run(app: MonitorApp, seconds: float | None, signals: Iterable[int]) -> None:
    loop = asyncio.get_running_loop()

    def leave(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        for each in signals:
            signal.signal(each, signal.SIG_IGN)
        # Without its terminal, the screen may hang. This exit leaves nothing behind either: the server ends and
        # removes the files when its standard input ends.
        last_resort = threading.Timer(LEAVE_TIMEOUT_S, os._exit, [128 + number])
        last_resort.daemon = True
        last_resort.start()
        loop.call_soon_threadsafe(partial(app.exit, return_code=128 + number))

    # Not loop.add_signal_handler: a loop that waits for the terminal would not run it.
    for number in signals:
        signal.signal(number, leave)
    if seconds is not None:
        loop.call_later(seconds, app.exit)
    await app.run_async()
