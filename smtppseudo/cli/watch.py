"""`watch`: prints the stream of events of servers; continues after a restart of a server."""

import argparse
import json
import math
import select
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from heapq import heappop, heappush
from typing import Final, TypeAlias

from smtppseudo.cli import exits
from smtppseudo.cli.access import Access, access_to, add_access, run_all
from smtppseudo.cli.messages import print_text, say
from smtppseudo.cli.options import describe, network, whole_number
from smtppseudo.events import NAMES
from smtppseudo.link.errors import RefusedError, UnreachableError
from smtppseudo.link.incoming import Dropped, Streamed
from smtppseudo.link.link import MonitorLink, Notice
from smtppseudo.link.route import shown_names
from smtppseudo.log.records import render_record

FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 30.0
_CHECK_S: Final = 1.0  # between checks that standard output still has a reader
_TURN_S: Final = 0.1
_HOLD_S: Final = 1.0

Timed: TypeAlias = tuple[str, str]
"""The time stamp of an event, and its line."""


def add_watch(command: argparse.ArgumentParser) -> None:
    describe(
        command,
        "smtppseudo watch --event connected --event closed --ip 192.0.2.0/24",
        "One line an event, as in the log. When the server restarts, `watch` connects again and continues. Of several"
        " servers, the lines have the field `server` and are in order within a second.",
    )
    add_access(command, has_several=True)
    add = command.add_argument
    add("--json", action="store_true", help="print each event as a JSON object")
    add("--from-seq", type=whole_number, metavar="N", help="begin with event N; the server keeps the last 1000")
    kinds = sorted(NAMES.values())
    event_help = f"print only events of this kind: {', '.join(kinds)}; may be repeated"
    add("--event", action="append", choices=kinds, metavar="KIND", help=event_help)
    add("--ip", type=network, metavar="ADDRESS", help="print only events of this address or network")


def run(options: argparse.Namespace) -> int:
    """Print events until interrupted, until standard output has no reader, or until every server refuses them."""
    accesses = access_to(options, options.hosts)
    is_alone = len(accesses) == 1
    watches = {access: Watch(options, "" if is_alone else access.name) for access in accesses}
    own_names = dict.fromkeys([access.name for access in accesses], "")  # what each server calls itself
    merge, statuses = Merge(0.0 if is_alone else _HOLD_S), [exits.GOOD]
    epoch = datetime.now(UTC).timestamp() - time.monotonic()  # the wall clock may jump later

    def rename(access: Access, name: str) -> None:
        own_names[access.name] = name
        for watch, shown in zip(watches.values(), shown_names(own_names).values(), strict=True):
            watch.name = watch.name and shown

    for found in run_all(accesses, lambda access: _follow(access, watches[access], rename), _TURN_S):
        now = epoch + time.monotonic()
        if found is not None:
            access, lines = found
            if not isinstance(lines, exits.CommandError):
                merge.add(access.name, lines, now)
            elif is_alone:
                raise lines
            else:
                say(str(lines))
                statuses.append(lines.status)
        print_at_once(merge.take(now))
    print_at_once(merge.take(math.inf))
    return max(statuses)


def _follow(access: Access, watch: "Watch", rename: Callable[[Access, str], None]) -> Iterator[list[Timed]]:
    """Yield the events of a server; say once that it is away, and retry. Raises LinkError where waiting cannot help."""
    link: MonitorLink | None = None
    is_away = False
    while True:
        try:
            link = reconnect(access.dial) if is_away else access.dial()
            if is_away:
                say(f"{link.place}: connected again")
            rename(access, link.server_name)
            yield from filter(None, watch.follow(link))
        except (UnreachableError, RefusedError) as error:
            if link is None and not watch.name:  # the only server must be there at the start
                raise
            say(f"{error}; reconnecting")
            is_away = True


def reconnect(connect: Callable[[], MonitorLink], sleep: Callable[[float], None] = time.sleep) -> MonitorLink:
    """Retry, with growing pauses, until the server is back. Raises LinkError where waiting cannot help."""
    pause_s = FIRST_PAUSE_S
    while True:
        sleep(pause_s)
        try:
            return connect()
        except (UnreachableError, RefusedError):  # it is not up yet, or has no room yet
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


class Merge:
    """Holds lines for `hold_s`, and returns them in the order of their time stamps.

    A line whose stamp is further than that from its arrival, `now` in seconds since the epoch, counts as of its
    arrival: a wrong clock delays no other server. The lines of one server keep their order.
    """

    def __init__(self, hold_s: float = _HOLD_S) -> None:
        self._hold_s = hold_s
        self._held: list[tuple[float, int, str]] = []
        self._count = 0
        self._last: dict[str, float] = {}  # by server, the latest place in the order

    def add(self, server: str, lines: Sequence[Timed], now: float) -> None:
        """Hold lines of a server."""
        for time_stamp, line in lines:
            try:
                at = datetime.fromisoformat(time_stamp).timestamp()
            except (ValueError, OverflowError):  # not from an honest server
                at = 0.0
            at = max(at if abs(at - now) <= self._hold_s else now, self._last.get(server, 0.0))
            self._last[server] = at
            self._count += 1
            heappush(self._held, (at, self._count, line))

    def take(self, now: float) -> list[str]:
        """Return the lines before which none can come any more, in order."""
        lines: list[str] = []
        while self._held and self._held[0][0] <= now - self._hold_s:
            lines.append(heappop(self._held)[2])
        return lines


class Watch:
    """The requested events of a server, with its `name`, if any. A new connection continues after the last event."""

    def __init__(self, options: argparse.Namespace, name: str = "") -> None:
        self.name = name
        self._as_json: bool = options.json
        self._filters = {name: value for name, value in {"events": options.event, "ip": options.ip}.items() if value}
        self._next_seq: int | None = options.from_seq  # None: begin at the login
        self._started_at = ""  # of the server process that sent the last event

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
        self._next_seq = wanted = link.snapshot.seq + 1 if self._next_seq is None else self._next_seq
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
                lines.append((str(record["time"]), line))
                self._next_seq = notice.seq + 1
            elif isinstance(notice, Dropped):
                self._say(f"events missed here: {notice.count}; they came faster than they were read")
        return lines

    def _say(self, text: str) -> None:
        say(f"{self.name}: {text}" if self.name else text)


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
