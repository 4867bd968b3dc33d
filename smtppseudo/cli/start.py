"""`start`: opens the SMTP port again."""

import argparse

from smtppseudo.cli import stop
from smtppseudo.cli.access import add_access
from smtppseudo.cli.options import describe

run = stop.run


def add_arguments(command: argparse.ArgumentParser) -> None:
    describe(command, "smtppseudo start")
    add_access(command)
