"""`block`, `unblock` and `blocked`: callers that the server turns away for some time, or always."""

import argparse
import json

from smtppseudo.cli.access import add_access, logged_in
from smtppseudo.cli.messages import print_line, say
from smtppseudo.cli.options import describe, duration, network
from smtppseudo.events import printable
from smtppseudo.smtp.blocked import ENTRIES_MAX


def add_block(command: argparse.ArgumentParser) -> None:
    describe(
        command,
        "smtppseudo block 198.51.100.7 --for 30d --reason 'asked for it'",
        "A blocked caller is closed without a reply and takes no slot. A list that the server keeps (`blocklist_file`)"
        " has it, too; the command `blocklist` does not know it.",
    )
    add_access(command)
    add = command.add_argument
    add("network", type=network, metavar="ADDRESS|NETWORK", help="the caller, or a network")
    add("--for", dest="for_s", type=_duration_s, default="7d", metavar="TIME", help="how long: 12h, 7d, or always (7d)")
    add("--reason", type=printable, metavar="TEXT", help="a note for `blocked` and the log")


def add_unblock(command: argparse.ArgumentParser) -> None:
    describe(command, "smtppseudo unblock 198.51.100.7")
    add_access(command)
    command.add_argument("network", type=network, metavar="ADDRESS|NETWORK", help="as `blocked` prints it")


def add_blocked(command: argparse.ArgumentParser) -> None:
    describe(command, "smtppseudo blocked --json", "One line each: the address or network, until when, and the reason.")
    add_access(command)
    command.add_argument("--json", action="store_true", help="print each entry as a JSON object")
    command.set_defaults(run=print_blocked)


def _duration_s(text: str) -> int:
    return 0 if text == "always" else duration(text)


def run(options: argparse.Namespace) -> None:
    """Send the request that the command is named after, and print what was done."""
    fields = {name: value for name in ("for_s", "reason") if (value := getattr(options, name, None)) is not None}
    with logged_in(options) as link:
        reply = link.request(options.command, network=options.network, **fields)
    done = "no longer blocked"
    if options.command == "block":
        done = f"blocked until {reply.get('until')}; sessions ended: {reply.get('ended')}"
    print_line(f"{reply.get('network')} is {done}")


def print_blocked(options: argparse.Namespace) -> None:
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


def _line_of(entry: object) -> str:
    """Return an entry of a server, which is not trusted, as a line."""
    fields = entry if isinstance(entry, dict) else {}
    network, until, reason = (str(fields.get(name, "")) for name in ("network", "until", "reason"))
    return f"{network:<19} {until:<20}  {reason}".rstrip()
