"""`unblock`: undoes `block`."""

import argparse

from smtppseudo.cli import exits
from smtppseudo.cli.access import add_access, logged_in
from smtppseudo.cli.messages import print_line
from smtppseudo.cli.options import describe, network


def add_arguments(command: argparse.ArgumentParser) -> None:
    describe(command, "smtppseudo unblock 198.51.100.7")
    add_access(command)
    command.add_argument("network", type=network, metavar="ADDRESS|NETWORK", help="as `blocked` prints it")


def run(options: argparse.Namespace) -> int:
    """Unblock a caller."""
    with logged_in(options) as link:
        print_line(f"{link.request('unblock', network=options.network)['network']} is not blocked any more")
    return exits.GOOD
