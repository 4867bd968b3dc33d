"""The state of the service: what systemd says of smtppseudo.service on this machine."""

import shutil
import subprocess
from typing import Final, NamedTuple

UNIT: Final = "smtppseudo.service"
_TIMEOUT_S: Final = 5.0
_PROPERTIES: Final = ("LoadState", "ActiveState", "SubState", "UnitFileState")


class UnitState(NamedTuple):
    """Three yes-or-no answers in words, or why there are none."""

    installed: str = ""
    running: str = ""
    at_boot: str = ""
    reason: str = ""


def ask_systemd() -> UnitState:
    """Ask systemd, which takes some milliseconds, or seconds on a bad day."""
    systemctl = shutil.which("systemctl")
    if systemctl is None:
        return UnitState(reason="This machine has no systemd.")
    command = [systemctl, "show", UNIT, f"--property={','.join(_PROPERTIES)}"]
    try:
        done = subprocess.run(  # noqa: S603 - nothing in it comes from outside
            command, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return UnitState(reason="systemd does not answer.")
    if done.returncode != 0:
        return UnitState(reason="systemd does not run here.")
    return read_properties(done.stdout)


def read_properties(text: str) -> UnitState:
    """Read what `systemctl show` prints."""
    found = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    load, active, sub, file = (found.get(name, "") for name in _PROPERTIES)
    if load in ("", "not-found"):
        return UnitState(reason=f"Not installed: systemd knows no {UNIT}.")
    running = f"yes ({sub})" if active == "active" else f"no ({active or 'unknown'})"
    return UnitState("yes" if load == "loaded" else f"yes, but {load}", running, _AT_BOOT.get(file, file or "no"))


_AT_BOOT: Final = {"enabled": "yes", "disabled": "no"}
