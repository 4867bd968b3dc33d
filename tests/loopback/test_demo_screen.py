"""`demo` in a real terminal: after any end the terminal is restored, and no file or process is left."""

import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.clients import LIMIT_S, wait_until
from tests.loopback.test_demo import is_clean, processes_of
from tests.running import environment

ROWS, COLUMNS = 40, 100

# Standard input becomes the controlling terminal of a new session, as under a shell.
_IN_TERMINAL = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
{change}
sys.argv = ["smtppseudo", "demo", *sys.argv[1:]]
from smtppseudo.cli import main
sys.exit(main())
"""
_CRASHES = """
from smtppseudo.tui.app import MonitorApp
tick = MonitorApp.tick
MonitorApp.tick = lambda self: 1 // 0 if self.view.model.board.open_count else tick(self)
"""


class Terminal:
    """A demo in a terminal of its own."""

    def __init__(self, temporary: Path, home: Path, *arguments: str, change: str = "") -> None:
        self.temporary = temporary
        self.home = home
        self.screen = b""
        self._master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self._before = termios.tcgetattr(slave)
        self._slave: int | None = slave
        self.process = subprocess.Popen(
            [sys.executable, "-c", _IN_TERMINAL.format(change=change), *arguments],
            env=environment(TMPDIR=str(temporary), HOME=str(home), TERM="xterm-256color", COLORTERM="truecolor"),
            stdin=slave,
            stdout=slave,
            stderr=slave,
        )

    def wait_for(self, pattern: bytes) -> None:
        """Read until a pattern is on the screen; escape sequences are ignored."""
        wait_until(lambda: self._read() and re.search(pattern, self.text), f"{pattern!r} on the screen")

    @property
    def text(self) -> bytes:
        """The output without escape sequences."""
        return re.sub(rb"\x1b(?:\[[0-9;?<>=$]*[a-zA-Z]|.)", b"", self.screen)

    def type(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._master, keys)

    def wait_for_end(self) -> int:
        """Read until the process ends; return its exit status."""
        wait_until(lambda: self._read() and self.process.poll() is not None, "the end")
        self._read()
        return self.process.returncode

    def is_restored(self) -> bool:
        """Return whether modes, screen and mouse of the terminal are restored."""
        assert self._slave is not None
        leaves = all(
            self.screen.rfind(b"\x1b[?%dl" % mode) > self.screen.rfind(b"\x1b[?%dh" % mode) for mode in (1049, 1000)
        )
        return leaves and termios.tcgetattr(self._slave) == self._before

    def stop_output(self) -> None:
        """Stop the output, so that a write blocks."""
        assert self._slave is not None
        termios.tcflow(self._slave, termios.TCOOFF)

    def hang_up(self) -> None:
        """Close the terminal."""
        if self._slave is not None:
            os.close(self._slave)
            os.close(self._master)
        self._slave = None

    def _read(self) -> bool:
        while select.select([self._master], [], [], 0)[0]:
            self.screen += os.read(self._master, 65_536)
        return True


Start = Callable[..., Terminal]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts demos, and waits for their first caller."""
    temporary, home = tmp_path / "temporary", tmp_path / "home"
    temporary.mkdir()
    home.mkdir()
    started: list[Terminal] = []

    def begin(*arguments: str, change: str = "", until: bytes = rb"connected on port") -> Terminal:
        terminal = Terminal(temporary, home, *arguments, change=change)
        started.append(terminal)
        if until:
            terminal.wait_for(until)
        return terminal

    yield begin
    for terminal in started:
        terminal.process.kill()
        terminal.process.wait()
        terminal.hang_up()
    for pid in processes_of(temporary):
        os.kill(pid, signal.SIGKILL)


def test_q_leaves_nothing(start: Start) -> None:
    terminal = start()
    assert b"Online" in terminal.text
    assert not terminal.is_restored()
    terminal.type(b"t")  # the screen saves the theme
    wait_until(lambda: list(terminal.temporary.rglob("monitor.json")), "the memory of the screen")
    terminal.type(b"q")
    assert terminal.wait_for_end() == 0
    assert terminal.is_restored()
    assert is_clean(terminal.temporary)
    assert list(terminal.home.iterdir()) == []


def test_it_ends_after_the_given_time(start: Start) -> None:
    terminal = start("--seconds", "2")
    assert terminal.wait_for_end() == 0
    assert terminal.is_restored()
    assert is_clean(terminal.temporary)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it(start: Start, number: signal.Signals) -> None:
    terminal = start()
    terminal.process.send_signal(number)
    assert terminal.wait_for_end() == 128 + number
    assert terminal.is_restored()
    assert is_clean(terminal.temporary)


def test_a_closed_terminal_ends_it(start: Start) -> None:
    terminal = start()
    terminal.hang_up()
    terminal.process.wait(LIMIT_S)
    wait_until(lambda: is_clean(terminal.temporary), "nothing left")


def test_a_signal_ends_it_even_if_the_output_is_stopped(start: Start) -> None:
    terminal = start()
    terminal.stop_output()
    terminal.process.terminate()
    assert terminal.process.wait(LIMIT_S) == 128 + signal.SIGTERM
    wait_until(lambda: is_clean(terminal.temporary), "nothing left")


def test_a_crash_restores_the_terminal(start: Start) -> None:
    terminal = start(change=_CRASHES, until=b"")
    assert terminal.wait_for_end() == 1
    assert b"ZeroDivisionError" in terminal.text
    assert terminal.is_restored()
    assert is_clean(terminal.temporary)


def test_a_killed_demo_leaves_nothing(start: Start) -> None:
    terminal = start()
    terminal.process.kill()
    terminal.process.wait()
    wait_until(lambda: is_clean(terminal.temporary), "nothing left")


def test_without_textual_the_error_names_the_option(start: Start) -> None:
    terminal = start(change="sys.modules['textual'] = None", until=b"")
    assert terminal.wait_for_end() == 1
    (line,) = terminal.screen.splitlines()
    assert line.startswith(b"smtppseudo: the screen needs Textual")
    assert b"--no-screen" in line
    assert is_clean(terminal.temporary)
