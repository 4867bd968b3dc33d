"""The chronicle: stamps each event once, and gives it to the log and to whoever looks on."""

from collections.abc import Callable
from typing import Final

from smtppseudo.events import Command, Error, Event, Message, Stamped, escape
from smtppseudo.journal import Journal
from smtppseudo.net.clock import Clock
from smtppseudo.records import render_json, render_text

_RENDERERS: Final = {"text": render_text, "json": render_json}


class Chronicle:
    """Numbers, stamps and passes on events.

    `followers` get each event as a value, `echo` each line as it is logged. With `log_data_events` false,
    data events are dropped here, for all of them.
    """

    def __init__(self, clock: Clock, journal: Journal, log_format: str) -> None:
        self.seq = 0
        self.log_data_events = True
        self.followers: tuple[Callable[[Stamped], None], ...] = ()
        self.echo: Callable[[str], None] | None = None
        self.journal = journal
        self._clock = clock
        self._render = _RENDERERS[log_format]

    def record(self, event: Event, ip: str = "", slot: int = 0, session: int = 0, port: int = 0) -> None:
        """Take an event in."""
        if not self.log_data_events and isinstance(event, Command | Message):
            return
        self.seq += 1
        stamped = Stamped(self.seq, self._clock.stamp, slot, session, ip, port, event)
        line = self._render(stamped)
        self.journal.add(line)
        if self.echo is not None:
            self.echo(line)
        for follower in self.followers:
            follower(stamped)

    def error(self, message: str) -> None:
        """Take in something that went wrong on our side, in any characters."""
        self.record(Error(escape(message.encode("utf-8", "backslashreplace"))))

    def flush(self) -> None:
        """Write the lines of this turn."""
        self.journal.flush(self._clock.day, self._clock.now, self._lost_line)

    def _lost_line(self, reason: str, count: int) -> str:
        self.seq += 1
        message = escape(f"log lines were lost: {reason}".encode("utf-8", "backslashreplace"))
        stamped = Stamped(self.seq, self._clock.stamp, 0, 0, "", 0, Error(message, count))
        for follower in self.followers:
            follower(stamped)
        return self._render(stamped)
