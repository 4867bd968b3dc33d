"""`reload`: makes the server read its settings file and its certificates again."""

import argparse

from smtppseudo.cli import exits
from smtppseudo.cli.access import add_access
from smtppseudo.cli.messages import print_line
from smtppseudo.cli.options import describe
from smtppseudo.cli.set import settings_changed


def add_arguments(command: argparse.ArgumentParser) -> None:
    describe(command, "smtppseudo reload", "A mistake in the file changes nothing; the exit status is then 78.")
    add_access(command)


def run(options: argparse.Namespace) -> int:
    """Request `reload`, and print what needs a restart."""
    with settings_changed(options) as (_, reply):
        names = reply.get("need_restart")
    need_restart = ", ".join(map(str, names)) if isinstance(names, list) else ""
    restart = f"; a restart is needed to change {need_restart}" if need_restart else ""
    print_line(f"reloaded{restart}")
    return exits.GOOD
