"""Wrapper around systemctl, and the state of the service."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final, NamedTuple

_QUERY_TIMEOUT_S: Final = 5.0
_TIMEOUT_S: Final = 120.0
PROPERTIES: Final = ("LoadState", "ActiveState", "SubState", "UnitFileState")


class ToolError(Exception):
    """A tool failed or is not installed; the text is its message, on one line."""


class UnitState(NamedTuple):
    """The state of a unit as texts that begin with yes or no; or the `reason` why it is unknown."""

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
    """systemctl for the system's manager, the user's, or the units of a tree that is not booted (`root`)."""

    def __init__(self, *, is_for_user: bool = False, root: Path | None = None) -> None:
        self.root = root
        self._argv = ["systemctl", "--no-ask-password"]
        if is_for_user:
            self._argv.append("--user")
        if root is not None:
            self._argv.append(f"--root={root}")

    def run(self, verb: str, *arguments: str) -> None:
        """Run a verb of systemctl, and wait until it is done. Raises ToolError."""
        run_tool(*self._argv, "--quiet", verb, *arguments)

    def show(self, unit: str, *properties: str) -> dict[str, str]:
        """Return properties of a unit. Raises ToolError if the manager does not answer."""
        text = run_tool(*self._argv, "show", unit, f"--property={','.join(properties)}", timeout_s=_QUERY_TIMEOUT_S)
        return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)

    def is_active(self, unit: str) -> bool:
        """Return whether a service runs, or a socket listens. Raises ToolError."""
        return self.show(unit, "ActiveState").get("ActiveState") == "active"


def is_booted() -> bool:
    """Return whether this machine runs systemd (sd_booted(3))."""
    return Path("/run/systemd/system").is_dir()


def run_tool(*argv: str, timeout_s: float = _TIMEOUT_S) -> str:
    """Run a tool and return its output. Raises ToolError."""
    tool = shutil.which(argv[0], path=os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin")))
    if tool is None:
        raise ToolError(f"{argv[0]} is not installed")
    try:
        done = subprocess.run(  # noqa: S603 - no argument comes from outside
            [tool, *argv[1:]],
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            errors="backslashreplace",
            timeout=timeout_s,
            check=False,
        )
    except OSError as error:
        raise ToolError(f"{argv[0]}: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise ToolError(f"{argv[0]} did not end within {timeout_s:g} s") from None
    if done.returncode != 0:
        message = " ".join(done.stderr.split())
        raise ToolError(message or f"{argv[0]} ended with exit status {done.returncode}")
    return done.stdout


def state_from(properties: dict[str, str]) -> UnitState:
    """Return the state that the properties of the unit describe."""
    load, active, sub, file = (properties.get(name, "") for name in PROPERTIES)
    if load in ("", "not-found"):
        return UnitState("no", "no", "no")
    running = f"yes ({sub})" if active == "active" else f"no ({active or 'unknown'})"
    at_boot = {"enabled": "yes", "disabled": "no"}.get(file, file or "no")
    return UnitState("yes" if load == "loaded" else f"yes, but {load}", running, at_boot)
