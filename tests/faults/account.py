"""The account of a log: what was played must be in it, or be counted as lost, right to the line."""

from collections.abc import Callable

from smtppseudo.events import Connected, Error, Stamped
from smtppseudo.log.records import parse
from tests.clients import wait_until
from tests.running import Running, events

LINES_PER_SESSION = 4
"""Of a session that says HELO and QUIT: connected, two commands, closed."""


class Account:
    """Plays sessions on a server, and keeps the account of the lines that makes."""

    def __init__(self, server: Running) -> None:
        self.server = server
        self.sessions = 0

    def play(self, count: int = 1) -> None:
        """Play sessions; each is answered as ever."""
        for _ in range(count):
            self.server.play("HELO x")
            self.sessions += 1

    def play_until(self, condition: Callable[[], object], what: str) -> None:
        """Play on until something has become true."""

        def look() -> object:
            self.play()
            return condition()

        wait_until(look, what)

    def play_until_logged(self) -> None:
        """Play on until a session is in the log again: at the latest a second after the cause of trouble has gone."""
        before = self._logged_sessions
        self.play_until(lambda: self._logged_sessions > before, "a session in the log")

    def records(self) -> list[Stamped]:
        """Return what is in the log, without lines that were cut short."""
        records = []
        for line in self.server.log_text.splitlines():
            try:
                record = parse(line)
            except ValueError:
                continue
            if not isinstance(record.event, Connected) or record.event.local_port == self.server.port:
                records.append(record)
        return records

    def check(self) -> int:
        """Stop the server, check the account; return how many lines the log says were lost."""
        self.server.stop()
        records = self.records()
        lost = sum(error.lost for error in events(records, Error))
        kept = [record for record in records if not isinstance(record.event, Error)]
        assert len(kept) + lost == 2 + self.sessions * LINES_PER_SESSION  # online and offline, too
        return lost

    @property
    def _logged_sessions(self) -> int:
        return self.server.log_text.count("reason=quit")
