"""`start`: opens the SMTP port again."""

import argparse

from smtppseudo.cli import exits
from smtppseudo.cli.access import add_access, logged_in
from smtppseudo.cli.messages import print_line
from smtppseudo.cli.options import describe


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Define the arguments."""
    describe(command, "smtppseudo start")
    add_access(command)


def run(options: argparse.Namespace) -> int:
    """Switch the server online, and print its state."""
    with logged_in(options) as link:
        print_line(f"{link.place}: {link.request('start')['state']}")
    return exits.GOOD
