"""`stop`: closes the SMTP port and its sessions; the process continues."""

import argparse

from smtppseudo.cli import exits
from smtppseudo.cli.access import add_access, logged_in
from smtppseudo.cli.messages import print_line
from smtppseudo.cli.options import describe


def add_arguments(command: argparse.ArgumentParser) -> None:
    describe(command, "smtppseudo stop --host localhost --monitor-port 2626")
    add_access(command)


def run(options: argparse.Namespace) -> int:
    """Send the request that the command is named after, and print the new state."""
    with logged_in(options) as link:
        reply = link.request(options.command)
        places = reply.get("smtp")  # older servers do not send it
        print_line(
            f"SMTP on {', '.join(map(str, places)) if isinstance(places, list) else link.place}: {reply.get('state')}"
        )
    return exits.GOOD
