"""The recorder: stamps and numbers each event, then logs and passes on the events of each loop turn."""

from collections.abc import Callable, Sequence
from typing import Protocol

from smtppseudo.config.settings import LogFormat
from smtppseudo.events import Batch, Command, Entry, Error, Event, Message, escape_text, origin_of
from smtppseudo.log.lost_lines import Lost, LostLines
from smtppseudo.log.records import renderer
from smtppseudo.loop.clock import Clock
from smtppseudo.monitor.history import History
from smtppseudo.smtp.session import SmtpSession


class Log(Protocol):
    """Where log lines are written: `DatedLog` or `LogStream`. `account` counts the lines that are lost."""

    account: LostLines

    def prepare(self, day: str, now: float) -> Lost | None: ...  # before `write`: the loss that it must report first
    def write(self, lines: list[str], now: float) -> int: ...  # returns their size in bytes, LF included
    def reopen(self) -> None: ...
    def close(self) -> None: ...


class Recorder:
    """Collects the events of a loop turn; `flush` writes and distributes them.

    `history` keeps the latest events. Three optional callbacks: `on_session_events` gets every event of a session at
    once, before any filter; `on_batch` gets the events of a turn, and `on_lines` their log lines. With
    `log_data_events` false, data events are dropped before they are logged or passed on.
    """

    def __init__(self, clock: Clock, log: Log, log_format: LogFormat, server_name: str = "") -> None:
        self.log_data_events = True
        self.on_session_events: Callable[[SmtpSession, Sequence[Event]], None] | None = None
        self.on_batch: Callable[[Batch], None] | None = None
        self.on_lines: Callable[[str], None] | None = None
        self.log = log
        self.history = History()
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
        if not self.log_data_events:
            events = [event for event in events if not isinstance(event, Command | Message)]
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
        if lost is not None:
            self.record(Error(escape_text(f"log lines were lost: {lost.reason}"), lost.lines))
        self._in_flush = entries = self._entries
        self._entries = []
        lines = self._render(entries)
        seqs = range(self._written_seq + 1, self._written_seq + 1 + len(lines))
        if lost is not None:
            lines.insert(0, lines.pop())  # the loss is reported where the gap is
        size = log.write(lines, clock.now)
        if lost is not None and not log.account.was_reported:
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

    def drop(self) -> int:
        """Drop the events that a bug kept `flush` from logging; count and return the lost lines."""
        lines = self.seq - self._written_seq
        self._written_seq += lines
        self._in_flush, self._entries = [], []
        self.log.account.lost_lines += lines  # the caller reports them
        return lines
