"""Bugs of the server: each costs some log lines or one session, is reported, and the server continues."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from smtppseudo.events import Command, Connected, Entry, Error, Event
from smtppseudo.loop.reactor import Timer
from tests.inside import Inside


@pytest.fixture
def broken(tmp_path: Path) -> Iterator[Inside]:
    """A server that cannot render one command."""
    inside = Inside(tmp_path)
    render = inside.server.recorder._render

    def stumble(entries: Iterable[Entry]) -> list[str]:
        events = [event for _, _, some in entries for event in some]
        if any(isinstance(event, Command) and event.data == "NOOP bug" for event in events):
            raise KeyError("NOOP")
        return render(entries)

    inside.server.recorder._render = stumble
    yield inside
    inside.server.recorder._render = render
    inside.server.stop()
    inside.server.reactor.close()


def bugs(inside: Inside) -> list[str]:
    return [error.message for error in inside.events(Error) if "bug:" in error.message]


def test_a_bug_in_rendering_costs_only_the_lines_of_its_turn(broken: Inside) -> None:
    client = broken.greeted()
    client.say("NOOP before", "250")
    client.say("NOOP bug", "250")
    client.say("NOOP after", "250")
    broken.turn()
    assert [command.data for command in broken.events(Command)] == ["NOOP before", "NOOP after"]
    (line,) = bugs(broken)
    assert line.startswith("bug: KeyError at ")
    assert line.endswith(": 1 log line lost")
    assert line in broken.said
    counters = broken.server.counters()
    assert (counters["faults"], broken.server.recorder.log.account.lost_lines) == (1, 1)
    client.close()


def test_a_repeated_bug_is_reported_once_a_minute(broken: Inside) -> None:
    client = broken.greeted()
    for _ in range(20):
        client.say("NOOP bug", "250")
    client.say("NOOP after", "250")
    assert len(bugs(broken)) == 1
    assert broken.server.counters()["faults"] == 20
    client.close()
    broken.advance(61)
    with broken.greeted() as client:
        client.say("NOOP bug", "250")
        client.say("NOOP after", "250")
    assert len(bugs(broken)) == 2


def test_a_bug_in_the_log_causes_no_endless_loop(broken: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    with broken.greeted() as client:
        monkeypatch.setattr(broken.server.recorder.log, "prepare", lambda day, now: 1 / 0)
        for _ in range(3):
            client.say("NOOP", "250")
        faults = broken.server.counters()["faults"]
        for _ in range(20):
            broken.turn()
        assert broken.server.counters()["faults"] == faults
        monkeypatch.undo()
        client.say("NOOP again", "250")
    assert "NOOP again" in [command.data for command in broken.events(Command)]


def test_a_bug_in_stop_does_not_keep_the_server_running(broken: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise KeyError("flush")

    monkeypatch.setattr(broken.server.recorder, "flush", fail)
    faults: list[Exception] = []
    reactor = broken.server.reactor
    reactor.on_fault = faults.append
    reactor.wheel.schedule(Timer(reactor, lambda now: broken.server.stop()), reactor.clock.now)
    broken.time.advance(1)
    broken.server.reactor.run()  # it returns
    assert [type(fault) for fault in faults] == [KeyError]


def test_a_bug_in_recording_a_new_session_costs_no_slot(broken: Inside) -> None:
    def see(session: Any, events: Sequence[Event]) -> None:
        if any(isinstance(event, Connected) for event in events):
            raise KeyError

    broken.server.recorder.on_session_events = see
    with broken.connect() as client:
        assert client.rest().endswith(b"421 Internal error\r\n")
    assert broken.server.reception.slots.in_use == 0
    assert broken.server.counters()["faults"] == 1
    broken.server.recorder.on_session_events = None
    with broken.greeted() as client:
        client.say("NOOP", "250")


def test_a_bug_that_occurs_again_in_closing_costs_one_session(broken: Inside) -> None:
    def see(session: Any, events: Sequence[Event]) -> None:
        if session.ip == "127.0.0.7" and session.said is not None:
            raise KeyError

    broken.server.recorder.on_session_events = see
    caught, other = broken.greeted("127.0.0.7"), broken.greeted()
    caught.send("NOOP")
    broken.turn_until(lambda: broken.server.reception.slots.in_use == 1, "a free slot")
    other.say("NOOP", "250")
    assert broken.server.counters()["faults"] == 2
    broken.server.recorder.on_session_events = None
    other.close()
    caught.close()
