"""`disconnect`: ends the session in a slot."""

import argparse

from smtppseudo.cli import exits
from smtppseudo.cli.access import add_access, logged_in
from smtppseudo.cli.messages import print_line
from smtppseudo.cli.options import describe, whole_number


def add_arguments(command: argparse.ArgumentParser) -> None:
    describe(command, "smtppseudo disconnect 3")
    add_access(command)
    command.add_argument("slot", type=whole_number, metavar="SLOT", help="the slot's number")


def run(options: argparse.Namespace) -> int:
    """End the session."""
    with logged_in(options) as link:
        link.request("disconnect", slot=options.slot)
        print_line(f"slot {options.slot}: the session is ended")
    return exits.GOOD
