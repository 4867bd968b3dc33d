"""A session's events, sums, times and limits. The transcripts test its replies."""

from collections.abc import Sequence
from typing import Final, get_args

import pytest

from smtppseudo.config.settings import Settings
from smtppseudo.events import Closed, CloseReason, Command, Event, Message
from smtppseudo.smtp.dialogue import Dialogue, SmtpState
from smtppseudo.smtp.said import LOG_SHARE_BYTES, Said
from smtppseudo.smtp.session import COMMANDS_MAX, ERRORS_MAX, SmtpSession

DEFAULTS: Final = Settings(hostname="mx.example.org")
ACCEPTING: Final = DEFAULTS._replace(accept_mail=True)
GREETING: Final = b"220 hello\r\n"
START: Final = 1000.0
TO_DATA: Final = b"MAIL FROM:<a@b>\r\nRCPT TO:<x>\r\nDATA\r\n"


def begin(settings: Settings = DEFAULTS) -> SmtpSession:
    return SmtpSession(Dialogue(settings), 7, 3, "192.0.2.1", 50_000, GREETING, START)


def greeted(settings: Settings = DEFAULTS) -> SmtpSession:
    session = begin(settings)
    session.data_to_send(START)
    return session


def heard(session: SmtpSession) -> Said:
    assert session.said is not None
    return session.said


def commands(events: Sequence[Event]) -> list[Command]:
    found = [event for event in events if isinstance(event, Command)]
    assert len(found) == len(events)
    return found


def test_a_new_session() -> None:
    session = begin()
    assert (session.origin, session.slot, session.ip) == (" slot=3 session=7 ip=192.0.2.1 port=50000", 3, "192.0.2.1")
    assert (session.started_at, session.idle_since, session.said) == (START, START, None)
    assert session.is_open
    assert session.data_to_send(START) == GREETING
    assert session.data_to_send(START) == b""


def test_data_to_send_returns_all_replies_once() -> None:
    session = begin()
    session.receive(b"NOOP\r\n", START)
    session.receive(b"RSET\r\n", START)
    assert session.data_to_send(START) == GREETING + b"250 OK\r\n250 Reset state.\r\n"
    assert session.data_to_send(START) == b""


@pytest.mark.parametrize(
    ("data", "event"),
    [
        (b"NOOP\r\n", Command("NOOP", "250 OK")),
        (b"NOOP\n", Command("NOOP", "250 OK", eol_lf=True)),
        (b"  noop \t\r\n", Command("  noop \\x09", "250 OK")),
        (b"\0\xff\x1b\r\n", Command("\\x00\\xff\\x1b", "500 Command unrecognized: ???")),
        (b"\r\n", Command("", "500 Command unrecognized: ")),
        (b"HELO " + b"x" * 99 + b"\r\n", Command("HELO " + "x" * 99, "250 Hello " + "x" * 64)),
        (b"x" * 2050 + b"\r\n", Command("x" * 2048, "500 Line too long", truncated_bytes=2)),
        (b"x" * 2049 + b"\n", Command("x" * 2048, "500 Line too long", eol_lf=True, truncated_bytes=1)),
    ],
)
def test_a_command_is_an_event(data: bytes, event: Command) -> None:
    session = greeted()
    (found,) = commands(session.receive(data, START))
    assert found._replace(reply=found.reply[: len(event.reply)]) == event
    assert session.data_to_send(START).startswith(found.reply.encode() + b"\r\n")
    assert heard(session).last == found


def test_the_event_holds_the_first_line_of_a_long_reply() -> None:
    session = greeted()
    (event,) = commands(session.receive(b"EHLO x\r\n", START))
    assert event.reply[:3] == "250"
    assert event.reply[4:] == "Hello x from 192.0.2.1, pleased to meet you."
    assert event.more_lines == len(session.data_to_send(START).splitlines()) - 1 == len(DEFAULTS.ehlo_keywords)


