"""`config`: the settings in force, or a file to start from."""

import argparse

from smtppseudo.cli import exits
from smtppseudo.cli.places import read_settings
from smtppseudo.settings import default_file, to_toml


def run(options: argparse.Namespace) -> int:
    """Print the settings."""
    if options.default:
        print(default_file(), end="")
        return exits.GOOD
    settings, origins = read_settings(options)
    for name, value in settings._asdict().items():
        print(f"{name} = {to_toml(value)}  # {origins[name]}")
    return exits.GOOD
