"""The state of this machine's service, and commands that act on it, as the screen runs them."""

import shlex
import shutil
import sys
from enum import Enum
from subprocess import list2cmdline

from smtppseudo.files import is_root
from smtppseudo.service.checks import check_program
from smtppseudo.service.layout import running_program
from smtppseudo.service.systemd import PROPERTIES, Systemd, ToolError, UnitState, is_booted, state_from
from smtppseudo.service.units import SERVICE, SOCKETS


class ServiceAction(Enum):
    """What the screen can do with the service."""

    INSTALL = "install"
    START = "start"
    STOP = "stop"
    UNINSTALL = "uninstall"


def query_service() -> UnitState:
    """Return the state of the service. Takes milliseconds, or up to 5 s if systemd does not answer."""
    if sys.platform == "win32":
        from smtppseudo.service.windows import control  # noqa: PLC0415

        return control.query_service()
    if not is_booted():
        return UnitState(reason="This machine does not run systemd.")
    try:
        return state_from(Systemd().show(SERVICE, *PROPERTIES))
    except ToolError:
        return UnitState(reason="systemd does not answer.")


def argv_for(action: ServiceAction) -> list[str]:
    """Return the command line of an action; it begins with sudo or su where this user is not root."""
    if sys.platform == "win32" and action in (ServiceAction.START, ServiceAction.STOP):
        return ["net", action.value, "smtppseudo"]
    if action is ServiceAction.START:
        argv = ["systemctl", "start", SERVICE]
    elif action is ServiceAction.STOP:
        argv = ["systemctl", "stop", *SOCKETS, SERVICE]  # a socket unit would start the service again
    else:
        argv = [*running_program().argv, f"{action.value}-service"]
    if sys.platform == "win32" or is_root():
        return argv
    return ["sudo", *argv] if shutil.which("sudo") else ["su", "-c", shlex.join(argv)]


def problem_with(action: ServiceAction) -> str:
    """Return why `argv_for` could not run, and what to do; empty if it can. Takes up to 1 s."""
    if sys.platform == "win32":
        import ctypes  # noqa: PLC0415

        command = list2cmdline(argv_for(action))
        advice = f'Only an administrator can do that: in a prompt opened by "Run as administrator", type `{command}`'
        return "" if ctypes.windll.shell32.IsUserAnAdmin() else advice
    if action in (ServiceAction.START, ServiceAction.STOP):
        return ""
    return next(check_program(running_program()), "")
