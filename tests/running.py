"""Servers as processes of their own, each with its files in one directory."""

import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest

from smtppseudo.config.file import to_toml
from smtppseudo.events import Event
from smtppseudo.files import is_root
from tests import FORCED_SELECTOR, ON_WINDOWS, SELECTOR
from tests.clients import LIMIT_S, Client, connect, wait_until
from tests.records import Stamped, parse

CHECKOUT = Path(__file__).resolve().parent.parent
STOP_TIMEOUT_S = 10.0
BASE: dict[str, Any] = {"hostname": "sink.test", "log_min_free_bytes": 0}
"""Settings of every server, so that no test depends on the machine."""

_LISTENS = re.compile(r"^smtppseudo \S+: SMTP on (\S+) port (\d+)$", re.MULTILINE)

E = TypeVar("E", bound=Event)
T = TypeVar("T")


class NotStartedError(Exception):
    """The server ended instead of listening: its exit status and standard error."""

    def __init__(self, status: int, stderr: str) -> None:
        super().__init__(f"exit status {status}: {stderr}")
        self.status = status
        self.stderr = stderr


def not_on_windows(reason: str) -> pytest.MarkDecorator:
    """Mark a test of what Windows does not have, or Wine."""
    return pytest.mark.skipif(ON_WINDOWS, reason=reason)


def has_mode(path: Path, mode: int) -> bool:
    """Return whether a file has these permissions; on Windows, where they mean nothing, always True."""
    return ON_WINDOWS or stat.S_IMODE(path.stat().st_mode) == mode


