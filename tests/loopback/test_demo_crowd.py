"""The made-up visitors at a real server: what each kind leaves in its log, and that none is left behind."""

import threading
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from smtppseudo.demo import visits
from smtppseudo.demo.arrivals import Arrival
from smtppseudo.demo.crowd import CALLERS_MAX, Crowd
from smtppseudo.demo.visits import Hear, Kind, Say, Step, Visit, Wait
from smtppseudo.events import Closed, Command, Connected, Message, Stamped
from tests.clients import wait_until
from tests.running import Running, Servers, events, matching

SOURCE = "127.66.4.5"


def in_a_row(*guests: Visit, source: str = SOURCE) -> Iterator[Arrival]:
    """Let them come at once, and nobody after them."""
    for guest in guests:
        yield Arrival(0.0, source, guest)
    while True:
        yield Arrival(3600.0, source, script())


def script(*steps: Step) -> Visit:
    """A visit of given steps."""
    for step in steps:  # noqa: UP028 - `yield from` would hand replies on, to a tuple
        yield step


def records_of(server: Running, *guests: Visit, source: str = SOURCE) -> list[Stamped]:
    """Let guests come, wait until they have all been here, and return what was logged."""
    with Crowd(server.port, in_a_row(*guests, source=source)):
        server.wait_for_event(Closed, len(guests))
    return server.records()


def of_kind(servers: Servers, kind: Kind, seed: int = 1, **settings: Any) -> list[Stamped]:
    return records_of(servers.start(settings), kind(Random(seed)))


def test_they_come_from_the_address_that_is_theirs(servers: Servers) -> None:
    records = records_of(servers.start(), script(Hear()), script(Hear()))
    assert [record.ip for record in matching(records, Connected)] == [SOURCE, SOURCE]


def test_where_that_address_is_not_this_machines_they_come_all_the_same(servers: Servers) -> None:
    records = records_of(servers.start(), script(Hear()), source="192.0.2.7")
    assert [record.ip for record in matching(records, Connected)] == ["127.0.0.1"]


def test_a_mail_server_is_refused_and_leaves(servers: Servers) -> None:
    records = of_kind(servers, visits.mail_server)
    assert [event.reply[:3] for event in events(records, Command)] == [b"250", b"553", b"221"]
    assert [event.reason for event in events(records, Closed)] == ["quit"]
    assert not any(event.pipelined for event in events(records, Command))


def test_a_mail_server_brings_its_message_where_it_is_taken(servers: Servers) -> None:
    records = of_kind(servers, visits.mail_server, accept_mail=True)
    assert len(events(records, Message)) == 1
    assert [event.reason for event in events(records, Closed)] == ["quit"]


def test_a_spam_bot_is_marked(servers: Servers) -> None:
    records = of_kind(servers, visits.spam_bot)
    commands = events(records, Command)
    assert len(commands) == 8
    assert all(command.pipelined for command in commands[1:])


def test_a_deaf_bot_is_thrown_out(servers: Servers) -> None:
    assert [event.reason for event in events(of_kind(servers, visits.deaf_bot), Closed)] == ["errors"]


def test_a_password_is_not_shown(servers: Servers) -> None:
    said = [event.data for event in events(of_kind(servers, visits.password_guesser, 3), Command)]
    assert b"AUTH PLAIN [redacted]" in said


def test_a_scan_is_broken_off(servers: Servers) -> None:
    records = records_of(servers.start(), script(Say(visits.HTTP_REQUEST), Wait(0.1), visits.Reset()))
    assert [event.reason for event in events(records, Closed)] == ["reset"]


def test_hostile_bytes_arrive_as_they_are(servers: Servers) -> None:
    (said, *_) = [event.data for event in events(of_kind(servers, visits.hostile_talker), Command)]
    assert said == b"HELO \x1b[2J\x1b[31mowned.invalid"


def test_a_reply_is_heard_whole_and_none_is_lost(servers: Servers) -> None:
    heard: list[bytes] = []

    def listener() -> Visit:
        heard.append((yield Hear()))
        yield Say(b"EHLO a.test\r\nNOOP\r\n")
        yield Wait(0.05)
        heard.append((yield Hear()))
        heard.append((yield Hear()))

    records_of(servers.start(), listener())
    assert heard[0].startswith(b"220 ")
    assert heard[1].startswith(b"250-Hello a.test")
    assert heard[1].endswith(b"\r\n250 HELP\r\n")
    assert heard[2] == b"250 OK\r\n"


def test_a_crowd_fills_the_slots_and_is_gone_with_the_block(servers: Servers) -> None:
    server = servers.start({"slots": 4, "evict_after_s": 60})
    guests = [script(Hear(), Wait(3600.0)) for _ in range(4)]
    with Crowd(server.port, in_a_row(*guests)):
        server.wait_for_event(Connected, 4)
    server.wait_for_event(Closed, 4, reason="peer")
    assert not any(thread.name.startswith("visitors") for thread in threading.enumerate())
    for guest in guests:
        with pytest.raises(StopIteration):
            next(guest)


def test_visitors_find_the_door_closed_and_others_come_later(servers: Servers) -> None:
    server = servers.start()
    server.stop()
    came: list[str] = []

    def guest() -> Visit:
        came.append("in")
        yield Hear()

    def seen() -> Iterator[Arrival]:
        for number in range(3):
            yield Arrival(0.0, SOURCE, guest())
            came.append(f"sent {number}")
        while True:
            yield Arrival(3600.0, SOURCE, guest())

    with Crowd(server.port, seen()):
        wait_until(lambda: "sent 2" in came, "three tries")
    assert "in" not in came


def test_no_more_come_than_there_is_room_for(servers: Servers) -> None:
    server = servers.start({"slots": CALLERS_MAX + 20})
    guests = [script(Hear(), Wait(3600.0)) for _ in range(CALLERS_MAX + 10)]
    with Crowd(server.port, in_a_row(*guests)):
        server.wait_for_event(Connected, CALLERS_MAX)
    server.stop()
    assert len(server.events(Connected)) == CALLERS_MAX


def test_what_goes_wrong_in_the_thread_is_not_hidden(servers: Servers) -> None:
    def faulty() -> Visit:
        yield Hear()
        raise ZeroDivisionError

    server = servers.start()
    with pytest.raises(ZeroDivisionError), Crowd(server.port, in_a_row(faulty())):
        server.wait_for_event(Closed)
