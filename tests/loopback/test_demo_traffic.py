"""Made-up callers at a real server: what it logs about each kind, and that all connections are closed."""

import threading
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from smtppseudo.demo import callers
from smtppseudo.demo.callers import Arrival, CallerKind, ReadReply, Script, Send, Step, Wait
from smtppseudo.demo.traffic import CALLERS_MAX, Traffic
from smtppseudo.events import Closed, Command, Connected, Message
from tests.clients import wait_until
from tests.records import Stamped
from tests.running import Running, Servers, events, matching

SOURCE = "127.66.4.5"


def in_a_row(*scripts: Script, source: str = SOURCE) -> Iterator[Arrival]:
    """Yield arrivals without pauses, and then none for an hour."""
    for each in scripts:
        yield Arrival(0.0, source, each)
    while True:
        yield Arrival(3600.0, source, script())


def script(*steps: Step) -> Script:
    """Return a script of these steps."""
    for step in steps:  # noqa: UP028 - `yield from` would hand replies on, to a tuple
        yield step


def records_of(server: Running, *scripts: Script, source: str = SOURCE) -> list[Stamped]:
    """Let callers connect, wait for the end of their sessions, and return the log records."""
    with Traffic(server.port, in_a_row(*scripts, source=source)):
        server.wait_for_event(Closed, len(scripts))
    return server.records()


def of_kind(servers: Servers, kind: CallerKind, seed: int = 1, **settings: Any) -> list[Stamped]:
    return records_of(servers.start(settings), kind(Random(seed)))


def test_a_caller_connects_from_its_address(servers: Servers) -> None:
    records = records_of(servers.start(), script(ReadReply()), script(ReadReply()))
    assert [record.ip for record in matching(records, Connected)] == [SOURCE, SOURCE]


def test_a_caller_whose_address_cannot_be_bound_connects_from_another(servers: Servers) -> None:
    records = records_of(servers.start(), script(ReadReply()), source="192.0.2.7")
    assert [record.ip for record in matching(records, Connected)] == ["127.0.0.1"]


def test_a_mail_server_is_refused_and_quits(servers: Servers) -> None:
    records = of_kind(servers, callers.mail_server)
    assert [event.reply[:3] for event in events(records, Command)] == ["250", "553", "221"]
    assert [event.reason for event in events(records, Closed)] == ["quit"]
    assert not any(event.pipelined for event in events(records, Command))


def test_a_mail_server_sends_its_message_if_accepted(servers: Servers) -> None:
    records = of_kind(servers, callers.mail_server, accept_mail=True)
    assert len(events(records, Message)) == 1
    assert [event.reason for event in events(records, Closed)] == ["quit"]


def test_a_spam_bot_is_logged_as_pipelining(servers: Servers) -> None:
    records = of_kind(servers, callers.spam_bot)
    commands = events(records, Command)
    assert len(commands) == 8
    assert all(command.pipelined for command in commands[1:])


def test_a_stubborn_bot_is_disconnected_for_errors(servers: Servers) -> None:
    assert [event.reason for event in events(of_kind(servers, callers.stubborn_bot), Closed)] == ["errors"]


def test_a_password_is_not_logged(servers: Servers) -> None:
    said = [event.data for event in events(of_kind(servers, callers.password_guesser, 3), Command)]
    assert "AUTH PLAIN [redacted]" in said


def test_a_reset_is_logged(servers: Servers) -> None:
    records = records_of(servers.start(), script(Send(callers.SSH_BANNER), Wait(0.1), callers.Reset()))
    assert [event.reason for event in events(records, Closed)] == ["reset"]


def test_hostile_bytes_are_sent_unchanged(servers: Servers) -> None:
    (said, *_) = [event.data for event in events(of_kind(servers, callers.hostile_sender), Command)]
    assert said == r"HELO \x1b[2J\x1b[31mowned.invalid"


def test_replies_are_read_whole_and_none_is_lost(servers: Servers) -> None:
    replies: list[bytes] = []

    def listener() -> Script:
        replies.append((yield ReadReply()))
        yield Send(b"EHLO a.test\r\nNOOP\r\n")
        yield Wait(0.05)
        replies.append((yield ReadReply()))
        replies.append((yield ReadReply()))

    records_of(servers.start(), listener())
    assert replies[0].startswith(b"220 ")
    assert replies[1].startswith(b"250-Hello a.test")
    assert replies[1].endswith(b"\r\n250 HELP\r\n")
    assert replies[2] == b"250 OK\r\n"


def test_callers_fill_the_slots_and_are_gone_after_the_block(servers: Servers) -> None:
    server = servers.start({"slots": 4, "evict_after_s": 60})
    scripts = [script(ReadReply(), Wait(3600.0)) for _ in range(4)]
    with Traffic(server.port, in_a_row(*scripts)):
        server.wait_for_event(Connected, 4)
    server.wait_for_event(Closed, 4)
    # A caller that had not read the greeting yet leaves with RST.
    assert {closed.reason for closed in server.events(Closed)} <= {"peer", "reset"}
    assert not any(thread.name.startswith("callers") for thread in threading.enumerate())
    for each in scripts:
        with pytest.raises(StopIteration):
            next(each)


def test_refused_connections_do_not_stop_later_callers(servers: Servers) -> None:
    server = servers.start()
    server.stop()
    came: list[str] = []

    def caller() -> Script:
        came.append("in")
        yield ReadReply()

    def seen() -> Iterator[Arrival]:
        for number in range(3):
            yield Arrival(0.0, SOURCE, caller())
            came.append(f"sent {number}")
        while True:
            yield Arrival(3600.0, SOURCE, caller())

    with Traffic(server.port, seen()):
        wait_until(lambda: "sent 2" in came, "three tries")
    assert "in" not in came


def test_the_number_of_connections_is_bounded(servers: Servers) -> None:
    server = servers.start({"slots": CALLERS_MAX + 20})
    scripts = [script(ReadReply(), Wait(3600.0)) for _ in range(CALLERS_MAX + 10)]
    with Traffic(server.port, in_a_row(*scripts)):
        server.wait_for_event(Connected, CALLERS_MAX)
    server.stop()
    assert len(server.events(Connected)) == CALLERS_MAX


def test_an_exception_in_the_thread_is_raised(servers: Servers) -> None:
    def faulty() -> Script:
        yield ReadReply()
        raise ZeroDivisionError

    server = servers.start()
    with pytest.raises(ExceptionGroup), Traffic(server.port, in_a_row(faulty())):
        server.wait_for_event(Closed)
