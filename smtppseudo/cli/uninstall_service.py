"""`uninstall-service`: undoes what `install-service` did."""

import argparse
import shlex

from smtppseudo.cli import exits
from smtppseudo.cli.options import describe
from smtppseudo.cli.service import Target, add_target, do, refuse
from smtppseudo.service.program import this_program
from smtppseudo.service.removing import remove


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Define the arguments."""
    describe(command, "sudo smtppseudo uninstall-service")
    add_target(command)
    command.add_argument(
        "--purge",
        action="store_true",
        help="remove settings, state, logs, user and group, too, so that nothing is left",
    )


def run(options: argparse.Namespace) -> int:
    """Remove the service; settings, state and logs only where that was asked for."""
    target = Target(options)
    refuse(target.obstacles(this_program(), "uninstall-service"))
    again = shlex.join(["smtppseudo", "install-service", *target.words])
    done = do(remove(target.layout, target.systemd, purge=options.purge), f"`{again}` brings it back")
    if not done:
        print("nothing to remove")
    kept = [str(path) for path in (target.layout.settings, *target.layout.data) if path.exists()]
    if kept:
        print(f"left as they are: {', '.join(kept)} (--purge removes them)")
    return exits.GOOD
