"""Completions in real shells, where pipx installs them: commands, options and choices."""

import os
import pty
import re
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from smtppseudo.cli.guide import TOPICS
from smtppseudo.config.settings import KEYS, STAGES
from tests.clients import LIMIT_S
from tests.running import CHECKOUT, environment

BASH_COMPLETION: Final = Path("/usr/share/bash-completion/bash_completion")
PROMPT: Final = "ready> "
INTERACTIVE: Final = {
    "bash": (["bash", "--noprofile", "--norc", "-i"], f". {BASH_COMPLETION}; PS1='{PROMPT}'"),
    "zsh": (
        ["zsh", "-f", "-i"],
        f"fpath+=~/.local/share/zsh/site-functions; autoload -U compinit && compinit -u -D; PS1='{PROMPT}'",
    ),
}
LINES: Final = [
    ("smtppseudo st", {"start", "status", "stop"}),
    ("smtppseudo watch --", {"--event", "--from-seq", "--ip", "--json", "--monitor-port"}),
    ("smtppseudo serve --reject-at ", set(STAGES)),
    ("smtppseudo guide ", set(TOPICS)),
    ("smtppseudo unset ", {name for name, key in KEYS.items() if key.by_monitor}),
]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a home directory with the completions below .local/share, and a smtppseudo in bin."""
    shutil.copytree(CHECKOUT / "smtppseudo" / "share", tmp_path / ".local" / "share")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "smtppseudo").symlink_to("/bin/true")
    return tmp_path


def of(home: Path) -> dict[str, str]:
    path = f"{home / 'bin'}:{os.environ['PATH']}"
    return environment(HOME=str(home), PATH=path, TERM="dumb", LC_ALL="C.UTF-8")


class Terminal:
    """The test's side of a shell's terminal."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def type(self, text: str) -> None:
        os.write(self._fd, text.encode())

    def read_until(self, *patterns: str) -> None:
        """Read until every pattern was shown."""
        shown = ""
        end = time.monotonic() + LIMIT_S
        while not all(re.search(pattern, shown) for pattern in patterns):
            assert time.monotonic() < end, f"waited for {patterns}, seen {shown!r}"
            if select.select([self._fd], [], [], 0.2)[0]:
                shown += os.read(self._fd, 65_536).decode(errors="replace")


@contextmanager
def shell(name: str, home: Path) -> Iterator[Terminal]:
    words, start = INTERACTIVE[name]
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        words, env=of(home), cwd=home, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    ) as process:
        os.close(theirs)
        try:
            terminal = Terminal(ours)
            terminal.type(f"stty cols 200; {start}\n")
            terminal.read_until(rf"[\r\n]+[^\n]*{PROMPT}")
            yield terminal
        finally:
            process.kill()
            os.close(ours)


@pytest.mark.parametrize("name", INTERACTIVE)
def test_tab_completes_in_bash_and_zsh(home: Path, name: str) -> None:
    if shutil.which(name) is None or (name == "bash" and not BASH_COMPLETION.exists()):
        pytest.skip(f"{name} or bash-completion is not installed")
    with shell(name, home) as terminal:
        for line, expected in LINES:
            terminal.type(f"\x15{line}\t\t")
            terminal.read_until(*(rf"(?<![\w-]){word}\s" for word in expected))


def test_tab_completes_in_fish(home: Path) -> None:
    if shutil.which("fish") is None:
        pytest.skip("fish is not installed")
    for line, expected in LINES:
        done = subprocess.run(
            ["fish", "--command", f"complete --do-complete '{line}'"],
            env=of(home),
            cwd=home,
            capture_output=True,
            text=True,
            check=True,
        )
        assert expected <= {offered.partition("\t")[0] for offered in done.stdout.splitlines()}
