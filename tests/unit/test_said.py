"""Passwords: text sent with AUTH and after it is in no event and in no row."""

from collections.abc import Sequence
from typing import Final

import pytest

from smtppseudo.config.settings import STAGES, Settings, Stage
from smtppseudo.events import Event
from smtppseudo.smtp.session import SmtpSession
from tests.unit.test_smtp_session import DEFAULTS, START, commands, greeted, heard

SECRET: Final = b"c2VjcmV0"


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (b"AUTH PLAIN %b", "AUTH PLAIN [redacted]"),
        (b"auth login %b", "auth login [redacted]"),
        (b"AUTH CRAM-MD5 x %b", "AUTH CRAM-MD5 [redacted]"),
        (b"AUTH SCRAM-SHA-256 %b", "AUTH SCRAM-SHA-256 [redacted]"),
        (b"AUTH PLAIN  x  %b ", "AUTH PLAIN [redacted]"),
        (b"AUTH %b", "AUTH [redacted]"),
        (b"AUTH %b x", "AUTH [redacted]"),
        (b"AUTH PLAIN%b", "AUTH [redacted]"),
        (b"AUTH PLAIN\0%b", "AUTH [redacted]"),
        (b"AUTH PLAIN=%b", "AUTH [redacted]"),
        (b"AUTH X-UNKNOWN %b", "AUTH [redacted]"),
        (b"\t Auth\t Plain\t%b", "\\x09 Auth\\x09 Plain [redacted]"),
        (b"AUTH PLAIN %b" + b"x" * 3000, "AUTH PLAIN [redacted]"),
        (b"AUTHPLAIN %b", "AUTH[redacted]"),
        (b"auth=%b", "auth[redacted]"),
        (b"AUTH\0%b\t", "AUTH[redacted]"),
        (b" AUTH=%b" + b"x" * 3000, " AUTH[redacted]"),
        (b"Authorization: Basic %b", "Auth[redacted]"),
    ],
)
def test_text_after_auth_is_redacted(stage: Stage, line: bytes, shown: str) -> None:
    session = greeted(DEFAULTS._replace(reject_at=stage))
    (event,) = commands(session.receive(line % SECRET + b"\r\n", START))
    assert event.data == shown
    assert_hidden(session, [event])


@pytest.mark.parametrize("line", [b"AUTH", b"AUTH ", b"AUTH PLAIN", b"AUTH LOGIN  "])
def test_auth_without_a_password_is_not_redacted(line: bytes) -> None:
    (event,) = commands(greeted().receive(line + b"\r\n", START))
    assert event.data == line.decode()


@pytest.mark.parametrize("enhanced", [False, True])
@pytest.mark.parametrize("stage", STAGES)
def test_unknown_lines_after_auth_are_redacted(stage: Stage, enhanced: bool) -> None:
    session = greeted(DEFAULTS._replace(reject_at=stage, enhanced_status_codes=enhanced))
    lines = (b"AUTH LOGIN", SECRET, SECRET + b" x", b"x " + SECRET, SECRET * 300, b"*", b"")
    events = commands(session.receive(b"\r\n".join(lines) + b"\r\n", START))
    assert [event.data for event in events] == ["AUTH LOGIN"] + ["[redacted]"] * 6
    assert_hidden(session, events)


def test_the_echo_of_a_password_is_redacted() -> None:
    session = greeted()
    _, event = commands(session.receive(b"AUTH LOGIN\r\n" + SECRET + b"\r\n", START))
    assert event.reply == "500 Command unrecognized: [redacted]"
    # The reply to the caller still echoes the line.
    assert session.data_to_send(START).endswith(b"500 Command unrecognized: " + SECRET + b"\r\n")


@pytest.mark.parametrize("pieces", [1, 7, 5000])
def test_a_password_without_a_line_end_is_redacted(pieces: int) -> None:
    session = greeted()
    data = b"AUTH LOGIN\r\n" + SECRET * 300
    events: list[Event] = []
    for at in range(0, len(data), pieces):
        events += session.receive(data[at : at + pieces], START)
    events += session.closed("peer", START)
    assert len(events) == 3
    assert_hidden(session, events)


def test_a_line_after_a_long_auth_line_is_redacted() -> None:
    session = greeted()
    events = session.receive(b"AUTH PLAIN " + b"x" * 3000 + b"\r\n" + SECRET + b"\r\n", START)
    assert_hidden(session, events)


@pytest.mark.parametrize("verb", [b"AUTHLOGIN", b"auth=login", b"\tAuth\0LOGIN", b"AUTH\xa0LOGIN"])
@pytest.mark.parametrize("stage", STAGES)
def test_unknown_lines_after_a_misspelt_auth_are_redacted(stage: Stage, verb: bytes) -> None:
    session = greeted(DEFAULTS._replace(reject_at=stage))
    first, *events = commands(session.receive(b"%b\r\n%b\r\nx %b\r\n" % (verb, SECRET, SECRET), START))
    assert first.data.lower().removeprefix("\\x09") == "auth[redacted]"
    assert [event.data for event in events] == ["[redacted]"] * 2
    assert_hidden(session, events)


@pytest.mark.parametrize("stage", STAGES)
def test_unknown_lines_stay_redacted_after_auth_and_a_known_command(stage: Stage) -> None:
    session = greeted(DEFAULTS._replace(reject_at=stage))
    lines = (b"AUTH LOGIN", b"x", b"MAIL FROM:<a@b>", b"NOOP", b"xyzzy")
    events = commands(session.receive(b"\r\n".join(lines) + b"\r\n", START))
    shown = ["AUTH LOGIN", "[redacted]", "MAIL FROM:<a@b>", "NOOP", "[redacted]"]
    assert [event.data for event in events] == shown


