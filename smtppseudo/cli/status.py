"""`status`: the state and the counters of a server, for people and programs."""

import argparse
import json

from smtppseudo.cli import exits
from smtppseudo.cli.access import add_access, logged_in
from smtppseudo.cli.messages import print_text
from smtppseudo.cli.options import describe
from smtppseudo.monitor.status import Status, render_prometheus, render_text


def add_arguments(command: argparse.ArgumentParser) -> None:
    describe(
        command,
        "smtppseudo status --format prometheus",
        "Online means that the SMTP port is open. Exit status: 0 online, 1 offline, 69 unreachable, 77 not authorized.",
    )
    add_access(command, host_is_option=False)
    command.add_argument(
        "--format", choices=("text", "json", "prometheus"), default="text", help="the output format (text)"
    )


def run(options: argparse.Namespace) -> int:
    """Print the status; the exit status says whether the SMTP port is open."""
    with logged_in(options) as link:
        fields = link.request("status")
        started_at = link.snapshot.started_at
        try:
            status = Status.from_fields(fields)
            if options.format == "text":
                text = f"{'server':<15} {link.server}, {link.place}\n{render_text(status)}"
            elif options.format == "json":
                about = {"server": link.server, "address": link.address, "port": link.port, "started_at": started_at}
                text = json.dumps({**about, **fields}) + "\n"
            else:
                server_name = str(link.snapshot.settings.get("server_name", ""))
                text = render_prometheus(status, link.server.partition(" ")[2], started_at, server_name)
        except ValueError as error:
            raise exits.CommandError(f"{link.place}: {error}", exits.UNREACHABLE) from None
        print_text(text)
    return exits.GOOD if status.state == "online" else exits.FAILED
