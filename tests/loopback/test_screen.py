"""`demo` and `monitor` in a real terminal: after any end it is restored, and no file or process is left."""

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
sys.argv[0] = "smtppseudo"
from smtppseudo.cli import main
sys.exit(main())
"""
_NO_HANG_UP = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)"
_CRASHES = """
from smtppseudo.tui.app import MonitorApp
tick = MonitorApp.tick
def failing(self):
    view = self.servers[0]
    return 1 // 0 if view.link.error or view.model.board.open_count else tick(self)
MonitorApp.tick = failing
"""


class Terminal:
    """A command in a terminal of its own; `change` is code that runs before it."""

    def __init__(self, temporary: Path, home: Path, *arguments: str, change: str = "", **env: str) -> None:
        self.temporary = temporary
        self.home = home
        self.screen = b""
        self._master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self._before = termios.tcgetattr(slave)
        self._slave: int | None = slave
        self.process = subprocess.Popen(
            [sys.executable, "-c", _IN_TERMINAL.format(change=change), *arguments],
            env=environment(**{"TMPDIR": str(temporary), "HOME": str(home), "TERM": "xterm-256color", **env}),
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
        leaves = all(
            self.screen.rfind(b"\x1b[?%dl" % mode) > self.screen.rfind(b"\x1b[?%dh" % mode) for mode in (1049, 1000)
        )
        return leaves and self.has_modes_restored()

    def has_modes_restored(self) -> bool:
        """Return whether the modes of the terminal are restored."""
        assert self._slave is not None
        return termios.tcgetattr(self._slave) == self._before

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
DEMO = ("demo",)
MONITOR = ("monitor", "--monitor-port", "1")
UNTIL = {DEMO: rb"connected on port", MONITOR: rb"Cannot reach 127\.0\.0\.1 port 1"}
both = pytest.mark.parametrize("command", [DEMO, MONITOR], ids=["demo", "monitor"])


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts commands, and waits until their screen is complete: a demo's has its first caller."""
    temporary, home = tmp_path / "temporary", tmp_path / "home"
    temporary.mkdir()
    home.mkdir()
    started: list[Terminal] = []

    def begin(command: tuple[str, ...], *arguments: str, waits: bool = True, **options: str) -> Terminal:
        terminal = Terminal(temporary, home, *command, *arguments, **options)
        started.append(terminal)
        if waits:
            terminal.wait_for(UNTIL[command])
        return terminal

    yield begin
    for terminal in started:
        terminal.process.kill()
        terminal.process.wait()
        terminal.hang_up()
    for pid in processes_of(temporary):
        os.kill(pid, signal.SIGKILL)


def test_q_leaves_nothing(start: Start) -> None:
    terminal = start(DEMO)
    assert b"Online" in terminal.text
    assert not terminal.is_restored()
    terminal.type(b"t")  # the screen saves the theme
    wait_until(lambda: list(terminal.temporary.rglob("monitor.json")), "the memory of the screen")
    terminal.type(b"q")
    assert terminal.wait_for_end() == 0
    assert terminal.is_restored()
    assert is_clean(terminal.temporary)
    assert list(terminal.home.iterdir()) == []


@both
@pytest.mark.parametrize("change", ["os.dup2(os.open(os.devnull, os.O_WRONLY), 2)", "os.close(2)"])
def test_it_is_shown_where_standard_error_is_redirected(start: Start, command: tuple[str, ...], change: str) -> None:
    terminal = start(command, change=change)
    terminal.type(b"q")
    assert terminal.wait_for_end() == 0
    assert terminal.is_restored()


def test_an_encoding_without_its_characters_is_no_error(start: Start) -> None:
    terminal = start(DEMO, PYTHONIOENCODING="ascii")
    terminal.type(b"q")
    assert terminal.wait_for_end() == 0


def test_it_ends_after_the_given_time(start: Start) -> None:
    terminal = start(DEMO, "--seconds", "2")
    assert terminal.wait_for_end() == 0
    assert terminal.is_restored()
    assert is_clean(terminal.temporary)


@both
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_ends_it(start: Start, command: tuple[str, ...], number: signal.Signals) -> None:
    terminal = start(command)
    terminal.process.send_signal(number)
    assert terminal.wait_for_end() == 128 + number
    assert terminal.is_restored()
    assert is_clean(terminal.temporary)