MESSAGE: Final = (
    b"From: someone",
    b"Subject: password is %b" % SECRET,
    b"",
    b"helo %b and more" % SECRET,
    b"mail %b" % SECRET,
    b"NOOP %b" % SECRET,
    b"starttls %b" % SECRET,
    b"%b: x" % SECRET,
)


@pytest.mark.parametrize("stage", ["connect", "helo", "mail", "rcpt", "data"])
def test_a_message_that_is_sent_although_data_was_refused_is_redacted(stage: Stage) -> None:
    session = greeted(DEFAULTS._replace(reject_at=stage))
    events = commands(session.receive(b"\r\n".join((b"DATA", *MESSAGE, b".", b"QUIT")) + b"\r\n", START))
    assert [event.data for event in events] == ["DATA", *["[redacted]"] * len(MESSAGE), ".", "QUIT"]
    assert_hidden(session, events)


@pytest.mark.parametrize(
    "line",
    [
        *(
            b"QUIT",
            b"rset",
            b"data",
            b".",
            b"HELO x",
            b"EHLO [192.0.2.1]",
            b"MAIL FROM:<a@b>",
            b"mail from: a@b SIZE=1",
        ),
        *(b"RCPT TO:<a@b>", b"AUTH", b"AUTH LOGIN", b"STARTTLS"),
    ],
)
def test_a_command_ends_the_redaction_of_a_message(line: bytes) -> None:
    events = commands(greeted().receive(b"DATA\r\nhidden\r\n%b\r\nNOOP shown\r\n" % line, START))
    assert [event.data for event in events[:3]] == ["DATA", "[redacted]", line.decode()]
    assert [event.data for event in events[3:]] in ([], ["[redacted]"], ["NOOP shown"])  # after QUIT, DATA, others


def test_a_line_that_is_too_long_is_redacted_in_a_message() -> None:
    session = greeted()
    events = commands(session.receive(b"DATA\r\n" + SECRET * 300 + b"\r\n", START))
    assert [event.data for event in events] == ["DATA", "[redacted]"]
    assert_hidden(session, events)


@pytest.mark.parametrize("verb", [b"DATA", b"bdat"])
@pytest.mark.parametrize("stage", STAGES)
def test_a_message_after_a_line_that_is_too_long_is_redacted(stage: Stage, verb: bytes) -> None:
    session = greeted(DEFAULTS._replace(reject_at=stage))
    events = commands(session.receive(verb + b" " * 3000 + b"x\r\n" + SECRET + b"\r\n.\r\nNOOP\r\n", START))
    assert [event.data for event in events[1:]] == ["[redacted]", ".", "NOOP"]
    assert_hidden(session, events)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("pieces", [1, 7, 5000])
def test_the_chunk_of_a_bdat_is_dropped(stage: Stage, pieces: int) -> None:
    session = greeted(DEFAULTS._replace(reject_at=stage))
    chunk = b"QUIT\r\nMAIL FROM:<a@b>\r\n"
    data = b"BDAT %d\r\n%bbdat 3 LAST\r\nx\r\nNOOP\r\n" % (len(chunk), chunk)
    events: list[Event] = []
    for at in range(0, len(data), pieces):
        events += session.receive(data[at : at + pieces], START)
    assert [event.data for event in commands(events)] == [f"BDAT {len(chunk)}", "bdat 3 LAST", "NOOP"]
    assert [event.reply.lower() for event in commands(events)[:2]] == ["500 command unrecognized: bdat"] * 2
    assert session.received_bytes == len(data)


@pytest.mark.parametrize("stage", STAGES)
def test_the_chunk_of_a_bdat_after_auth_is_dropped(stage: Stage) -> None:
    session = greeted(DEFAULTS._replace(reject_at=stage))
    events = commands(session.receive(b"AUTH LOGIN\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n", START))
    assert [event.data for event in events] == ["AUTH LOGIN", "[redacted]", "NOOP"]
    assert session.close_reason is None


@pytest.mark.parametrize("settings", [DEFAULTS, DEFAULTS._replace(ehlo_keywords=("SIZE 100",))])
def test_a_chunk_over_the_limit_ends_the_session(settings: Settings) -> None:
    most = 100 if settings.ehlo_keywords == ("SIZE 100",) else 4_000_000
    session = greeted(settings)
    session.receive(b"BDAT %d\r\n" % most, START)
    assert session.close_reason is None
    session = greeted(settings)
    (event,) = commands(session.receive(b"BDAT %d LAST\r\n" % (most + 1), START))
    assert session.data_to_send(START) == b"500 Command unrecognized: BDAT\r\n"
    assert (event.reply[:3], session.close_reason) == ("500", "errors")


@pytest.mark.parametrize("line", [b"BDAT", b"BDAT x", b"BDAT -1", b"BDAT 3 FIRST", b"BDAT " + b"9" * 40])
@pytest.mark.parametrize("stage", STAGES)
def test_a_malformed_bdat_drops_nothing(stage: Stage, line: bytes) -> None:
    session = greeted(DEFAULTS._replace(reject_at=stage))
    events = commands(session.receive(line + b"\r\nNOOP\r\n.\r\n", START))
    assert [event.data for event in events] == [line.decode(), "[redacted]", "."]
    assert events[0].reply == "500 Command unrecognized: BDAT"


def assert_hidden(session: SmtpSession, events: Sequence[Event]) -> None:
    assert events
    assert SECRET not in repr(events).encode()
    said = heard(session)
    assert SECRET not in repr((said.last, said.helo, said.mail_from)).encode()
