"""`status`: how a server does, for people and programs."""

import argparse
import json

from smtppseudo.cli import exits
from smtppseudo.cli.access import logged_in
from smtppseudo.monitor.status import Status, render_prometheus, render_text


def run(options: argparse.Namespace) -> int:
    """Print it; the exit status says whether the SMTP port is open."""
    with logged_in(options) as link:
        fields = link.request("status")
        try:
            status = Status.from_fields(fields)
        except ValueError as error:
            raise exits.CommandError(f"{link.place}: {error}", exits.UNREACHABLE) from None
        if options.format == "json":
            about = {"server": link.server, "address": link.address, "port": link.port}
            print(json.dumps({**about, "started_at": link.snapshot.started_at, **fields}))
        elif options.format == "prometheus":
            print(render_prometheus(status), end="")
        else:
            print(f"{'server':<15} {link.server}, {link.place}")
            print(render_text(status), end="")
    return exits.GOOD if status.state == "online" else exits.FAILED
