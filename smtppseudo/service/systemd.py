"""systemd: the thin step to its tools, and what is known of the service there."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final, NamedTuple

from smtppseudo.service.units import SERVICE

_QUICK_S: Final = 5.0
_SLOW_S: Final = 120.0
_PROPERTIES: Final = ("LoadState", "ActiveState", "SubState", "UnitFileState")


class ToolError(Exception):
    """A tool that failed, or is not there: which, and what it complained of, on one line."""


class UnitState(NamedTuple):
    """Three yes-or-no answers in words, or why there are none."""

    installed: str = ""
    running: str = ""
    at_boot: str = ""
    reason: str = ""

    @property
    def is_installed(self) -> bool:
        """Whether systemd knows the unit."""
        return self.installed.startswith("yes")

    @property
    def is_running(self) -> bool:
        """Whether the service runs."""
        return self.running.startswith("yes")


class Systemd:
    """One manager: the system's, the user's, or none, for units in a tree that is not booted (`root`)."""

    __slots__ = ("_words", "root")

    def __init__(self, *, is_for_user: bool = False, root: Path | None = None) -> None:
        self.root = root
        self._words = ["systemctl", "--no-ask-password"]
        if is_for_user:
            self._words.append("--user")
        if root is not None:
            self._words.append(f"--root={root}")

    def do(self, verb: str, *words: str) -> None:
        """Have something done, and wait until it is. Raises ToolError."""
        call(*self._words, "--quiet", verb, *words, timeout_s=_SLOW_S)

    def show(self, unit: str, *properties: str) -> dict[str, str]:
        """Return properties of a unit. Raises ToolError where nobody answers."""
        text = call(*self._words, "show", unit, f"--property={','.join(properties)}", timeout_s=_QUICK_S)
        return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)

    def is_active(self, unit: str) -> bool:
        """Say whether a unit runs, or a socket listens. Raises ToolError."""
        return self.show(unit, "ActiveState").get("ActiveState") == "active"


def is_booted() -> bool:
    """Say whether this machine runs systemd (sd_booted(3))."""
    return Path("/run/systemd/system").is_dir()


def call(*words: str, timeout_s: float = _SLOW_S) -> str:
    """Run a tool and return what it prints. Raises ToolError."""
    tool = shutil.which(words[0], path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin")
    if tool is None:
        raise ToolError(f"{words[0]} is not installed")
    try:
        done = subprocess.run(  # noqa: S603 - the words are ours
            [tool, *words[1:]],
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="backslashreplace",
            timeout=timeout_s,
            check=False,
        )
    except OSError as error:
        raise ToolError(f"{words[0]}: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise ToolError(f"{words[0]} did not come to an end within {timeout_s:g} s") from None
    if done.returncode != 0:
        complaint = " ".join(done.stderr.split())
        raise ToolError(complaint or f"{words[0]} ended with exit status {done.returncode}")
    return done.stdout


def ask_systemd() -> UnitState:
    """Ask systemd, which takes some milliseconds, or seconds on a bad day."""
    if not is_booted():
        return UnitState(reason="This machine does not run systemd.")
    try:
        return read_properties(Systemd().show(SERVICE, *_PROPERTIES))
    except ToolError:
        return UnitState(reason="systemd does not answer.")


def read_properties(found: dict[str, str]) -> UnitState:
    """Read what systemd says of the service."""
    load, active, sub, file = (found.get(name, "") for name in _PROPERTIES)
    if load in ("", "not-found"):
        return UnitState("no", "no", "no")
    running = f"yes ({sub})" if active == "active" else f"no ({active or 'unknown'})"
    return UnitState("yes" if load == "loaded" else f"yes, but {load}", running, _AT_BOOT.get(file, file or "no"))


_AT_BOOT: Final = {"enabled": "yes", "disabled": "no"}
