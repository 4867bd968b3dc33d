"""A real terminal: tmux."""

import shlex
import subprocess
from pathlib import Path

from tests.clients import wait_until


class Tmux:
    """A terminal of 80 columns and 24 rows, in tmux."""

    def __init__(self, directory: Path) -> None:
        self._socket = str(directory / "tmux")

    def run(self, *words: str) -> str:
        """Run a tmux command."""
        done = subprocess.run(
            ["tmux", "-S", self._socket, "-f", "/dev/null", *words],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
        return done.stdout

    def start(self, words: list[str], env: dict[str, str], size: tuple[int, int] = (80, 24)) -> None:
        """Start a program, and show its exit status when it has ended."""
        pairs = [f"{name}={value}" for name, value in env.items()]
        line = f'{shlex.join(["env", "-i", *pairs, *words])}; echo "ended with $?"; sleep 60'
        columns, rows = map(str, size)
        self.run("new-session", "-d", "-x", columns, "-y", rows, line)

    def press(self, *keys: str) -> None:
        """Press keys."""
        self.run("send-keys", *keys)

    def text(self, *flags: str) -> str:
        """Return the text on the screen."""
        return self.run("capture-pane", "-p", *flags)

    def wait_for(self, words: str) -> str:
        """Wait until words are on the screen."""
        try:
            wait_until(lambda: words in self.text(), words)
        except AssertionError as error:
            raise AssertionError(f"{error}:\n{self.text()}") from None
        return self.text()
