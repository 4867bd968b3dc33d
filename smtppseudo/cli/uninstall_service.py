"""`uninstall-service`: removes the service that `install-service` installed."""

import argparse
import shlex
import sys

from smtppseudo.cli.messages import print_line
from smtppseudo.cli.options import describe
from smtppseudo.cli.service import ServiceTarget, add_target, carry_out, fail_on_problem
from smtppseudo.service.layout import running_program
from smtppseudo.service.steps import uninstall_steps


def add_uninstall_service(command: argparse.ArgumentParser) -> None:
    describe(command, "sudo smtppseudo uninstall-service")
    add_target(command)
    purge_help = "remove settings, state, logs, user and group, too, so that nothing is left"
    command.add_argument("--purge", action="store_true", help=purge_help)


def run(options: argparse.Namespace) -> None:
    """Remove the service; with `--purge`, its settings, state and logs, too."""
    if sys.platform == "win32":
        from smtppseudo.cli.windows_service import removal

        steps, data, undo = *removal(options), "smtppseudo install-service"
    else:
        target = ServiceTarget(options)
        fail_on_problem(target.check(running_program(), "uninstall-service"))
        undo = shlex.join(["smtppseudo", "install-service", *target.options])
        steps = uninstall_steps(target.layout, target.systemd, purge=options.purge)
        data = (target.layout.settings, *target.layout.data)
    if not carry_out(steps, f"`{undo}` brings it back"):
        print_line("nothing to remove")
    if kept := [str(path) for path in data if path.exists()]:
        print_line(f"not removed: {', '.join(kept)} (--purge removes them)")
