"""`unset`: undoes `set`."""

import argparse

from smtppseudo.cli.access import add_access
from smtppseudo.cli.messages import say
from smtppseudo.cli.options import describe
from smtppseudo.cli.set import change_settings
from smtppseudo.config.settings import current_name


def add_arguments(command: argparse.ArgumentParser) -> None:
    describe(command, "smtppseudo unset greeting")
    add_access(command)
    command.add_argument("keys", nargs="+", metavar="KEY", help="a setting that `set` or a monitor has changed")


def run(options: argparse.Namespace) -> int:
    """Undo changes of settings."""
    keys = [current_name(key, (), say) for key in options.keys]
    return change_settings(options, keys, keys=keys)
