"""`status`: the state and the counters of a server, for people and programs."""

import argparse
import json
from collections.abc import Mapping
from typing import Final

from smtppseudo.cli import exits
from smtppseudo.cli.access import add_access, logged_in
from smtppseudo.cli.options import describe
from smtppseudo.link.link import MonitorLink
from smtppseudo.monitor.status import Status, render_prometheus, render_text


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Define the arguments."""
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
        try:
            status = Status.from_fields(fields)
            text = _RENDERERS[options.format](link, status, fields)
        except ValueError as error:
            raise exits.CommandError(f"{link.place}: {error}", exits.UNREACHABLE) from None
        print(text, end="")
    return exits.GOOD if status.state == "online" else exits.FAILED


def _text(link: MonitorLink, status: Status, fields: Mapping[str, object]) -> str:  # noqa: ARG001 - one signature for all
    return f"{'server':<15} {link.server}, {link.place}\n{render_text(status)}"


def _json(link: MonitorLink, status: Status, fields: Mapping[str, object]) -> str:  # noqa: ARG001
    about = {"server": link.server, "address": link.address, "port": link.port}
    return json.dumps({**about, "started_at": link.snapshot.started_at, **fields}) + "\n"


def _prometheus(link: MonitorLink, status: Status, fields: Mapping[str, object]) -> str:  # noqa: ARG001
    version = link.server.partition(" ")[2]
    return render_prometheus(
        status, version, link.snapshot.started_at, str(link.snapshot.settings.get("server_name", ""))
    )


_RENDERERS: Final = {"text": _text, "json": _json, "prometheus": _prometheus}
