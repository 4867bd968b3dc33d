"""The recorder: numbers and stamps each event, then logs and passes on the events of each loop turn."""

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from smtppseudo.config.settings import LogFormat
from smtppseudo.events import Command, Error, Event, Message, Stamped, escape
from smtppseudo.log.lost_lines import Lost, LostLines
from smtppseudo.log.records import renderer
from smtppseudo.loop.clock import Clock
from smtppseudo.monitor.history import History

_new: Final = tuple.__new__


class EventSource(Protocol):
    """The session that an event belongs to: the fields that a record takes from it."""

    ip: str
    slot: int
    session_id: int
    port: int


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
        self.seq = 0
        self.log_data_events = True
        self.on_session_events: Callable[[EventSource, Sequence[Event]], None] | None = None
        self.on_batch: Callable[[Sequence[Stamped]], None] | None = None
        self.on_lines: Callable[[str], None] | None = None
        self.log = log
        self.history = History()
        self._clock = clock
        self._render = renderer(log_format, server_name)
        self._batch: list[Stamped] = []
        self._written_seq = 0

    def record(self, event: Event, ip: str = "", port: int = 0) -> None:
        """Record an event that belongs to no session."""
        self._stamp(event, 0, 0, ip, port)

    def record_session(self, session: EventSource, events: Sequence[Event]) -> None:
        """Record events of a session."""
        if self.on_session_events is not None:
            self.on_session_events(session, events)
        for event in events:
            if self.log_data_events or not isinstance(event, Command | Message):
                self._stamp(event, session.slot, session.session_id, session.ip, session.port)

    def error(self, message: str) -> None:
        """Record an error of the server. `message` may hold any characters."""
        self.record(Error(_plain(message)))

    def flush(self) -> None:
        """Log the events of this turn and pass them on."""
        if not self._batch:
            return
        clock, log = self._clock, self.log
        lost = log.prepare(clock.day, clock.now)
        if lost is not None:
            self._stamp(Error(_plain(f"log lines were lost: {lost.reason}"), lost.lines), 0, 0, "", 0)
        batch, self._batch = self._batch, []
        lines = self._render(batch)
        if lost is not None:
            lines.insert(0, lines.pop())  # the loss is reported where the gap is
        size = log.write(lines, clock.now)
        if lost is not None and not log.account.was_reported:
            batch.pop()  # this report was lost, too; the next one includes its count
            self.seq -= 1
        self._written_seq = self.seq
        if self.on_lines is not None:
            self.on_lines("".join(lines))
        self.history.add(batch, size)
        if self.on_batch is not None:
            self.on_batch(batch)

    def drop(self) -> int:
        """Drop the events that a bug kept `flush` from logging; count and return the lost lines."""
        lines, self._batch = self.seq - self._written_seq, []
        self._written_seq = self.seq
        self.log.account.lost_lines += lines  # the caller reports them
        return lines

    def _stamp(self, event: Event, slot: int, session_id: int, ip: str, port: int) -> None:
        self.seq = seq = self.seq + 1
        # tuple.__new__ takes half the time of Stamped(...), which counts here: every event is stamped.
        self._batch.append(_new(Stamped, (seq, self._clock.stamp, slot, session_id, ip, port, event)))


def _plain(text: str) -> str:
    return escape(text.encode("utf-8", "backslashreplace"))
