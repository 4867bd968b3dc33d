"""`watch`: prints the stream of events; continues after a restart of the server."""

import argparse
import json
import select
import sys
import time
from collections.abc import Callable, Iterable
from typing import Final, NoReturn

from smtppseudo.cli.access import Access, add_access, explained
from smtppseudo.cli.messages import print_text, say
from smtppseudo.cli.options import describe, network, whole_number
from smtppseudo.events import NAMES
from smtppseudo.link.errors import ConnectionLostError, RefusedError, UnreachableError
from smtppseudo.link.incoming import Dropped, Streamed
from smtppseudo.link.link import MonitorLink, Notice
from smtppseudo.log.records import render_record

FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 30.0
_CHECK_S: Final = 1.0  # between checks that standard output still has a reader


def add_arguments(command: argparse.ArgumentParser) -> None:
    describe(
        command,
        "smtppseudo watch --event connected --event closed --ip 192.0.2.0/24",
        "One line an event, as in the log. When the server restarts, `watch` connects again and goes on.",
    )
    add_access(command, host_is_option=False)
    command.add_argument("--json", action="store_true", help="print each event as a JSON object")
    command.add_argument(
        "--from-seq", type=whole_number, metavar="N", help="begin with event N; the server keeps the last 1000"
    )
    command.add_argument(
        "--event",
        action="append",
        choices=sorted(NAMES.values()),
        metavar="KIND",
        help=f"print only events of this kind: {', '.join(sorted(NAMES.values()))}; may be repeated",
    )
    command.add_argument("--ip", type=network, metavar="ADDRESS", help="print only events of this address or network")


def run(options: argparse.Namespace) -> NoReturn:
    """Print events until interrupted, or until standard output has no reader."""
    watch = Watch(options)
    with explained():
        access = Access(options)
        link = access.connect()
        while True:
            with link:
                try:
                    watch.follow(link)
                except ConnectionLostError as error:
                    say(f"{error}; reconnecting")
            link = reconnect(access)
            say(f"{link.place}: connected again")


def reconnect(access: Access, sleep: Callable[[float], None] = time.sleep) -> MonitorLink:
    """Retry, with growing pauses, until the server is back. Raises LinkError where waiting cannot help."""
    pause_s = FIRST_PAUSE_S
    while True:
        sleep(pause_s)
        try:
            return access.connect()
        except (UnreachableError, RefusedError):  # it is not up yet, or has no room yet
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


class Watch:
    """Prints the requested events, and remembers the next one, so that a new connection continues there."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._as_json: bool = options.json
        self._filters = {name: value for name, value in (("events", options.event), ("ip", options.ip)) if value}
        self._next_seq: int | None = options.from_seq  # None: begin at the login
        self._started_at = ""  # of the server process that sent the last event

    def follow(self, link: MonitorLink) -> NoReturn:
        """Print events until the connection ends. Raises LinkError."""
        self._subscribe(link)
        while True:
            self._print(link.next_events(_CHECK_S))
            require_reader()

    def _subscribe(self, link: MonitorLink) -> None:
        started_at = link.snapshot.started_at
        if self._started_at not in ("", started_at):
            say("the server was restarted; its events since the restart follow, as far as it still has them")
            self._next_seq = 1
        self._started_at = started_at
        wanted = link.snapshot.seq + 1 if self._next_seq is None else self._next_seq
        self._next_seq = wanted
        oldest = link.request("subscribe", from_seq=wanted, **self._filters).get("oldest_seq")
        if isinstance(oldest, int) and oldest > wanted:
            say(f"events missed: {oldest - wanted}; the server no longer has {wanted} to {oldest - 1}")

    def _print(self, notices: Iterable[Notice]) -> None:
        lines: list[str] = []
        for notice in notices:
            if isinstance(notice, Streamed):
                if self._as_json:
                    lines.append(json.dumps({"seq": notice.seq, **notice.record}, separators=(",", ":")) + "\n")
                else:
                    lines.append(render_record(notice.record))
                self._next_seq = notice.seq + 1
            elif isinstance(notice, Dropped):
                say(f"events missed here: {notice.count}; they came faster than they were read")
        if lines:
            print_text("".join(lines))
            sys.stdout.flush()


def require_reader() -> None:
    """Raise BrokenPipeError if the reader of standard output has ended, like `head`."""
    if not hasattr(select, "poll"):
        return
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)  # POLLERR needs no mask
    if any(found & select.POLLERR for _, found in poll.poll(0)):
        raise BrokenPipeError
