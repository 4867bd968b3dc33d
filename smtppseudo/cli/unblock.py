"""`unblock`: undoes `block`."""

import argparse

from smtppseudo.cli import block
from smtppseudo.cli.access import add_access
from smtppseudo.cli.options import describe, network

run = block.run


def add_arguments(command: argparse.ArgumentParser) -> None:
    describe(command, "smtppseudo unblock 198.51.100.7")
    add_access(command)
    command.add_argument("network", type=network, metavar="ADDRESS|NETWORK", help="as `blocked` prints it")
