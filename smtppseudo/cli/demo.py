"""`demo`: a server on free ports, made-up callers, and the monitor screen; at the end all files are removed."""

import argparse
import contextlib
import shutil
import sys
import threading
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from random import Random

from smtppseudo.cli import exits
from smtppseudo.cli.access import explained, user_keyring
from smtppseudo.cli.messages import print_lines, say
from smtppseudo.cli.options import describe, seconds, whole_number
from smtppseudo.cli.screen import handled_by, require_screen, show
from smtppseudo.cli.watch import Watch, print_at_once
from smtppseudo.config.settings import check
from smtppseudo.demo.callers import arrivals
from smtppseudo.demo.process import DemoDirectory, NotStartedError, ServerProcess
from smtppseudo.demo.traffic import ADDRESS, Traffic
from smtppseudo.demo.week import SPAMMER, write_week
from smtppseudo.files import StateDir
from smtppseudo.link.errors import ClosedError, ConnectionLostError
from smtppseudo.link.route import Target, connect
from smtppseudo.service.layout import as_typed


def add_demo(command: argparse.ArgumentParser) -> None:
    describe(
        command,
        "smtppseudo demo\n  or, without a terminal: smtppseudo demo --no-screen --seconds 20",
        "The server answers on this machine alone and keeps its files, with made-up logs of a week, in a temporary"
        " directory, which is removed at the end. Prints commands to try meanwhile; Ctrl-Z leaves the screen for them.",
    )
    add = command.add_argument
    add("--seconds", type=seconds, metavar="TIME", help="end after this time: 20, 90s or 5m (until you quit)")
    add("--no-screen", action="store_true", help="print the events instead, as `watch` does")
    add("--slots", type=whole_number, default=25, metavar="N", help="the number of simultaneous connections (25)")


def run(options: argparse.Namespace) -> int:
    """Run until the user quits, the time is up, or a signal arrives."""
    slots: int = check("slots", options.slots)
    if not options.no_screen:
        require_screen("`smtppseudo demo --no-screen` prints the events instead")  # it loads slowly: before the callers
    callers = arrivals(Random(25), slots)  # noqa: S311 - not used for secrets
    # A signal ends the block like an exception, so that everything is removed; the status is as shells report it.
    end = handled_by(lambda number: sys.exit(128 + number))
    with end, _server(slots) as (directory, server), Traffic(server.port, callers):
        print_lines(["While it runs, try:", *_commands(directory.path)], sys.stderr)
        if options.no_screen:
            _print_events(server, options.seconds)
            return exits.GOOD
        return _show(server, directory.path, options.seconds)


@contextlib.contextmanager
def _server(slots: int) -> Iterator[tuple[DemoDirectory, ServerProcess]]:
    """Run the server in a new temporary directory. Raises CommandError."""
    with contextlib.ExitStack() as stack:
        try:
            directory = stack.enter_context(DemoDirectory())
            write_week(directory.path / "log", date.today())  # noqa: DTZ011 - the logs are named by local dates
            server = stack.enter_context(ServerProcess(directory, slots))
        except NotStartedError as error:
            message, status = error.args
            raise exits.CommandError(f"the demo's server did not start: {message}", status) from None
        except OSError as error:
            raise exits.CommandError(f"cannot write the demo's files: {error}; set TMPDIR to another place") from None
        yield directory, server


def _commands(directory: Path) -> Iterator[str]:
    """Yield commands to try while the demo runs."""
    script = ["-m", "smtppseudo"] if sys.argv[0].endswith("__main__.py") else [str(Path(sys.argv[0]).absolute())]
    own = ["smtppseudo"] if shutil.which("smtppseudo") else [sys.executable, *script]
    logs, state, page = (str(directory / name) for name in ("log", "state", "week.html"))
    for words in (
        ["report", logs],
        ["report", "--html", page, logs],
        ["find", "--since", "yesterday", "--sender", "newsletter@shop.test", logs],
        ["blocklist", logs],
        ["block", SPAMMER, "--reason", "calls too often", "--state-dir", state],
        ["blocked", "--state-dir", state],
    ):
        yield as_typed([*own, *words])


def _show(server: ServerProcess, directory: Path, seconds: float | None) -> int:
    """Show the screen, with its files in the demo's directory; return the exit status."""
    from smtppseudo.service.systemd import UnitState
    from smtppseudo.tui.app import MonitorApp
    from smtppseudo.tui.server_view import Dependencies, ServiceControl

    service = ServiceControl(ask=lambda: UnitState(reason="The demo's server is not a service."))
    dependencies = Dependencies(user_keyring(str(server.state_dir)), StateDir(directory / "screen"), service=service)
    app = MonitorApp([Target(ADDRESS, server.monitor_port)], dependencies)
    app.call_later(app.notify, "Ctrl-Z, and fg to return", title="Commands to try", timeout=10)
    return show(app, seconds)


def _print_events(server: ServerProcess, seconds: float | None) -> None:
    say(f"SMTP on {ADDRESS} port {server.port}, monitors on port {server.monitor_port}; Ctrl-C ends it")
    watch = Watch(argparse.Namespace(json=False, event=None, ip=None, from_seq=1))
    with explained(), connect(Target(ADDRESS, server.monitor_port), user_keyring(str(server.state_dir))).link as link:
        timer = threading.Timer(seconds or threading.TIMEOUT_MAX, link.close)
        timer.daemon = True
        timer.start()
        try:
            for lines in watch.follow(link):
                print_at_once([line for _, line in lines])
        except ClosedError:
            pass  # the time is up
        except ConnectionLostError as error:
            raise exits.CommandError(f"the demo's server has ended: {server.last_error() or error}") from None
