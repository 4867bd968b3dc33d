"""The recorder: stamps and numbers each event, then logs and passes on the events of each loop turn."""

import math
import os
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final, TypeAlias

from smtppseudo.blocklist.evidence import evidence_of
from smtppseudo.config.settings import LogFormat
from smtppseudo.events import (
    Batch,
    Closed,
    Command,
    Entry,
    Error,
    Event,
    Message,
    escape,
    escape_text,
    origin_of,
    split_origin,
    unescape,
)
from smtppseudo.log.dated_files import DatedLog
from smtppseudo.log.records import renderer
from smtppseudo.log.shares import SHORT, Shares
from smtppseudo.log.stream import LogStream
from smtppseudo.loop.clock import Clock
from smtppseudo.monitor.history import History
from smtppseudo.smtp.said import Said
from smtppseudo.smtp.session import SmtpSession

Log: TypeAlias = DatedLog | LogStream

_SHORT_BYTES: Final = 128


class Recorder:
    """Collects the events of a loop turn; `flush` writes and distributes them.

    `history` keeps the latest events. Three optional callbacks: `on_session_events` gets every event of a session at
    once, before any filter; `on_batch` gets the events of a turn, and `on_lines` their log lines. With
    `log_data_events` false, data events are dropped before they are logged or passed on.
    """

    def __init__(self, clock: Clock, log: Log, log_format: LogFormat, server_name: str, shares: Shares) -> None:
        self.log_data_events = True
        self.on_session_events: Callable[[SmtpSession, Sequence[Event]], None] | None = None
        self.on_batch: Callable[[Batch], None] | None = None
        self.on_lines: Callable[[str], None] | None = None
        self.log = log
        self.history = History()
        self.shares = shares
        self._is_short = False
        self._sample_after = self._next_sample()  # log bytes until the next sample
        self._clock = clock
        self._render = renderer(log_format, server_name)
        self._entries: list[Entry] = []
        self._in_flush: list[Entry] = []
        self._written_seq = 0

    @property
    def seq(self) -> int:
        """How many events were recorded."""
        return self._written_seq + sum(len(events) for _, _, events in (*self._in_flush, *self._entries))

    def record(self, event: Event, ip: str = "", port: int = 0) -> None:
        """Record an event that belongs to no session."""
        self._entries.append((self._clock.stamp, origin_of(0, 0, ip, port), (event,)))

    def record_session(self, session: SmtpSession, events: Sequence[Event]) -> None:
        """Record events of a session."""
        if self.on_session_events is not None:
            self.on_session_events(session, events)
        said = session.said
        if not self.log_data_events:
            events = [event for event in events if not isinstance(event, Command | Message)]
        if said is not None and session.received_bytes > said.log_share_bytes:
            events = _logged_in_short(said, events)
        if events:
            self._entries.append((self._clock.stamp, session.origin, events))

    def error(self, message: str) -> None:
        """Record an error of the server. `message` may hold any characters."""
        self.record(Error(escape_text(message)))

    def flush(self) -> None:
        """Log the events of this turn and pass them on."""
        if not self._entries:
            return
        clock, log = self._clock, self.log
        lost = log.prepare(clock.day, clock.now)
        if lost:
            self.record(Error(escape_text(f"log lines were lost: {log.account.reason}"), lost))
        self._in_flush = entries = self._entries
        self._entries = []
        lines = self._render(entries)
        seqs = range(self._written_seq + 1, self._written_seq + 1 + len(lines))
        if lost:
            lines.insert(0, lines.pop())  # the loss is reported where the gap is
        size = log.write(lines, clock.now)
        if lost and not log.account.was_reported:
            entries.pop()  # this report was lost, too; the next one includes its count
            seqs = seqs[:-1]
        self._in_flush = []
        self._written_seq += len(seqs)
        if self.on_lines is not None:
            self.on_lines("".join(lines))
        batch = Batch(seqs, entries)
        self.history.add(batch, size)
        if self.on_batch is not None:
            self.on_batch(batch)
        self._sample_after -= size
        if self._sample_after < 0 and lost:
            self._sample_after = self._next_sample()  # nobody is charged: who lost lines is unknown
        elif self._sample_after < 0:
            self._charge(entries, lines)

    def _charge(self, entries: Sequence[Entry], lines: Sequence[str]) -> None:
        """Charge the source of each sampled byte of this turn; report when the day's bytes begin to run short."""
        was_short, self._is_short = self._is_short, self.log.used >= SHORT
        if self._is_short and not was_short:
            self.error(f"{self.log.used:.0%} of log_max_bytes_per_day are used")
        rest, end = iter(lines), -sum(map(len, lines))
        for _, origin, events in entries:
            end += sum(map(len, islice(rest, len(events))))  # the last entry ends at 0
            while self._sample_after < end:
                self._sample_after += self._next_sample()
                ip = split_origin(origin)[2]
                if ip and (source := self.shares.charge(ip, self._clock.day)):
                    self.error(
                        f"{source} used its share of the day's log: its sessions are logged in short, or counted"
                    )

    def _next_sample(self) -> float:
        """Return how many bytes later the next one is sampled: random, so that no caller can avoid it."""
        return -math.log((int.from_bytes(os.urandom(4)) + 1) / (1 << 32)) * self.shares.sample_bytes

    def drop(self) -> int:
        """Drop the events that a bug kept `flush` from logging; count and return the lost lines."""
        lines = self.seq - self._written_seq
        self._written_seq += lines
        self._in_flush, self._entries = [], []
        self.log.account.lost_lines += lines  # the caller reports them
        return lines


def _logged_in_short(said: Said, events: Sequence[Event]) -> list[Event]:
    """Return what is logged above the share: data events cut, the first of each kind of evidence; count the others."""
    logged: list[Event] = []
    for event in events:
        found = evidence_of("command", event.data, "", pregreet=event.pregreet) if isinstance(event, Command) else ()
        if isinstance(event, Command) and not said.kinds_logged.issuperset(found):
            said.kinds_logged = said.kinds_logged.union(found)
            data = unescape(event.data)
            dropped = event.truncated_bytes + len(data[_SHORT_BYTES:])
            logged.append(event._replace(data=escape(data[:_SHORT_BYTES]), truncated_bytes=dropped))
        elif isinstance(event, Command | Message):
            said.not_logged += 1
        else:
            logged.append(event._replace(not_logged=said.not_logged) if isinstance(event, Closed) else event)
    return [] if said.is_hidden else logged
