"""Commands: what a program runs, or a person types, to have something done to the service of this machine."""

import os
import shlex
import shutil
from collections.abc import Callable
from enum import Enum

from smtppseudo.service.obstacles import of_program
from smtppseudo.service.program import Program, this_program
from smtppseudo.service.units import SERVICE, SOCKETS


class Action(Enum):
    """What can be done to the service."""

    INSTALL = "install"
    START = "start"
    STOP = "stop"
    UNINSTALL = "uninstall"


def argv_for(action: Action) -> list[str]:
    """Return the words of the command that does it as root, for this user: by sudo, or by su, where need be."""
    return as_root(_words(action, this_program()), is_root=os.geteuid() == 0, find=shutil.which)


def obstacle_to(action: Action) -> str:
    """Say why `argv_for` would run nothing, and what mends that; empty if nothing is in the way. Takes up to 1 s."""
    is_ours = action in (Action.INSTALL, Action.UNINSTALL)
    return next(of_program(this_program()), "") if is_ours else ""


def as_root(words: list[str], *, is_root: bool, find: Callable[[str], str | None]) -> list[str]:
    """Return the words of a command that runs another as root; `find` finds programs."""
    if is_root:
        return words
    return ["sudo", *words] if find("sudo") else ["su", "-c", shlex.join(words)]


def _words(action: Action, program: Program) -> list[str]:
    match action:
        case Action.INSTALL:
            return [*program.command, "install-service"]
        case Action.UNINSTALL:
            return [*program.command, "uninstall-service"]
        case Action.START:
            return ["systemctl", "start", SERVICE]
        case Action.STOP:
            return ["systemctl", "stop", *SOCKETS, SERVICE]  # a socket left alone would start it again