def environment(**more: str) -> dict[str, str]:
    """Return the environment, without variables that change how Python or the server behaves."""
    directories = ("CONFIGURATION_DIRECTORY", "STATE_DIRECTORY", "LOGS_DIRECTORY")
    dropped = ("PYTHON", "XDG_", *directories, "COVERAGE", "LISTEN_", "NOTIFY_SOCKET", "WATCHDOG_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    # A time zone in which it is about noon, so that no test runs past midnight by accident.
    noon = f"NOON{time.gmtime().tm_hour - 12:+d}"
    path = f"{FORCED_SELECTOR}{os.pathsep}{CHECKOUT}" if SELECTOR else str(CHECKOUT)
    if "XDG_CONFIG_HOME" in more:
        more["APPDATA"] = more["XDG_CONFIG_HOME"]  # its name on Windows
    return {**kept, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "TZ": noon, **more}


def command(*arguments: str, prefix: Sequence[str] = ()) -> list[str]:
    """Return the command line of a smtppseudo command; `prefix` is a program that runs it."""
    return [*prefix, sys.executable, "-m", "smtppseudo", *arguments]


def start(words: list[str], **options: Any) -> subprocess.Popen[bytes]:
    """Start a command that `interrupt` ends."""
    if ON_WINDOWS:
        words = ["tests.until_stdin_ends" if word == "smtppseudo" else word for word in words]
    return subprocess.Popen(words, stdin=subprocess.PIPE if ON_WINDOWS else subprocess.DEVNULL, **options)


def interrupt(process: subprocess.Popen[bytes], number: int) -> None:
    """Send a signal; on Windows, where another process gets none, make the process send itself SIGINT."""
    if process.stdin is None:
        process.send_signal(number)
    else:
        process.stdin.close()


def keep_user_options() -> list[str]:
    """Return the arguments with which `serve` prints no warning to root."""
    return ["--run-as", "root"] if is_root() else []


def limited_to(limit: str, most: int) -> list[str]:
    """Return a prefix for `command` that sets a limit, soft and hard: RLIMIT_NOFILE, RLIMIT_FSIZE, ..."""
    pytest.importorskip("resource")
    set_limit = f"resource.setrlimit(resource.{limit}, ({most}, {most}))"
    code = f"import os, resource, sys; {set_limit}; os.execv(sys.argv[1], sys.argv[1:])"
    return [sys.executable, "-c", code]


def without_capabilities(*capabilities: str) -> list[str]:
    """Return a prefix for `command` that drops capabilities of root; an empty one for other users, who have none."""
    if not is_root():
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv is not installed")
    dropped = ",".join(f"-{capability}" for capability in capabilities)
    return ["setpriv", f"--bounding-set={dropped}", f"--inh-caps={dropped}"]


def run(*arguments: str, prefix: Sequence[str] = (), **env: str) -> subprocess.CompletedProcess[str]:
    """Run a command, and wait for its end."""
    return subprocess.run(
        command(*arguments, prefix=prefix),
        env=environment(**env),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


def write_settings(path: Path, settings: Mapping[str, Any]) -> Path:
    """Write a settings file."""
    lines = [
        f"{name} = {to_toml(tuple(value) if isinstance(value, list) else value)}\n" for name, value in settings.items()
    ]
    path.write_text("".join(lines))
    return path


def read_records(log_dir: Path) -> list[Stamped]:
    """Parse all whole lines of all logs in a directory, in order."""
    return [parse(line) for text in _texts(log_dir) for line in text.split("\n")[:-1]]


def _texts(log_dir: Path) -> list[str]:
    # A device in place of a log must not be read: /dev/full has no end.
    return [path.read_text("ascii") for path in sorted(log_dir.glob("*.log")) if path.is_file()]


class Running:
    """A server that listens. A test ends it by `stop` or `kill`; otherwise `Servers` ends it."""

    def __init__(self, process: subprocess.Popen[bytes], directory: Path, log_dir: Path, config: Path) -> None:
        self.process = process
        self.pid = process.pid
        self.directory = directory
        self.log_dir = log_dir
        self.config = config
        self.listens_on: list[tuple[str, int]] = []
        self.checked = False

    @property
    def port(self) -> int:
        """The SMTP port, the same on each address."""
        return self.listens_on[0][1]

    @property
    def stdout(self) -> str:
        """Its standard output so far."""
        return (self.directory / "stdout").read_text()

    @property
    def stderr(self) -> str:
        """Its standard error so far."""
        path = self.directory / "stderr"
        return path.read_text() if path.exists() else ""

    @property
    def log_text(self) -> str:
        """The text of its log files so far."""
        return "".join(_texts(self.log_dir))

    def records(self) -> list[Stamped]:
        """Return the records of its log so far."""
        return read_records(self.log_dir)

    def wait_for(self, find: Callable[[list[Stamped]], T], what: str) -> T:
        """Wait until `find` finds something in its log; return that."""
        return wait_until(lambda: find(self.records()), what)

    def wait_for_event(self, kind: type[Event], count: int = 1, **fields: object) -> Stamped:
        """Wait until `count` events of a kind with these fields are logged; return the last of them."""
        what = f"{count} of {kind.__name__} {fields}"
        return self.wait_for(lambda records: matching(records, kind, **fields)[count - 1 :], what)[-1]

    def events(self, kind: type[E]) -> list[E]:
        """Return the events of a kind that it has logged so far, without their stamps."""
        return events(self.records(), kind)

    def connect(self, source: str | None = None, address: str = "127.0.0.1") -> Client:
        """Connect a client, without reading the 220."""
        return connect(address, self.port, source)

    def play(self, *lines: str) -> None:
        """Play a whole session."""
        with self.connect() as client:
            client.expect("220")
            for line in lines:
                client.say(line, "")
            client.say("QUIT", "221")
            client.expect_end()

    def reload(self, settings: dict[str, Any] | str) -> None:
        """Write its settings file, a text or changes to the settings of every server, and have it read."""
        if isinstance(settings, str):
            self.config.write_text(settings)
        else:
            write_settings(self.config, BASE | settings)
        if ON_WINDOWS:
            run("reload", "--state-dir", str(self.directory / "state"))
        else:
            self.process.send_signal(signal.SIGHUP)

    def stop(self, number: int = signal.SIGTERM, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Send a signal, wait for the end, and check it."""
        interrupt(self.process, number)
        self.wait_for_end(timeout_s)
        self.check()

    def wait_for_end(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Wait until it has ended."""
        self.process.wait(timeout_s)

    def kill(self) -> None:
        """Kill it; its end is not checked."""
        self.checked = True
        with self.process:
            self.process.kill()

    def check(self) -> None:
        """Check that it ended with status 0, without a traceback or a bug in its log."""
        self.checked = True
        assert "Traceback" not in self.stderr, self.stderr
        assert self.process.returncode == 0, f"exit status {self.process.returncode}: {self.stderr}"
        assert not [line for line in self.log_text.splitlines() if "bug:" in line]


def matching(records: list[Stamped], kind: type[Event], **fields: object) -> list[Stamped]:
    """Return the records of events of a kind that have all these fields."""
    return [
        stamped
        for stamped in records
        if isinstance(stamped.event, kind)
        and all(
            value in (getattr(stamped, name, None), getattr(stamped.event, name, None))
            for name, value in fields.items()
        )
    ]


def events(records: list[Stamped], kind: type[E]) -> list[E]:
    """Return the events of a kind, without their stamps."""
    return [stamped.event for stamped in records if isinstance(stamped.event, kind)]


class Servers:
    """Starts servers below a directory; stops and checks them all at the end."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._all: list[Running] = []

    def start(
        self,
        settings: dict[str, Any] | None = None,
        *arguments: str,
        prefix: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        log_dir: Path | None = None,
        port: int = 0,
        listen: Sequence[str] = ("127.0.0.1",),
        monitor_listen: Sequence[str] = ("127.0.0.1",),
        stderr: Path | None = None,
        pass_fds: Sequence[int] = (),
    ) -> Running:
        """Start a server and wait until it listens. `prefix` is a command that runs it."""
        directory = self.directory / f"server{len(self._all)}"
        directory.mkdir(parents=True)
        log_dir = log_dir or directory / "log"
        config = write_settings(directory / "smtppseudo.toml", BASE | (settings or {}))
        places = ["--config", str(config), "--state-dir", str(directory / "state"), "--log-dir", str(log_dir)]
        addresses = [word for address in listen for word in ("--listen", address)]
        monitor = ["--monitor-port", "0"]
        monitor += [word for address in monitor_listen for word in ("--monitor-listen", address)]
        options = [*addresses, *monitor, *places, *keep_user_options(), *arguments]
        words = command("serve", "--port", str(port), *options, prefix=prefix)
        child_env = environment(**(env or {}))
        with (directory / "stdout").open("wb") as out, (stderr or directory / "stderr").open("wb") as err:
            process = start(words, env=child_env, stdout=out, stderr=err, pass_fds=pass_fds)
        server = Running(process, directory, log_dir, config)
        self._all.append(server)
        wait_until(lambda: self._listens(server, len(listen)), "listening")
        return server

    def stop_all(self) -> None:
        """Stop all servers that still run; check the end of each."""
        for server in self._all:
            interrupt(server.process, signal.SIGTERM)
        for server in self._all:
            try:
                server.wait_for_end()
            except subprocess.TimeoutExpired:
                server.process.kill()
                server.wait_for_end()
        for server in self._all:
            if not server.checked:
                server.check()

    def _listens(self, server: Running, count: int) -> bool:
        status = server.process.poll()
        if status is not None:
            server.checked = True
            raise NotStartedError(status, server.stderr)
        server.listens_on = [(address, int(port)) for address, port in _LISTENS.findall(server.stdout)]
        return len(server.listens_on) == count
