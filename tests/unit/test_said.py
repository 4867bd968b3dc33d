"""Passwords: text sent with AUTH and after it is in no event and in no row."""

from collections.abc import Sequence
from typing import Final

import pytest

from smtppseudo.config.settings import STAGES, Stage
from smtppseudo.events import Event, escape
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
    assert first.data == escape(verb)
    assert [event.data for event in events] == ["[redacted]"] * 2
    assert_hidden(session, events)


@pytest.mark.parametrize("stage", STAGES)
def test_redaction_ends_with_the_next_known_command(stage: Stage) -> None:
    session = greeted(DEFAULTS._replace(reject_at=stage))
    lines = (b"AUTH LOGIN", b"x", b"MAIL FROM:<a@b>", b"xyzzy")
    events = commands(session.receive(b"\r\n".join(lines) + b"\r\n", START))
    assert [event.data for event in events] == ["AUTH LOGIN", "[redacted]", "MAIL FROM:<a@b>", "xyzzy"]


def assert_hidden(session: SmtpSession, events: Sequence[Event]) -> None:
    assert events
    assert SECRET not in repr(events).encode()
    said = heard(session)
    assert SECRET not in repr((said.last, said.helo, said.mail_from)).encode()
