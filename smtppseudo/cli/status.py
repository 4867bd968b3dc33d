"""`status`: the state and the counters of servers, for people and programs."""

import argparse
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from smtppseudo.cli import exits
from smtppseudo.cli.access import access_to, act_on_all, add_access, hosts_of
from smtppseudo.cli.messages import print_text, say
from smtppseudo.cli.options import describe
from smtppseudo.link.link import MonitorLink
from smtppseudo.monitor.codec import Frame
from smtppseudo.monitor.status import Source, Status, render_prometheus, render_rows, render_text

_FAILURES: Final = {exits.UNREACHABLE: "unreachable", exits.NOT_AUTHORIZED: "not authorized"}


def add_arguments(command: argparse.ArgumentParser) -> None:
    describe(
        command,
        "smtppseudo status --format prometheus\n  smtppseudo status mx1.example.org mx2.example.org:2626",
        "Online means that the SMTP port is open. Exit status: 0 online, 1 offline, 69 unreachable, 77 not authorized;"
        " of several servers, the highest.",
    )
    add_access(command, has_several=True)
    command.add_argument(
        "--format", choices=("text", "json", "prometheus"), default="text", help="the output format (text)"
    )


class _Answer(NamedTuple):
    """What a server said: the JSON object, and the source of the other formats."""

    fields: Frame
    source: Source


def run(options: argparse.Namespace) -> int:
    """Print the status; the exit status says whether the SMTP port is open."""
    accesses = access_to(options, hosts_of(options))
    outcomes = act_on_all(accesses, _ask)
    if len(outcomes) == 1:
        (outcome,) = outcomes
        if isinstance(outcome, exits.CommandError):
            raise outcome
        print_text(_render(outcome, options.format))
    else:
        names = [outcome.source.name if isinstance(outcome, _Answer) else "" for outcome in outcomes]
        given = [access.name for access in accesses]
        # Where a name does not tell the servers apart, the address does.
        names = [
            own if own and names.count(own) == 1 and own not in given else given[at] for at, own in enumerate(names)
        ]
        print_text(_render_all(names, outcomes, options.format))
    return max(map(_exit_status, outcomes))


def _ask(link: MonitorLink) -> _Answer:
    fields, started_at = link.request("status"), link.snapshot.started_at
    about = {"server": link.server, "address": link.address, "port": link.port, "started_at": started_at}
    try:
        status, since = Status.from_fields(fields), datetime.fromisoformat(started_at)
    except ValueError as error:
        raise exits.CommandError(f"{link.place}: {error}", exits.UNREACHABLE) from None
    return _Answer({**about, **fields}, Source(status, link.server.partition(" ")[2], since, link.server_name))


def _exit_status(outcome: _Answer | exits.CommandError) -> int:
    if isinstance(outcome, exits.CommandError):
        return outcome.status
    return exits.GOOD if outcome.source.status.state == "online" else exits.FAILED


def _render(answer: _Answer, form: str) -> str:
    if form == "json":
        return json.dumps(answer.fields) + "\n"
    if form == "prometheus":
        return render_prometheus([answer.source])
    server, address, port = (answer.fields[name] for name in ("server", "address", "port"))
    return f"{'server':<15} {server}, {address} port {port}\n{render_text(answer.source.status)}"


def _render_all(names: Sequence[str], outcomes: Sequence[_Answer | exits.CommandError], form: str) -> str:
    """Return the status of several servers; say on standard error why one is missing."""
    objects: list[Frame] = []
    sources: list[Source] = []
    rows: dict[str, Status | str] = {}
    for name, outcome in zip(names, outcomes, strict=True):
        if isinstance(outcome, _Answer):
            objects.append({"name": name, **outcome.fields})
            sources.append(outcome.source._replace(name=name))
            rows[name] = outcome.source.status
        else:
            say(str(outcome))
            objects.append({"name": name, "error": str(outcome), "exit_status": outcome.status})
            rows[name] = _FAILURES.get(outcome.status, "failed")
    if form == "json":
        return json.dumps(objects) + "\n"
    return render_prometheus(sources) if form == "prometheus" else render_rows(rows)
