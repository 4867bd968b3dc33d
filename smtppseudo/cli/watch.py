"""`watch`: prints the stream of events of servers; continues after a restart of a server."""

import argparse
import contextlib
import json
import queue
import select
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Final, TypeAlias

from smtppseudo.cli import exits
from smtppseudo.cli.access import Access, access_to, add_access, explained, hosts_of
from smtppseudo.cli.merging import Merge, Timed
from smtppseudo.cli.messages import print_text, say
from smtppseudo.cli.options import describe, network, whole_number
from smtppseudo.events import NAMES
from smtppseudo.link.errors import ConnectionLostError, LinkError, RefusedError, UnreachableError
from smtppseudo.link.incoming import Dropped, Streamed
from smtppseudo.link.link import MonitorLink, Notice
from smtppseudo.log.records import render_record

FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 30.0
_CHECK_S: Final = 1.0  # between checks that standard output still has a reader
_TURN_S: Final = 0.1
_BATCHES_MAX: Final = 50  # that wait to be merged; then the links are not read


def add_arguments(command: argparse.ArgumentParser) -> None:
    describe(
        command,
        "smtppseudo watch --event connected --event closed --ip 192.0.2.0/24",
        "One line an event, as in the log. When the server restarts, `watch` connects again and goes on. Of several"
        " servers, the lines have the field `server` and are in order within a second.",
    )
    add_access(command, has_several=True)
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


def run(options: argparse.Namespace) -> int:
    """Print events until interrupted, or until standard output has no reader."""
    accesses = access_to(options, hosts_of(options))
    if len(accesses) > 1:
        return watch_all(accesses, options)
    watch, access = Watch(options), accesses[0]
    with explained():
        link = access.connect()
        while True:
            try:
                watch.print_events(link)
            except ConnectionLostError as error:
                say(f"{error}; reconnecting")
            link = reconnect(access.connect)
            say(f"{link.place}: connected again")


def reconnect(connect: Callable[[], MonitorLink], sleep: Callable[[float], None] = time.sleep) -> MonitorLink:
    """Retry, with growing pauses, until the server is back. Raises LinkError where waiting cannot help."""
    pause_s = FIRST_PAUSE_S
    while True:
        sleep(pause_s)
        try:
            return connect()
        except (UnreachableError, RefusedError):  # it is not up yet, or has no room yet
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


class Watch:
    """The requested events of a server. Remembers the next one, so that a new connection continues there.

    With a `name`, each event has it as the field `server`.
    """

    def __init__(self, options: argparse.Namespace, name: str = "") -> None:
        self.name = name
        self._as_json: bool = options.json
        self._filters = {name: value for name, value in (("events", options.event), ("ip", options.ip)) if value}
        self._next_seq: int | None = options.from_seq  # None: begin at the login
        self._started_at = ""  # of the server process that sent the last event

    def print_events(self, link: MonitorLink) -> None:
        """Print events until the connection ends. Raises LinkError."""
        for lines in self.follow(link):
            print_at_once([each.line for each in lines])

    def follow(self, link: MonitorLink) -> Iterator[list[Timed]]:
        """Yield events as lines, at least once a second; close the link at the end. Raises LinkError."""
        with link:
            self._subscribe(link)
            while True:
                yield self._lines(link.next_events(_CHECK_S))

    def _subscribe(self, link: MonitorLink) -> None:
        started_at = link.snapshot.started_at
        if self._started_at not in ("", started_at):
            self._say("the server was restarted; its events since the restart follow, as far as it still has them")
            self._next_seq = 1
        self._started_at = started_at
        wanted = link.snapshot.seq + 1 if self._next_seq is None else self._next_seq
        self._next_seq = wanted
        oldest = link.request("subscribe", from_seq=wanted, **self._filters).get("oldest_seq")
        if isinstance(oldest, int) and oldest > wanted:
            self._say(f"events missed: {oldest - wanted}; the server no longer has {wanted} to {oldest - 1}")

    def _lines(self, notices: Iterable[Notice]) -> list[Timed]:
        lines: list[Timed] = []
        for notice in notices:
            if isinstance(notice, Streamed):
                record = {**notice.record, "server": self.name} if self.name else notice.record
                if self._as_json:
                    line = json.dumps({"seq": notice.seq, **record}, separators=(",", ":")) + "\n"
                else:
                    line = render_record(record)
                lines.append(Timed(str(record["time"]), line))
                self._next_seq = notice.seq + 1
            elif isinstance(notice, Dropped):
                self._say(f"events missed here: {notice.count}; they came faster than they were read")
        return lines

    def _say(self, text: str) -> None:
        say(f"{self.name}: {text}" if self.name else text)


_Batches: TypeAlias = "queue.Queue[tuple[Access, list[Timed] | LinkError]]"


def watch_all(accesses: list[Access], options: argparse.Namespace) -> int:
    """Print the events of several servers in one order. Ends if none is left; returns the highest exit status."""
    batches: _Batches = queue.Queue(_BATCHES_MAX)
    merge, statuses = Merge(), list[int]()
    epoch = datetime.now(UTC).timestamp() - time.monotonic()  # the wall clock may jump later

    def start(access: Access) -> None:
        threading.Thread(target=_follow, args=(access, options, batches), daemon=True).start()

    for access in accesses:
        start(access)
    while len(statuses) < len(accesses):
        with contextlib.suppress(queue.Empty):
            access, found = batches.get(timeout=_TURN_S)
            if isinstance(found, list):
                merge.add(access.name, found, epoch + time.monotonic())
            else:
                try:
                    with explained():
                        access.answer(found)
                    start(access)
                except exits.CommandError as error:
                    say(str(error))
                    statuses.append(error.status)
        print_at_once(merge.take(epoch + time.monotonic()))
    return max(statuses)


def _follow(access: Access, options: argparse.Namespace, batches: _Batches) -> None:
    """Queue the events of a server; say once that it is away, and retry. Queue an error that waiting cannot mend."""
    watch, is_away = Watch(options, access.name), False
    while True:
        try:
            link = reconnect(access.dial) if is_away else access.dial()
            if is_away:
                say(f"{access.name}: connected again")
            watch.name = link.server_name or access.name
            for lines in watch.follow(link):
                if lines:
                    batches.put((access, lines))
        except (UnreachableError, RefusedError) as error:
            say(f"{error}; reconnecting")
            is_away = True
        except LinkError as error:
            batches.put((access, error))
            return


def print_at_once(lines: list[str]) -> None:
    """Print lines, LF included. Raises BrokenPipeError if the reader of standard output has ended, like `head`."""
    if lines:
        print_text("".join(lines))
        sys.stdout.flush()
    if not hasattr(select, "poll"):
        return
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)  # POLLERR needs no mask
    if any(found & select.POLLERR for _, found in poll.poll(0)):
        raise BrokenPipeError
