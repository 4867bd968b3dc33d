"""The account of a log: every line of a session must be in the log, or be counted as lost."""

from collections.abc import Callable

from smtppseudo.events import Connected, Error
from tests.clients import wait_until
from tests.records import Stamped, parse
from tests.running import Running, events

LINES_PER_SESSION = 4
"""Of a session with HELO and QUIT: connected, two commands, closed."""


class Account:
    """Plays sessions on a server, and counts the log lines that must follow."""

    def __init__(self, server: Running) -> None:
        self.server = server
        self.sessions = 0

    def play(self, count: int = 1) -> None:
        """Play sessions; each must get its usual replies."""
        for _ in range(count):
            self.server.play("HELO x")
            self.sessions += 1

    def play_until(self, condition: Callable[[], object], what: str) -> None:
        """Play sessions until the condition holds. `what` names it in the error."""

        def look() -> object:
            self.play()
            return condition()

        wait_until(look, what)

    def play_until_logged(self) -> None:
        """Play sessions until one is in the log again: within a second after the fault has ended."""
        before = self._logged_sessions
        self.play_until(lambda: self._logged_sessions > before, "a session in the log")

    def records(self) -> list[Stamped]:
        """Return the records in the log, without lines that were cut short."""
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
        """Stop the server and check the account; return how many lines the log reports as lost."""
        self.server.stop()
        records = self.records()
        lost = sum(error.lost for error in events(records, Error))
        kept = [record for record in records if not isinstance(record.event, Error)]
        assert len(kept) + lost == 2 + self.sessions * LINES_PER_SESSION  # and online and offline
        return lost

    @property
    def _logged_sessions(self) -> int:
        return self.server.log_text.count("reason=quit")
