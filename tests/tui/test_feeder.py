"""The feeder, with a fake link and no thread."""

import threading
from typing import Any

import pytest

from smtppseudo.link.errors import ClosedError
from smtppseudo.link.incoming import Streamed
from smtppseudo.link.link import Notice
from smtppseudo.link.route import Route
from smtppseudo.tui.feeder import BACKLOG_EVENTS, EventBatch, Feeder
from tests.tui.scene import event, link_up

READ_EVENTS = 400


class FakeLink:
    """A link that has events at every read, and is lost after `reads` of them."""

    place, address, port, server, user = "127.0.0.1 port 26", "127.0.0.1", 26, "smtppseudo 1.0.0", "cookie"
    snapshot = link_up().snapshot

    def __init__(self, reads: int) -> None:
        self.reads = reads
        self.done = 0

    def request(self, op: str, **fields: object) -> None:
        """Subscribe."""

    def post(self, op: str, **fields: object) -> int:
        """Ask for the status, and never reply."""
        return 1

    def next_events(self, timeout_s: float) -> list[Notice]:
        """Return the next events."""
        if self.done == self.reads:
            raise ClosedError("the end")
        self.done += 1
        last = self.done * READ_EVENTS
        return [event(seq, "online", by="start") for seq in range(last - READ_EVENTS + 1, last + 1)]


class Room(threading.Event):
    """Records how much was read when the feeder began to wait; then the screen takes it."""

    def __init__(self, feeder: Feeder, link: FakeLink) -> None:
        super().__init__()
        self.feeder, self.link = feeder, link
        self.reads: list[int] = []
        self.taken: list[int] = []

    def wait(self, timeout: float | None = None) -> bool:
        """Take everything."""
        assert not self.is_set()
        self.reads.append(self.link.done)
        batches = [update for update in self.feeder.take() if isinstance(update, EventBatch)]
        self.taken += [each.seq for batch in batches for each in batch.notices if isinstance(each, Streamed)]
        assert self.is_set()
        return True


def test_reading_stops_while_the_screen_has_a_backlog() -> None:
    link: Any = FakeLink(reads=7)
    feeder = Feeder(keys=Any)  # type: ignore[arg-type]  # it does not connect
    feeder._room = room = Room(feeder, link)
    with pytest.raises(ClosedError):
        feeder._follow(Route(link, "", is_own=True))
    assert READ_EVENTS * 2 < BACKLOG_EVENTS <= READ_EVENTS * 3
    assert room.reads == [3, 6]
    assert room.taken == list(range(1, 6 * READ_EVENTS + 1))
    assert len(feeder.take()) == 1
