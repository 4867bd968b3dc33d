"""Commands that act on the service of this machine, as the screen runs them."""

import shlex
import shutil
from enum import Enum

from smtppseudo.files import is_root
from smtppseudo.service.checks import check_program
from smtppseudo.service.program import running_program
from smtppseudo.service.units import SERVICE, SOCKETS


class ServiceAction(Enum):
    """What the screen can do with the service."""

    INSTALL = "install"
    START = "start"
    STOP = "stop"
    UNINSTALL = "uninstall"


def argv_for(action: ServiceAction) -> list[str]:
    """Return the command line of an action; it begins with sudo or su where this user is not root."""
    if action is ServiceAction.START:
        argv = ["systemctl", "start", SERVICE]
    elif action is ServiceAction.STOP:
        argv = ["systemctl", "stop", *SOCKETS, SERVICE]  # a socket unit would start the service again
    else:
        argv = [*running_program().argv, f"{action.value}-service"]
    if is_root():
        return argv
    return ["sudo", *argv] if shutil.which("sudo") else ["su", "-c", shlex.join(argv)]


def problem_with(action: ServiceAction) -> str:
    """Return why `argv_for` could not run, and what to do; empty if it can. Takes up to 1 s."""
    runs_this_program = action in (ServiceAction.INSTALL, ServiceAction.UNINSTALL)
    return next(check_program(running_program()), "") if runs_this_program else ""
