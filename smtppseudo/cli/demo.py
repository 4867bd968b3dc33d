"""`demo`: a server on free ports, made-up callers, and the monitor screen; at the end all files are removed."""

import argparse
import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from random import Random
from types import FrameType
from typing import Final, NoReturn

from smtppseudo.cli import exits
from smtppseudo.cli.access import logged_in
from smtppseudo.cli.messages import say
from smtppseudo.cli.options import describe, seconds, whole_number
from smtppseudo.cli.screen import ENDING_SIGNALS, handled_by, no_screen, require_screen
from smtppseudo.cli.watch import Watch
from smtppseudo.config.settings import check
from smtppseudo.demo.arrivals import arrivals
from smtppseudo.demo.directory import DemoDirectory
from smtppseudo.demo.process import NotStartedError, ServerProcess
from smtppseudo.demo.traffic import ADDRESS, Traffic
from smtppseudo.link.errors import ClosedError, ConnectionLostError

_SEED: Final = 25
_NO_SCREEN: Final = "`smtppseudo demo --no-screen` prints the events instead"


def add_arguments(command: argparse.ArgumentParser) -> None:
    describe(
        command,
        "smtppseudo demo\n  or, without a terminal: smtppseudo demo --no-screen --seconds 20",
        "The server answers on this machine alone and keeps its files in a temporary directory, which is removed at"
        " the end.",
    )
    command.add_argument(
        "--seconds", type=seconds, metavar="TIME", help="end after this time: 20, 90s or 5m (until you quit)"
    )
    command.add_argument("--no-screen", action="store_true", help="print the events instead, as `watch` does")
    command.add_argument(
        "--slots", type=whole_number, default=25, metavar="N", help="the number of simultaneous connections (25)"
    )


def run(options: argparse.Namespace) -> int:
    """Run until the user quits, the time is up, or a signal arrives."""
    slots: int = check("slots", options.slots)
    if not options.no_screen:
        _require_screen()
    callers = arrivals(Random(_SEED), slots)  # noqa: S311 - not used for secrets
    with handled_by(_end), _server(slots) as (directory, server), Traffic(server.port, callers):
        if options.no_screen:
            _print_events(server, options.seconds)
            return exits.GOOD
        from smtppseudo.cli.demo_screen import show

        return show(server, directory.path, options.seconds)


def _require_screen() -> None:
    """Require a terminal, and import the screen, which takes long, before the callers start. Raises CommandError."""
    require_screen(_NO_SCREEN)
    try:
        import smtppseudo.cli.demo_screen  # noqa: F401
    except ImportError as error:
        raise no_screen(error, _NO_SCREEN) from None


@contextlib.contextmanager
def _server(slots: int) -> Iterator[tuple[DemoDirectory, ServerProcess]]:
    """Run the server in a new temporary directory. Raises CommandError."""
    try:
        directory = DemoDirectory()
    except OSError as error:
        raise exits.CommandError(f"cannot create the demo's directory: {error}; set TMPDIR to another place") from None
    with directory:
        try:
            server = ServerProcess(directory, slots)
        except NotStartedError as error:
            raise exits.CommandError(f"the demo's server did not start: {error}", error.status) from None
        with server:
            yield directory, server


def _end(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001
    """End the block like an exception, so that everything is removed; ignore all later signals."""
    for each in ENDING_SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    sys.exit(128 + number)  # as shells report it


@contextlib.contextmanager
def _called_after(seconds: float | None, callback: Callable[[], object]) -> Iterator[None]:
    if seconds is None:
        yield
        return
    timer = threading.Timer(seconds, callback)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def _print_events(server: ServerProcess, seconds: float | None) -> None:
    say(f"SMTP on {ADDRESS} port {server.port}, monitors on port {server.monitor_port}; Ctrl-C ends it")
    watch = Watch(argparse.Namespace(json=False, event=None, ip=None, from_seq=1))
    access = argparse.Namespace(
        host=ADDRESS,
        monitor_port=server.monitor_port,
        state_dir=str(server.state_dir),
        magic_file=None,
        tls="auto",
        pin=None,
    )
    with logged_in(access) as link:
        try:
            with _called_after(seconds, link.close):
                watch.print_events(link)
        except ClosedError:
            pass  # the time is up
        except ConnectionLostError as error:
            raise exits.CommandError(f"the demo's server has ended: {server.last_error() or error}") from None
