"""The recorder: stamps each event once, and gives it to the log and to whoever looks on."""

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from smtppseudo.config.settings import LogFormat
from smtppseudo.events import Command, Error, Event, Message, Stamped, escape
from smtppseudo.log.lost_lines import Lost, LostLines
from smtppseudo.log.records import renderer
from smtppseudo.loop.clock import Clock
from smtppseudo.monitor.history import History

_new: Final = tuple.__new__


class Recorded(Protocol):
    """Where an event belongs to a session: what the recorder notes of that."""

    ip: str
    slot: int
    session_id: int
    port: int


class Log(Protocol):
    """Where the lines go; `account` is of those that could not be written."""

    account: LostLines

    def prepare(self, day: str, now: float) -> Lost | None:
        """Get ready for a `write`; say what its first line is to tell of lines lost."""

    def write(self, lines: list[str], now: float) -> int:
        """Write lines, LF included, or count them as lost; say how many bytes they are."""

    def reopen(self) -> None:
        """Look anew whether it can be written to."""

    def close(self) -> None:
        """Bring all to where it belongs."""


class Recorder:
    """Numbers, stamps and passes on events, a loop turn's worth at a time.

    The latest are kept in `feed`; `followers` get the events as values, `echo` the lines as they are logged. With
    `log_data_events` false, data events are dropped here, for all of them. `on_session_events` is called with every
    event of a session, before any filter.
    """

    def __init__(self, clock: Clock, log: Log, log_format: LogFormat, server_name: str = "") -> None:
        self.seq = 0
        self.log_data_events = True
        self.followers: tuple[Callable[[Sequence[Stamped]], None], ...] = ()
        self.echo: Callable[[str], None] | None = None
        self.on_session_events: Callable[[Recorded, Sequence[Event]], None] | None = None
        self.log = log
        self.feed = History()
        self._clock = clock
        self._render = renderer(log_format, server_name)
        self._batch: list[Stamped] = []
        self._written_seq = 0

    @property
    def lost_lines(self) -> int:
        """How many lines the log has lost."""
        return self.log.account.lost_lines

    def record(self, event: Event, ip: str = "", port: int = 0) -> None:
        """Take in an event that belongs to no session."""
        self._stamp(event, 0, 0, ip, port)

    def record_session(self, session: Recorded, events: Sequence[Event]) -> None:
        """Take in the events of a session."""
        if self.on_session_events is not None:
            self.on_session_events(session, events)
        for event in events:
            if self.log_data_events or not isinstance(event, Command | Message):
                self._stamp(event, session.slot, session.session_id, session.ip, session.port)

    def error(self, message: str) -> None:
        """Take in something that went wrong on our side, in any characters."""
        self.record(Error(_plain(message)))

    def flush(self) -> None:
        """Pass on the events of this turn."""
        if not self._batch:
            return
        clock, log = self._clock, self.log
        lost = log.prepare(clock.day, clock.now)
        if lost is not None:
            self._stamp(Error(_plain(f"log lines were lost: {lost.reason}"), lost.lines), 0, 0, "", 0)
        batch, self._batch = self._batch, []
        lines = self._render(batch)
        if lost is not None:
            lines.insert(0, lines.pop())  # the log tells of the gap where it is
        data = log.write(lines, clock.now)
        if lost is not None and not log.account.was_told:
            batch.pop()  # it could not be told after all; it will be, with what is lost meanwhile
            self.seq -= 1
        self._written_seq = self.seq
        if self.echo is not None:
            self.echo("".join(lines))
        self.feed.add(batch, data)
        for follower in self.followers:
            follower(batch)

    def drop(self) -> int:
        """Give up what a bug kept `flush` from passing on; return how many lines the log has lost by that."""
        lines, self._batch = self.seq - self._written_seq, []
        self._written_seq = self.seq
        self.log.account.give_up(lines)
        return lines

    def _stamp(self, event: Event, slot: int, session_id: int, ip: str, port: int) -> None:
        self.seq = seq = self.seq + 1
        # tuple.__new__ spares the half of what Stamped(...) costs, here where it counts.
        self._batch.append(_new(Stamped, (seq, self._clock.stamp, slot, session_id, ip, port, event)))


def _plain(text: str) -> str:
    return escape(text.encode("utf-8", "backslashreplace"))
