"""`status`: the state and the counters of servers, for people and programs."""

import argparse
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple

from smtppseudo.cli import exits
from smtppseudo.cli.access import Access, access_to, add_access, run_all
from smtppseudo.cli.messages import print_text, say
from smtppseudo.cli.options import describe
from smtppseudo.link.route import shown_names
from smtppseudo.monitor.codec import Frame
from smtppseudo.monitor.status import Source, Status, render_prometheus, render_rows, render_text

_FAILURES: Final = {exits.UNREACHABLE: "unreachable", exits.NOT_AUTHORIZED: "not authorized"}


def add_status(command: argparse.ArgumentParser) -> None:
    describe(
        command,
        "smtppseudo status --format prometheus\n  smtppseudo status mx1.example.org mx2.example.org:2626",
        "Online means that the SMTP port is open. Exit status: 0 online, 1 offline, 69 unreachable, 77 not authorized;"
        " of several servers, the highest.",
    )
    add_access(command, has_several=True)
    formats = ("text", "json", "prometheus")
    command.add_argument("--format", choices=formats, default="text", help="the output format (text)")


class _Reply(NamedTuple):
    """What a server said: the JSON object, and the source of the other formats."""

    fields: Frame
    source: Source

    @property
    def status(self) -> int:
        """The exit status, like that of a CommandError."""
        return exits.GOOD if self.source.status.state == "online" else exits.FAILED


def run(options: argparse.Namespace) -> int:
    """Print the status; the exit status says whether the SMTP port is open."""
    accesses = access_to(options, options.hosts)
    found = dict(filter(None, run_all(accesses, _ask)))
    if len(accesses) > 1:
        print_text(_render_all({access.name: found[access] for access in accesses}, options.format))
    elif isinstance(outcome := found[accesses[0]], exits.CommandError):
        raise outcome
    else:
        print_text(_render(outcome, options.format))
    return max(outcome.status for outcome in found.values())


def _ask(access: Access) -> Iterator[_Reply]:
    with access.dial() as link:
        fields, started_at = link.request("status"), link.snapshot.started_at
    about = {"server": link.server, "address": link.address, "port": link.port, "started_at": started_at}
    try:
        status, since = Status.from_fields(fields), datetime.fromisoformat(started_at).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise exits.CommandError(f"{link.place}: {error}", exits.UNREACHABLE) from None
    source = Source(status, link.server.partition(" ")[2], since, link.server_name)
    yield _Reply({**about, **fields, **about}, source)  # no field of a server replaces these


def _render(reply: _Reply, form: str) -> str:
    if form == "json":
        return json.dumps(reply.fields) + "\n"
    if form == "prometheus":
        return render_prometheus([reply.source])
    server, address, port = (reply.fields[name] for name in ("server", "address", "port"))
    return f"{'server':<15} {server}, {address} port {port}\n{render_text(reply.source.status)}"


def _render_all(outcomes: Mapping[str, _Reply | exits.CommandError], form: str) -> str:
    """Return the status of servers, by the address given; say on standard error why one is missing."""
    own = {given: each.source.name if isinstance(each, _Reply) else "" for given, each in outcomes.items()}
    names = shown_names(own)
    objects: list[Frame] = []
    sources: list[Source] = []
    rows: dict[str, Status | str] = {}
    for given, outcome in outcomes.items():
        if isinstance(outcome, _Reply):
            name = names[given]
            objects.append({"name": name, **outcome.fields} | {"name": name})
            sources.append(outcome.source._replace(name=name))
            rows[name] = outcome.source.status
        else:
            say(str(outcome))
            objects.append({"name": given, "error": str(outcome), "exit_status": outcome.status})
            rows[given] = _FAILURES.get(outcome.status, "failed")
    if form == "json":
        return json.dumps(objects) + "\n"
    return render_prometheus(sources) if form == "prometheus" else render_rows(rows)
