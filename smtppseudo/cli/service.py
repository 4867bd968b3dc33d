"""What `install-service` and `uninstall-service` have in common: for whom it is, and the way to end with one line."""

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from smtppseudo.cli import exits
from smtppseudo.cli.places import usual_places
from smtppseudo.service import obstacles
from smtppseudo.service.layout import Layout, system_layout, user_layout
from smtppseudo.service.program import Program
from smtppseudo.service.steps import Step, StepError, carry_out
from smtppseudo.service.systemd import Systemd, is_booted


def add_target(command: argparse.ArgumentParser) -> None:
    """Add the options that say for whom the service is."""
    target = command.add_mutually_exclusive_group()
    target.add_argument("--user", action="store_true", help="a service of this user, not of the system")
    target.add_argument("--root", metavar="DIR", help="work on the system in the tree DIR, and start nothing")


class Target:
    """For whom the service is: this machine, one user of it, or a tree in which another machine's system is.

    Raises CommandError where there can be no service.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        refuse(obstacles.of_platform(sys.platform))
        self.is_for_user: bool = options.user
        self.root = None if options.root is None else Path(options.root).absolute()
        self.systemd = Systemd(is_for_user=options.user, root=self.root)
        self.layout = self._layout()

    def _layout(self) -> Layout:
        if not self.is_for_user:
            return system_layout(self.root or Path("/"))
        if os.geteuid() == 0:
            raise exits.CommandError("--user is for users other than root; as root, leave it out", exits.USAGE)
        places = usual_places()
        return user_layout(places.config.parent, places.config, (places.state, places.log))

    @property
    def words(self) -> list[str]:
        """The options that mean the same target."""
        return ["--user"] if self.is_for_user else [] if self.root is None else ["--root", str(self.root)]

    def obstacles(self, program: Program, command: str) -> Iterator[str]:
        """Find what keeps a command from working on it."""
        if self.root is None:
            if not is_booted():
                yield "this machine does not run systemd; have its init system run `smtppseudo serve`"
            if self.is_for_user:
                yield from obstacles.of_user_manager()
            else:
                yield from obstacles.of_rights(program, command)
        yield from obstacles.of_units(self.layout)


def refuse(found: Iterator[str]) -> None:
    """End the command where an obstacle was found. Raises CommandError."""
    for obstacle in found:
        raise exits.CommandError(obstacle)


def do(steps: Iterator[Step], undo: str) -> list[str]:
    """Carry out steps, print each, return what was done. Raises CommandError."""
    try:
        return carry_out(steps, undo, lambda done: print(done, flush=True))
    except StepError as error:
        raise exits.CommandError(str(error)) from None