@both
def test_an_ignored_signal_stays_ignored(start: Start, command: tuple[str, ...]) -> None:
    terminal = start(command, change=_NO_HANG_UP)
    terminal.process.send_signal(signal.SIGHUP)
    terminal.type(b"?")
    terminal.wait_for(rb"Help: What the keys do")
    terminal.type(b"qq")  # the first closes the help
    assert terminal.wait_for_end() == 0


@both
@pytest.mark.parametrize(("change", "status"), [("", 128 + signal.SIGHUP), (_NO_HANG_UP, 1)])
def test_a_closed_terminal_ends_it(start: Start, command: tuple[str, ...], change: str, status: int) -> None:
    terminal = start(command, change=change)
    terminal.hang_up()
    assert terminal.process.wait(LIMIT_S) == status
    wait_until(lambda: is_clean(terminal.temporary), "nothing left")


@both
def test_a_signal_ends_it_even_if_the_output_is_stopped(start: Start, command: tuple[str, ...]) -> None:
    terminal = start(command)
    terminal.stop_output()
    terminal.process.terminate()
    assert terminal.process.wait(LIMIT_S) == 128 + signal.SIGTERM
    assert terminal.has_modes_restored()
    wait_until(lambda: is_clean(terminal.temporary), "nothing left")


@both
def test_a_crash_restores_the_terminal(start: Start, command: tuple[str, ...]) -> None:
    terminal = start(command, change=_CRASHES, waits=False)
    assert terminal.wait_for_end() == 1
    assert b"ZeroDivisionError" in terminal.text
    assert terminal.is_restored()
    assert is_clean(terminal.temporary)


@both
@pytest.mark.parametrize(
    "keys",
    [
        pytest.param(b"\xff", id="never in UTF-8"),
        pytest.param(b"\xc3(\xe2\x82\x80" * 3_000, id="half characters"),
        pytest.param(b"\xed\xa0\x80\xf8\x88", id="surrogate"),
        pytest.param(b"\x1b[97:65;1u", id="two codes of a key"),
        pytest.param(b"\x1b[99999999;1u", id="no character"),
        pytest.param(b"\x1b[48;24;80;0;0t\x1b[<0;3;3M", id="window of no pixels"),
    ],
)
def test_odd_input_is_ignored(start: Start, command: tuple[str, ...], keys: bytes) -> None:
    terminal = start(command)
    terminal.type(keys + b"?")
    terminal.wait_for(rb"Help: What the keys do")
    terminal.type(keys + b"qq")  # the first closes the help
    assert terminal.wait_for_end() == 0
    assert b"Traceback" not in terminal.text
    assert terminal.is_restored()


def test_a_killed_demo_leaves_nothing(start: Start) -> None:
    terminal = start(DEMO)
    terminal.process.kill()
    terminal.process.wait()
    wait_until(lambda: is_clean(terminal.temporary), "nothing left")


ALTERNATIVES = {DEMO: b"`smtppseudo demo --no-screen`", MONITOR: b"`smtppseudo watch`"}


def refusal(terminal: Terminal, command: tuple[str, ...], status: int) -> bytes:
    """Return the one line that a command prints instead of its screen."""
    assert terminal.wait_for_end() == status
    (line,) = terminal.screen.splitlines()
    assert ALTERNATIVES[command] in line
    assert is_clean(terminal.temporary)
    return line


@both
def test_without_textual_the_error_names_the_alternative(start: Start, command: tuple[str, ...]) -> None:
    terminal = start(command, change="sys.modules['textual'] = None", waits=False)
    assert refusal(terminal, command, 1).startswith(b"smtppseudo: the screen needs Textual")


@both
def test_an_old_textual_is_one_line(start: Start, command: tuple[str, ...], tmp_path: Path) -> None:
    """Debian 13 has 2.1.2."""
    (tmp_path / "textual").mkdir()
    (tmp_path / "textual/__init__.py").touch()
    information = tmp_path / "textual-2.1.2.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: textual\nVersion: 2.1.2\n")
    terminal = start(command, change=f"sys.path.insert(0, {str(tmp_path)!r})", waits=False)
    line = refusal(terminal, command, 1)
    assert line.startswith(
        b"smtppseudo: the screen needs a newer Textual than 2.1.2; run `pip install 'textual>=8.2,<9'`"
    )


@both
@pytest.mark.parametrize("term", ["dumb", "unknown"])
def test_a_terminal_without_cursor_is_refused(start: Start, command: tuple[str, ...], term: str) -> None:
    line = refusal(start(command, waits=False, TERM=term), command, 2)
    assert f"TERM is {term}".encode() in line
