"""A stage for the commands of README and the guide: a network and directories of its own, so that they run as printed.

The network is a namespace in which every port is free; its addresses are those of loopback and 192.0.2.25. Paths such
as /etc/smtppseudo and /srv/logs mean directories below the stage's own; `sudo` runs what follows it.
"""

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from smtppseudo.config.file import parse_file
from tests.clients import LIMIT_S, wait_until
from tests.documents import block
from tests.loopback.commands import Terminal
from tests.monitors import monitor_port, state_dir
from tests.running import CHECKOUT, Running, Servers, environment

ADDRESS: Final = "192.0.2.25"
PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_SYSTEM_PATH: Final = re.compile(r"(?<![\w.~/])/(etc|opt|srv|usr/local|var)(?=/)")
_RUN_REST: Final = '#!/bin/sh\nexec "$@"\n'
_PROGRAM: Final = f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m smtppseudo "$@"\n'
_PYTHON: Final = f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n'


@contextlib.contextmanager
def network() -> Iterator[list[str]]:
    """Make a network namespace; yield the words that run a program in it. Skip where that is not allowed."""
    root = os.geteuid() == 0
    if not all(map(shutil.which, ("unshare", "nsenter", "ip"))):
        pytest.skip("unshare, nsenter or ip is not installed")
    words = ["unshare", *([] if root else ["-r"]), "-n", "sh", "-c"]
    words.append(f"ip link set lo up && ip address add {ADDRESS}/32 dev lo && echo ready && exec sleep 600")
    holder = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert holder.stdout is not None
        if holder.stdout.readline() != "ready\n":
            pytest.skip("this user may not make a network namespace")
        yield ["nsenter", "-t", str(holder.pid), *([] if root else ["-U", "--preserve-credentials"]), "-n"]
    finally:
        holder.kill()
        holder.wait()
        if holder.stdout is not None:
            holder.stdout.close()


class ShellTerminal(Terminal):
    """A shell on a terminal of its own."""

    def __init__(self, words: Sequence[str], env: dict[str, str]) -> None:
        self._start(words, env)

    def wait_for(self, text: str) -> None:
        """Read until a text is shown."""
        while text.encode() not in self.shown:
            self._read()

    def press(self, key: str) -> None:
        """Press a key."""
        os.write(self._ours, key.encode())


class Stage:
    """Directories, an environment, and a network; `run` runs commands there."""

    def __init__(self, directory: Path, prefix: list[str], servers: Servers) -> None:
        self.root = directory
        self.cwd = directory / "cwd"
        self.log_dir = directory / "var/log/smtppseudo"
        self.state_dir = directory / "var/lib/smtppseudo"
        self.config_dir = directory / "etc/smtppseudo"
        self._prefix = prefix
        self._servers = servers
        home, programs = directory / "home", directory / "bin"
        for each in (self.cwd, self.log_dir, self.state_dir, self.config_dir, home, programs):
            each.mkdir(parents=True)
        self.env = environment(
            CONFIGURATION_DIRECTORY=str(self.config_dir),
            STATE_DIRECTORY=str(self.state_dir),
            LOGS_DIRECTORY=str(self.log_dir),
            HOME=str(home),
            PATH=f"{programs}:{PATH}",
            PYTHONUNBUFFERED="1",  # what goes to both outputs stays in order
            TERM="xterm",
        )
        for name, text in (("sudo", _RUN_REST), ("smtppseudo", _PROGRAM), ("python3", _PYTHON)):
            self.add_program(name, text)

    def add_program(self, name: str, text: str) -> None:
        """Put a program in front of the system's own."""
        path = self.root / "bin" / name
        path.write_text(text)
        path.chmod(0o755)

    def inside(self, text: str) -> str:
        """Return commands with the system's directories replaced by the stage's."""
        return _SYSTEM_PATH.sub(rf"{self.root}/\1", text)

    def words(self, text: str) -> list[str]:
        """Return the argv that runs commands on the stage, up to the first that fails."""
        return [*self._prefix, "bash", "-euo", "pipefail", "-c", self.inside(text)]

    def run(self, text: str, *statuses: int) -> str:
        """Run commands; return what they print. One of the exit statuses is expected; 0 if none is given."""
        done = subprocess.run(
            self.words(text),
            cwd=self.cwd,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        assert done.returncode in (statuses or (0,)), f"{text}{done.returncode}: {done.stdout}"
        return done.stdout

    def terminal(self, text: str) -> ShellTerminal:
        """Run commands on a terminal."""
        return ShellTerminal(self.words(f"cd {shlex.quote(str(self.cwd))}\n{text}"), self.env)

    @contextlib.contextmanager
    def background(self, text: str, *, ends_with: int = 0, by: int = signal.SIGINT) -> Iterator[Path]:
        """Run commands that end by Ctrl-C, or another signal, only; yield the file with their output so far."""
        output = self.root / f"output{len(list(self.root.glob('output*')))}"
        with output.open("wb") as file:
            process = subprocess.Popen(
                self.words(f"exec {text}"),
                cwd=self.cwd,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        try:
            yield output
            os.killpg(process.pid, by)
            assert process.wait(LIMIT_S) == ends_with, output.read_text()
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def serve(self, port: int = 25, **settings: Any) -> Running:
        """Start a server on ports 25, or another, and 26, with the stage's directories."""
        monitors = settings.pop("monitor_listen", ["127.0.0.1"])
        server = self._servers.start(
            settings,
            "--monitor-port",
            "26",
            prefix=self._prefix,
            log_dir=self.log_dir,
            port=port,
            monitor_listen=monitors,
        )
        assert monitor_port(server) == 26
        self.state_dir.rmdir()
        self.state_dir.symlink_to(state_dir(server))
        return server

    def settings_of(self, page: str, first_line: str) -> dict[str, Any]:
        """Return the settings that a block of a page shows, with the stage's directories."""
        return parse_file(self.inside(block(page, first_line).text), page, pytest.fail)

    def be_elsewhere(self) -> None:
        """Have later commands find no cookie and no port of the server."""
        self.env["STATE_DIRECTORY"] = str(self.root / "none")

    def call(self) -> None:
        """Have a session played that is refused."""
        printed = self.run("smtppseudo probe")
        assert printed.endswith("\nverdict: refused permanently\n"), printed

    @contextlib.contextmanager
    def callers(self, count: int) -> Iterator[None]:
        """Keep so many sessions open."""
        opened = "".join("exec {fd}<>/dev/tcp/127.0.0.1/25; read -r line <&$fd\n" for _ in range(count))
        words = self.words(f"{opened}echo open\nexec sleep 60")
        with subprocess.Popen(words, env=self.env, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline() == "open\n"
                yield
            finally:
                process.kill()

    @staticmethod
    def wait_for_text(file: Path, text: str) -> None:
        """Wait until a file holds a text."""
        wait_until(lambda: text in file.read_text(errors="replace"), text)


@contextlib.contextmanager
def open_stage(prefix: list[str], servers: Servers) -> Iterator[Stage]:
    """Make a stage that every user can look into, as the unprivileged programs on it do."""
    with tempfile.TemporaryDirectory(prefix="stage-") as name:
        Path(name).chmod(0o755)
        stage = Stage(Path(name), prefix, servers)
        (stage.cwd / ".ci").symlink_to(CHECKOUT / ".ci")
        try:
            yield stage
        finally:
            servers.stop_all()  # before their logs are removed: they would make the directory again
