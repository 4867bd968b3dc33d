"""The screen in a terminal, for `monitor` and `demo`: what it needs, and its end by a signal."""

import contextlib
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from smtppseudo.cli import exits
from smtppseudo.cli.messages import is_terminal

if TYPE_CHECKING:
    from textual.app import App

LEAVE_TIMEOUT_S: Final = 3.0
TEXTUAL_MIN: Final = (8, 2)
_INSTALL: Final = "run `pip install 'textual>={}.{},<{}'`".format(*TEXTUAL_MIN, TEXTUAL_MIN[0] + 1)


def require_screen(alternative: str) -> None:
    """Require a terminal that can show the screen, and import it, with a new Textual. Raises CommandError."""
    if not (is_terminal(sys.stdin) and is_terminal(sys.stdout)):
        raise exits.CommandError(f"the screen needs a terminal; {alternative}", exits.USAGE)
    if os.environ.get("TERM") in ("dumb", "unknown"):
        needed = f"a terminal that can move its cursor, and TERM is {os.environ['TERM']}"
        raise exits.CommandError(f"the screen needs {needed}; {alternative}", exits.USAGE)
    from importlib import metadata
    from importlib.util import find_spec

    if find_spec("smtppseudo.tui") is None:
        raise exits.CommandError(
            "this file does not contain the screen; run `pipx install .` in a clone of the repository,"
            f" or: {alternative}"
        )
    with contextlib.suppress(metadata.PackageNotFoundError):
        version = metadata.version("textual")
        if tuple(map(int, re.findall(r"\d+", version)[:2])) < TEXTUAL_MIN:
            raise exits.CommandError(f"the screen needs a newer Textual than {version}; {_INSTALL}, or: {alternative}")
    try:
        import smtppseudo.tui.app  # noqa: F401
    except ImportError as error:
        raise exits.CommandError(f"the screen needs Textual ({error}); {_INSTALL}, or: {alternative}") from None


def show(app: "App[None]", seconds: float | None = None) -> int:
    """Show a screen until the user quits, the time is up, or a signal arrives; return the exit status."""
    import asyncio

    sys.setswitchinterval(0.001)  # other threads read events while this one draws: switch more often than every 5 ms
    return asyncio.run(_run(app, seconds))


async def _run(app: "App[None]", seconds: float | None) -> int:
    import asyncio

    loop = asyncio.get_running_loop()
    ended_by: list[int] = []
    modes = None
    if os.name == "posix":
        import termios

        modes = termios.tcgetattr(sys.stdin.fileno())

    def leave(number: int) -> None:
        ended_by.append(number)
        # The screen hangs while the terminal takes no output. In the demo this exit leaves nothing behind either: the
        # server ends and removes the files when its standard input ends.
        last_resort = threading.Timer(LEAVE_TIMEOUT_S, _give_up, (128 + number, modes))
        last_resort.daemon = True
        last_resort.start()
        loop.call_soon_threadsafe(app.exit)

    if seconds is not None:
        loop.call_later(seconds, app.exit)
    # Not loop.add_signal_handler: a loop that waits for the terminal would not run it.
    with handled_by(leave):
        await app.run_async()
    if ended_by:
        return 128 + ended_by[0]  # as shells report it
    return exits.FAILED if app.return_code is None else app.return_code  # None: it did not end by `exit`


def _give_up(status: int, modes: list[Any] | None) -> None:
    """End the process, and restore the modes of the terminal, without waiting for output."""
    if modes is not None:
        import termios

        with contextlib.suppress(termios.error):  # the terminal is gone
            termios.tcsetattr(sys.stdin.fileno(), termios.TCSANOW, modes)
    os._exit(status)


@contextlib.contextmanager
def handled_by(end: Callable[[int], object]) -> Iterator[None]:
    """Call `end` at the first signal that ends a program; ignore later ones, and those ignored already, as by nohup."""

    def handler(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        for each in before:
            signal.signal(each, signal.SIG_IGN)
        end(number)

    names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT")  # Windows lacks some
    before = {number: signal.getsignal(number) for name in names if (number := getattr(signal, name, None))}
    for number, previous in before.items():
        if previous is not signal.SIG_IGN:
            signal.signal(number, handler)
    try:
        yield
    finally:
        for number, previous in before.items():
            if signal.getsignal(number) is handler:
                signal.signal(number, previous)