@pytest.mark.parametrize("line", [b"EHLO\r\n", b"EHLO / HTTP/1.1\r\n", b"HELO x\r\n"])
def test_a_reply_of_one_line_has_no_more_lines(line: bytes) -> None:
    (event,) = commands(greeted().receive(line, START))
    assert event.more_lines == 0


def test_pipelined_commands_are_marked() -> None:
    session = greeted()
    events = commands(session.receive(b"NOOP\r\nNOOP\r\nNOOP\nNO", START))
    assert [event.pipelined for event in events] == [False, True, True]
    assert [event.eol_lf for event in events] == [False, False, True]
    (begun_behind,) = commands(session.receive(b"OP\r\n", START))
    assert begun_behind == Command("NOOP", "250 OK", pipelined=True)
    (event,) = commands(session.receive(b"NOOP\r\n", START))
    assert event == Command("NOOP", "250 OK")


def test_a_command_pipelined_after_an_empty_line_is_marked() -> None:
    events = commands(greeted().receive(b"\nNOOP\r\n", START))
    assert [event.pipelined for event in events] == [False, True]


def test_a_command_pipelined_after_a_message_is_marked() -> None:
    session = greeted(ACCEPTING)
    events = session.receive(TO_DATA + b"Text\r\n.\r\nNOOP\r\n", START)
    assert events[2:] == [
        Command("DATA", "354 Enter mail, end with '.' on a line by itself", pipelined=True),
        Message(6),
        Command("NOOP", "250 OK", pipelined=True),
    ]


def test_said_holds_helo_sender_and_last_command() -> None:
    session = greeted()
    session.receive(b"HELO \xffmail.example.net more\r\nMAIL FROM:<" + b"a" * 99 + b">\r\n", START)
    assert heard(session).helo == b"?mail.example.net"
    assert heard(session).mail_from == b"<" + b"a" * 63
    session.receive(b"HELO\r\nMAIL\r\n", START)
    assert heard(session).helo == b"?mail.example.net"
    assert heard(session).last == Command("MAIL", "501 Domain name required.", pipelined=True)


def test_a_message_is_an_event() -> None:
    session = greeted(ACCEPTING)
    session.receive(TO_DATA, START)
    assert session.receive(b"..\r\n.", START) == []
    assert session.receive(b"\r\n", START) == [Message(3)]
    assert heard(session).commands == 3


def test_closed_holds_the_sums_of_a_session() -> None:
    session = begin(ACCEPTING)
    sent = len(session.data_to_send(START))
    received = TO_DATA + b"Text\r\n.\r\n" + b"x" * 3000 + b"\r\nQUIT\r\nNOOP\r\n"
    for byte in received:
        session.receive(bytes([byte]), START)
    sent += len(session.data_to_send(START + 1))
    assert session.closed("peer", START + 1.2346) == [Closed("quit", 1235, len(received), sent, 5)]


def test_unsent_bytes_do_not_count_as_sent() -> None:
    session = begin()
    session.data_to_send(START)
    assert session.closed("reset", START, unsent_bytes=4) == [Closed("reset", 0, 0, len(GREETING) - 4, 0)]


def test_the_close_reason_of_the_session_comes_before_the_peers() -> None:
    session = greeted()
    session.end("idle")
    (closed,) = session.closed("peer", START)
    assert isinstance(closed, Closed)
    assert closed.reason == session.close_reason == "idle"


def test_a_closed_session_stays_closed() -> None:
    session = greeted()
    session.receive(b"x" * 3000, START)
    assert len(session.closed("peer", START)) == 2
    assert session.state is SmtpState.CLOSING
    assert not session.is_open
    assert not session.receive(b"NOOP\r\n", START)
    assert len(session.closed("reset", START)) == 1


