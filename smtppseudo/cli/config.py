"""`config`: prints the current settings, or a file with the defaults."""

import argparse

from smtppseudo.cli import exits
from smtppseudo.cli.messages import say
from smtppseudo.cli.options import describe
from smtppseudo.cli.places import add_places, read_configuration, with_monitor_settings
from smtppseudo.config.file import default_file, to_toml


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Define the arguments."""
    describe(command, "smtppseudo config --default > smtppseudo.toml")
    add_places(command)
    command.add_argument(
        "--default", action="store_true", help="print a settings file with all defaults, commented out"
    )


def run(options: argparse.Namespace) -> int:
    """Print the settings."""
    if options.default:
        print(default_file(), end="")
        return exits.GOOD
    configuration = with_monitor_settings(read_configuration(options, say), say)
    for name, value in configuration.settings._asdict().items():
        print(f"{name} = {to_toml(value)}  # {configuration.origins[name]}")
    return exits.GOOD
