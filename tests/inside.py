"""A whole server in the test's own thread, over real sockets, on a clock that only the test moves.

The fixture `inside` makes one with the settings that the test names, and closes it. The loop does nothing by itself:

- `turn` runs one turn of the loop; `turn_until` runs turns until a condition holds.
- `advance` moves both clocks, then runs a turn. A time-out of an hour takes no time, and its test needs no sleep.
- A client runs turns while it waits for a reply, so a dialogue reads as with a real server.
- `records` and `events` read the log; `server` is the `Server` itself, with its slots and counters.

    def test_an_idle_session_gets_421_and_is_closed(inside: MakeInside) -> None:
        server = inside(idle_timeout_s=30, quiet_timeout_s=0)
        client = server.greeted()
        server.advance(29.9)
        client.say("NOOP", "250")
        server.advance(30.1)
        client.expect("421 Connection timed out")
        client.expect_end()
        assert [closed.reason for closed in server.events(Closed)] == ["idle"]

Data that a client sends with `send` has arrived when the call returns, but the server reads it only in its next turn.
A deadline is served up to 50 ms late, so advance by a little more: 30.1 s for 30 s. `close` fails if the server had a
bug. For signals, processes, memory and CPU, use the fixture `servers`, which starts real processes.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from smtppseudo.config.layers import Configuration
from smtppseudo.config.settings import check
from smtppseudo.events import Error, Event
from smtppseudo.loop.clock import Clock
from smtppseudo.server.server import Server
from tests.clients import Client, connect, wait_until
from tests.records import Stamped
from tests.running import BASE, E, events, matching, read_records

TURN_S = 0.01
_BILLION = 1_000_000_000
_START_NS = 1_790_000_000 * _BILLION  # a day in September 2026


class FakeTime:
    """Both clocks; they stand still until the test moves them."""

    def __init__(self) -> None:
        self.monotonic_s = 1000.0
        self.wall_ns = _START_NS

    def advance(self, seconds: float) -> None:
        """Move both clocks."""
        self.monotonic_s += seconds
        self.wall_ns += round(seconds * _BILLION)


class Inside:
    """A server that listens on a loopback port, and whose loop turns only when a method here is called."""

    def __init__(self, directory: Path, settings: Mapping[str, Any] | None = None) -> None:
        table = BASE | {"port": 0, "listen": ["127.0.0.1"], "monitor_port": 0, "monitor_listen": ["127.0.0.1"]}
        table |= {"log_dir": str(directory / "log"), "state_dir": str(directory / "state"), **(settings or {})}
        self.said: list[str] = []
        self.time = FakeTime()
        self.log_dir = Path(str(table["log_dir"]))
        checked = {name: check(name, value) for name, value in table.items()}
        self.configuration = Configuration(checked, {}, {}, {"hostname": "mx.example.org"})
        self.settings = self.configuration.settings
        clock = Clock(monotonic=lambda: self.time.monotonic_s, wall_ns=lambda: self.time.wall_ns)
        self.server = Server(self.configuration, self.said.append, clock)
        self.server.open()
        self.port = self.server.smtp_port.places[0][1]
        self._clients: list[Client] = []

    def turn(self) -> None:
        """Run one turn of the loop, which waits for at most 10 ms of real time."""
        self.server.reactor.turn(TURN_S)

    def turn_until(self, condition: Callable[[], object], what: str) -> None:
        """Run turns until the condition holds. `what` names it in the error."""

        def look() -> object:
            self.turn()
            return condition()

        wait_until(look, what, poll_s=0)

    def advance(self, seconds: float) -> None:
        """Move both clocks, and run a turn."""
        self.time.advance(seconds)
        self.turn()

    def reload(self, file: Mapping[str, Any]) -> list[str]:
        """Reload the server with these values in its settings file."""
        self.server.read_file = lambda _: file
        return self.server.reload()

    def connect(self, source: str | None = None, receive_buffer_bytes: int = 0) -> Client:
        """Connect a client, until it is accepted or turned away. The test reads its first reply."""
        before = self._seen
        client = connect("127.0.0.1", self.port, source, self.turn, receive_buffer_bytes)
        self._clients.append(client)
        self.turn_until(lambda: self._seen > before, "accepted")
        return client

    def greeted(self, source: str | None = None) -> Client:
        """Connect a client and read its 220."""
        client = self.connect(source)
        client.expect("220")
        return client

    def records(self, kind: type[Event] | None = None, **fields: object) -> list[Stamped]:
        """Return the records in the log: all, or those of a kind of event."""
        records = read_records(self.log_dir)
        return matching(records, kind, **fields) if kind else records

    def events(self, kind: type[E]) -> list[E]:
        """Return the events of a kind in the log, without their stamps."""
        return events(self.records(), kind)

    def close(self) -> None:
        """Stop the server; fail if it has recorded a bug."""
        for client in self._clients:
            client.close()
        self.server.stop()
        self.server.reactor.close()
        assert self.server.reception.counters.faults == 0, self.records()
        assert [error for error in self.events(Error) if "bug:" in error.message] == []

    @property
    def _seen(self) -> int:
        counters = self.server.reception.counters
        return counters.connected + sum(counters.turned_away.values())