@pytest.mark.parametrize("reason", get_args(CloseReason))
def test_end_sends_the_farewell_of_its_reason(reason: CloseReason) -> None:
    session = begin()
    session.end(reason)
    assert not session.is_open
    assert session.close_reason == reason
    assert session.state is SmtpState.CLOSING
    farewell = Dialogue(DEFAULTS).farewells.get(reason, b"")
    assert session.data_to_send(START) == GREETING + farewell


def test_a_second_end_sends_nothing() -> None:
    session = greeted()
    session.receive(b"QUIT\r\n", START)
    session.data_to_send(START)
    session.end("shutdown")
    session.tick(START + 10_000)
    assert session.close_reason == "quit"
    assert session.data_to_send(START) == b""
    assert not session.receive(b"NOOP\r\n", START)
    assert session.data_to_send(START) == b""
    assert session.closed("peer", START) == [Closed("quit", 0, 12, len(GREETING + b"221 Server Disconnecting\r\n"), 1)]


def tls_session() -> SmtpSession:
    session = SmtpSession(Dialogue(ACCEPTING, lambda: True), 7, 3, "192.0.2.1", 50_000, GREETING, START)
    session.receive(b"HELO me\r\n", START)
    session.receive(b"MAIL FROM:<a@b>\r\n", START)
    session.data_to_send(START)
    return session


@pytest.mark.parametrize("before", [b"", b"NOOP\r\n"], ids=["alone", "pipelined"])
def test_starttls_awaits_the_handshake_and_secured_restarts_the_dialogue(before: bytes) -> None:
    session = tls_session()
    assert not session.awaits_tls
    session.receive(before + b"STARTTLS\r\n", START)
    assert session.data_to_send(START).endswith(b"220 Ready to start TLS\r\n")
    assert (session.awaits_tls, session.is_open, session.close_reason) == (True, True, "tls")
    session.secured(START + 9)
    assert (session.awaits_tls, session.is_open, session.close_reason) == (False, True, None)
    assert (session.state, session.idle_since) == (SmtpState.GREETED, START + 9)
    assert (heard(session).helo, heard(session).mail_from) == (None, None)
    session.receive(b"STARTTLS\r\n", START)
    assert session.data_to_send(START) == b"503 TLS is active already.\r\n"


@pytest.mark.parametrize("behind", [b"\n", b"NOOP\r\n"])
def test_bytes_after_starttls_in_the_same_chunk_prevent_the_handshake(behind: bytes) -> None:
    session = tls_session()
    session.receive(b"STARTTLS\r\n" + behind, START)
    assert session.data_to_send(START) == b"220 Ready to start TLS\r\n"
    assert (session.awaits_tls, session.is_open, session.close_reason) == (False, False, "tls")


def test_an_end_before_the_handshake_sends_nothing() -> None:
    session = tls_session()
    session.receive(b"STARTTLS\r\n", START)
    session.data_to_send(START)
    session.end("session")
    assert (session.data_to_send(START), session.awaits_tls, session.close_reason) == (b"", False, "session")


def test_an_idle_session_times_out() -> None:
    session = greeted()
    assert session.deadline == START + 30
    assert session.expires_at == START + 600
    session.tick(START + 29.9)
    assert session.is_open
    assert session.data_to_send(START + 29.9) == b""
    session.tick(START + 30)
    assert session.close_reason == "idle"


def test_only_a_reply_restarts_the_idle_clock() -> None:
    session = greeted()
    session.receive(b"NO", START + 10)
    session.data_to_send(START + 10)
    assert session.idle_since == START
    session.receive(b"OP\r\n", START + 20)
    assert session.idle_since == START
    session.data_to_send(START + 21)
    assert session.idle_since == START + 21


def test_flushed_restarts_the_idle_clock() -> None:
    session = begin()
    session.data_to_send(START)
    session.flushed(START + 25)
    assert session.deadline == START + 55


def test_bytes_of_a_message_restart_the_idle_clock() -> None:
    session = greeted(ACCEPTING)
    session.receive(TO_DATA, START)
    session.data_to_send(START)
    session.receive(b"x", START + 20)
    assert session.deadline == START + 50


