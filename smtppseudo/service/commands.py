"""Commands that act on the service of this machine, as the screen runs them."""

import os
import shlex
import shutil
from collections.abc import Callable
from enum import Enum

from smtppseudo.service.checks import check_program
from smtppseudo.service.program import Program, running_program
from smtppseudo.service.units import SERVICE, SOCKETS


class ServiceAction(Enum):
    """What the screen can do with the service."""

    INSTALL = "install"
    START = "start"
    STOP = "stop"
    UNINSTALL = "uninstall"


def argv_for(action: ServiceAction) -> list[str]:
    """Return the command line of an action; it begins with sudo or su where this user is not root."""
    return as_root(_argv(action, running_program()), is_root=os.geteuid() == 0, which=shutil.which)


def problem_with(action: ServiceAction) -> str:
    """Return why `argv_for` could not run, and what to do; empty if it can. Takes up to 1 s."""
    runs_this_program = action in (ServiceAction.INSTALL, ServiceAction.UNINSTALL)
    return next(check_program(running_program()), "") if runs_this_program else ""


def as_root(argv: list[str], *, is_root: bool, which: Callable[[str], str | None]) -> list[str]:
    """Return the command line that runs another as root; `which` finds programs."""
    if is_root:
        return argv
    return ["sudo", *argv] if which("sudo") else ["su", "-c", shlex.join(argv)]


def _argv(action: ServiceAction, program: Program) -> list[str]:
    match action:
        case ServiceAction.INSTALL:
            return [*program.argv, "install-service"]
        case ServiceAction.UNINSTALL:
            return [*program.argv, "uninstall-service"]
        case ServiceAction.START:
            return ["systemctl", "start", SERVICE]
        case ServiceAction.STOP:
            return ["systemctl", "stop", *SOCKETS, SERVICE]  # a socket unit would start the service again
