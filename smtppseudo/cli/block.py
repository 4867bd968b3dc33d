"""`block`: turns a caller away for some time, or always."""

import argparse

from smtppseudo.cli import exits
from smtppseudo.cli.access import add_access, logged_in
from smtppseudo.cli.messages import print_line
from smtppseudo.cli.options import describe, network
from smtppseudo.cli.periods import duration
from smtppseudo.events import printable


def add_arguments(command: argparse.ArgumentParser) -> None:
    describe(
        command,
        "smtppseudo block 198.51.100.7 --for 30d --reason 'asked for it'",
        "A blocked caller is closed without a reply and takes no slot. A list that the server keeps (`blocklist_file`)"
        " has it, too; the command `blocklist` does not know it.",
    )
    add_access(command)
    command.add_argument("network", type=network, metavar="ADDRESS|NETWORK", help="the caller, or a network")
    command.add_argument(
        "--for", dest="for_s", type=_duration_s, default="7d", metavar="TIME", help="how long: 12h, 7d, or always (7d)"
    )
    command.add_argument("--reason", type=printable, metavar="TEXT", help="a note for `blocked` and the log")


def _duration_s(text: str) -> int:
    return 0 if text == "always" else duration(text)


def run(options: argparse.Namespace) -> int:
    """Send the request that the command is named after, and print what was done."""
    fields = {name: value for name in ("for_s", "reason") if (value := getattr(options, name, None)) is not None}
    with logged_in(options) as link:
        reply = link.request(options.command, network=options.network, **fields)
        done = "no longer blocked"
        if options.command == "block":
            done = f"blocked until {reply.get('until')}; sessions ended: {reply.get('ended')}"
        print_line(f"{reply.get('network')} is {done}")
    return exits.GOOD
