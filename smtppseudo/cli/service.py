"""What `install-service` and `uninstall-service` share: their target, its checks, and carrying out steps."""

import argparse
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from smtppseudo.cli import exits
from smtppseudo.cli.messages import print_line, say
from smtppseudo.cli.places import add_places, require_home, usual_places
from smtppseudo.files import is_root
from smtppseudo.service.checks import check_links, check_root, check_units, check_user_manager
from smtppseudo.service.layout import Program, system_layout, user_layout
from smtppseudo.service.steps import Step
from smtppseudo.service.systemd import Systemd, ToolError, is_booted

NO_SYSTEMD: Final = (
    "this machine does not run systemd, so nothing was changed; `smtppseudo guide other-init-systems` has scripts for"
    " OpenRC and runit"
)


def add_target(command: argparse.ArgumentParser) -> None:
    """Add the options that name the target."""
    if sys.platform == "win32":
        add_places(command)
        return
    target = command.add_mutually_exclusive_group()
    target.add_argument("--user", action="store_true", help="a service of this user, not of the system")
    target.add_argument("--root", metavar="DIR", help="work on the system in the tree DIR, and start nothing")


class ServiceTarget:
    """Where the service belongs: to this system, this user, or the system in a tree. Raises CommandError if to none."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.is_for_user: bool = options.user
        # systemctl needs an absolute path without `..`.
        self.root = None if options.root is None else Path(os.path.realpath(options.root))
        if self.root and not (options.root and self.root.is_dir()):
            raise exits.CommandError(f"--root: {options.root!r} is not a directory", exits.USAGE)
        # The options that name this target on a command line.
        self.options = ["--user"] if self.is_for_user else ["--root", str(self.root)] if self.root else []
        self.systemd = Systemd(is_for_user=options.user, root=self.root)
        if not self.is_for_user:
            self.layout = system_layout(self.root or Path("/"))
        elif is_root():
            raise exits.CommandError("--user is for users other than root; as root, leave it out", exits.USAGE)
        else:
            places = usual_places()
            require_home(*places)
            self.layout = user_layout(places.config.parent, places.config, (places.state, places.log))

    def check(self, program: Program, command: str) -> Iterator[str]:
        """Yield the problems that keep `command` from working on this target."""
        if self.root is not None:
            yield from check_links(self.layout, self.root)
        else:
            if not is_booted():
                yield NO_SYSTEMD
            yield from check_user_manager() if self.is_for_user else check_root(program, command)
        yield from check_units(self.layout)


def fail_on_problem(problems: Iterable[str], *, warn_only: bool = False) -> None:
    """Raise CommandError with the first problem, if there is one, or only print them all."""
    for problem in problems:
        if not warn_only:
            raise exits.CommandError(problem)
        say(f"warning: {problem}")


def carry_out(steps: Iterable[Step], undo: str) -> list[str]:
    """Carry out steps in order; print and return those done. Raises CommandError; later steps are not begun then."""
    done: list[str] = []
    for step in steps:
        try:
            step.act()
        except (OSError, ToolError) as error:
            reason = str(error)
            if isinstance(error, OSError) and error.strerror:
                reason = error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
            so_far = f"done so far: {', '.join(done)}; {undo}" if done else "nothing was changed"
            raise exits.CommandError(f"cannot {step.doing}: {reason}; {so_far}") from None
        done.append(step.done)
        print_line(step.done)
    return done
