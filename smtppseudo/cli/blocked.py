"""`blocked`: prints who is blocked."""

import argparse
import json

from smtppseudo.cli import exits
from smtppseudo.cli.access import add_access, logged_in
from smtppseudo.cli.messages import print_line, say
from smtppseudo.cli.options import describe
from smtppseudo.smtp.blocked import ENTRIES_MAX


def add_arguments(command: argparse.ArgumentParser) -> None:
    describe(command, "smtppseudo blocked --json", "One line each: the address or network, until when, and the reason.")
    add_access(command)
    command.add_argument("--json", action="store_true", help="print each entry as a JSON object")


def run(options: argparse.Namespace) -> int:
    """Print the blocked callers."""
    count, is_over = 0, False
    with logged_in(options) as link:
        while not is_over:
            found = link.request("blocked", **{"from": count}).get("blocked")
            page = found if isinstance(found, list) else []
            for entry in page:
                print_line(json.dumps(entry) if options.json else _line_of(entry))
            count += len(page)
            is_over = not page or count >= ENTRIES_MAX
    if not count:
        say("nobody is blocked")
    return exits.GOOD


def _line_of(entry: object) -> str:
    """Return an entry of a server, which is not trusted, as a line."""
    fields = entry if isinstance(entry, dict) else {}
    network, until, reason = (str(fields.get(name, "")) for name in ("network", "until", "reason"))
    return f"{network:<19} {until:<20}  {reason}".rstrip()