def test_an_active_session_ends_at_the_session_time_out() -> None:
    session = greeted()
    session.flushed(START + 590)
    assert session.deadline == START + 600
    session.tick(START + 600)
    assert session.close_reason == "session"


def test_the_limits() -> None:
    assert (ERRORS_MAX, COMMANDS_MAX, LOG_SHARE_BYTES) == (20, 1000, 64 << 10)


def test_a_line_that_is_too_long_is_one_event_with_its_dropped_bytes() -> None:
    session = greeted()
    assert session.receive(b"x" * 2049, START) == []
    assert session.data_to_send(START) == b"500 Line too long\r\n"
    assert heard(session).commands == 1
    assert session.receive(b"x" * 5000, START) == []
    event = Command("x" * 2048, "500 Line too long", truncated_bytes=5001)
    assert commands(session.receive(b"\r\n", START)) == [event]
    assert commands(session.receive(b"NOOP\r\n", START)) == [Command("NOOP", "250 OK")]
    assert session.data_to_send(START) == b"250 OK\r\n"
    assert heard(session).commands == 2


def test_a_long_line_without_an_end_is_an_event_at_the_close() -> None:
    session = greeted()
    session.receive(b"x" * 2049, START)
    sent = len(GREETING) + len(session.data_to_send(START))
    event, closed = session.closed("peer", START)
    assert event == Command("x" * 2048, "500 Line too long", eol_lf=True, truncated_bytes=1)
    assert closed == Closed("peer", 0, 2049, sent, 1)


def test_an_unfinished_line_is_no_event_at_the_close() -> None:
    session = greeted()
    session.receive(b"x" * 2048, START)
    assert list(session.closed("peer", START)) == [Closed("peer", 0, 2048, len(GREETING), 0)]
    assert held_bytes(session) == 0


def test_an_unfinished_message_is_no_event_at_the_close() -> None:
    session = greeted(ACCEPTING)
    session.receive(TO_DATA + b"Text\r\n", START)
    (closed,) = session.closed("peer", START)
    assert isinstance(closed, Closed)


def test_the_event_of_the_last_error_holds_the_421() -> None:
    session = greeted()
    events = commands(session.receive(b"x\r\n" * 21, START))
    assert len(events) == heard(session).commands == 20
    assert {event.reply for event in events[:19]} == {"500 Command unrecognized: x"}
    assert events[19].reply == "421 Too many errors"


@pytest.mark.parametrize("end", [b"", b"\r\n"])
def test_the_last_error_may_be_a_line_that_is_too_long(end: bytes) -> None:
    session = greeted()
    session.receive(b"x\r\n" * 19, START)
    session.data_to_send(START)
    events = session.receive(b"y" * 2049 + end, START)
    assert session.data_to_send(START) == b"421 Too many errors\r\n"
    event, closed = [*events, *session.closed("peer", START)]
    assert isinstance(event, Command)
    assert (event.data, event.reply) == ("y" * 2048, "421 Too many errors")
    assert isinstance(closed, Closed)
    assert (closed.reason, closed.commands) == ("errors", 20)


@pytest.mark.parametrize("line", [b"RCPT TO:<" + b"x" * 2000 + b">", b"RCPT TO:<" + b"\0" * 2000 + b">", b"NOOP"])
def test_every_command_is_an_event(line: bytes) -> None:
    session = greeted()
    assert len(commands(session.receive((line + b"\r\n") * 999, START))) == 999
    assert session.data_to_send(START).count(b"\r\n") == 999


def test_a_session_keeps_nothing_of_a_message() -> None:
    session = greeted(ACCEPTING)
    session.receive(TO_DATA + b"x" * 100_000, START)
    assert held_bytes(session) <= 4


def held_bytes(session: SmtpSession) -> int:
    held = session._held
    kept = (getattr(held, name, b"") for name in ("partial", "_held"))
    return sum(map(len, kept))
