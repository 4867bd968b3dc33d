"""Commands of a script or a user, each in its own process."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.clients import LIMIT_S
from tests.monitors import monitor_port, state_dir
from tests.running import Running, command, environment, run


def ask(server: Running, *arguments: str, status: int = 0) -> str:
    """Run a command against a server; return its output, or its one line of error."""
    done = run(*arguments, "--state-dir", str(state_dir(server)))
    return outcome(done, status)


def outcome(done: subprocess.CompletedProcess[str], status: int) -> str:
    assert done.returncode == status, done
    if done.stderr:
        assert done.stdout == "", done
        (line,) = done.stderr.splitlines()
        assert line.startswith("smtppseudo: ")
        return line.removeprefix("smtppseudo: ")
    return done.stdout


class Terminal:
    """A command on its own terminal, at which the test types."""

    def __init__(self, *arguments: str, **env: str) -> None:
        self._start(command(*arguments), environment(**env))

    def _start(self, words: Sequence[str], env: Mapping[str, str]) -> None:
        self._ours, theirs = pytest.importorskip("pty").openpty()
        self.shown = b""
        self.process = subprocess.Popen(
            words,
            env=env,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)

    def type_at(self, prompt: str, text: str) -> None:
        """Wait for the prompt, then type a line."""
        while not self.shown.endswith(prompt.encode()):
            self._read()
        os.write(self._ours, text.encode() + b"\n")

    def end(self) -> tuple[int, str]:
        """Wait for its end; return the exit status and the whole output."""
        try:
            while True:
                self._read()
        except OSError:
            pass  # EIO: nobody has the terminal open any more
        return self.process.wait(LIMIT_S), self.shown.decode()

    def _read(self) -> None:
        data = os.read(self._ours, 4_096)
        if not data:
            raise OSError
        self.shown += data


def elsewhere(tmp_path: Path, server: Running, *arguments: str) -> list[str]:
    """Return a command of a user who cannot read the cookie."""
    return [*arguments, "--state-dir", str(tmp_path / "none"), "--monitor-port", str(monitor_port(server))]


def write_word(tmp_path: Path, word: str) -> str:
    path = tmp_path / "word"
    path.touch(0o600)
    path.write_text(word + "\n")
    return str(path)
