"""Doors that stick: newcomers whose socket cannot be closed."""

import errno
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from smtppseudo.events import Error, Refused
from tests.faults.layer import Fault, Layer
from tests.faults.standard_run import InFaults
from tests.monitors import Monitors

MakeBehind = Callable[..., InFaults]


@pytest.fixture
def behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeBehind]:
    """Makes a server behind a layer; in the end the fault must have happened, and been no bug."""
    made: list[InFaults] = []

    def make(fault: Fault, **settings: Any) -> InFaults:
        layer = Layer(fault)
        layer.install(monkeypatch)
        made.append(InFaults(tmp_path, layer, settings))
        return made[-1]

    yield make
    for server in made:
        server.stop()
        assert server.layer.has_failed
        assert server.server.reception.counters.faults == 0


def test_a_sender_turned_away_whose_close_fails_is_counted_and_holds_nobody_up(behind: MakeBehind) -> None:
    server = behind(Fault("close of a socket", errno.EIO, 0), slots=1)
    resident = server.greeted()
    refused = server.connect()
    refused.expect("421 Too many connections")
    refused.expect_end()
    assert server.server.reception.counters.refused == {"slots": 1, "client": 0}
    resident.say("QUIT", "221")
    server.greeted()
    assert (server.events(Refused), server.events(Error)) == ([Refused("slots", 1)], [])


def test_a_monitor_turned_away_whose_close_fails_holds_nobody_up(behind: MakeBehind, monitors: Monitors) -> None:
    server = behind(Fault("close of a socket", errno.EIO, 0))
    waiting = [monitors.greeted(server) for _ in range(2)]
    busy = monitors.newcomer(server)
    assert busy.frame()["error"] == "busy"
    assert busy.rest() == []
    waiting[0].close()
    server.turn()
    monitors.log_in(server)
    assert server.events(Error) == []
