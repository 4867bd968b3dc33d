"""HTTP and TLS on the SMTP port: the session ends, and nothing that came is evidence against a web client."""

import math
from collections.abc import Sequence
from typing import Final

import pytest

from smtppseudo.blocklist.evidence import evidence_of
from smtppseudo.config.settings import EVIDENCE, STAGES, Settings, Stage
from smtppseudo.events import NAMES, Closed, Command, Event
from smtppseudo.smtp.dialogue import Dialogue
from smtppseudo.smtp.said import Said
from smtppseudo.smtp.session import SmtpSession
from smtppseudo.smtp.tarpit import TarpitSession
from tests.certificates import client_hello
from tests.unit.test_smtp_session import DEFAULTS, GREETING, START, commands, greeted

BODY: Final = b"\r\nHost: mx.example.org\r\n\r\nMAIL FROM:<x@y>\r\nAUTH PLAIN x\r\n" + b"x\r\n" * 30
REQUESTS: Final = (
    *(b"GET / HTTP/1.1", b"POST http://mx.example.org/ HTTP/1.1", b"get HTTPS://x", b"OPTIONS * HTTP/1.1"),
    *(b"PRI * HTTP/2.0", b"CONNECT mx.example.org:25", b"CONNECT [2001:db8::1]:25 HTTP/1.1", b"GET x y HTTP/1.0 "),
    *(b"GET /" + b"a" * 3000, b"PUT  /x", b" GET /", b"\r\nGET / HTTP/1.1", b"GET", b"x\r\n" * 18 + b"Host: x"),
    *(b"MAIL / HTTP/1.1", b"AUTH /x HTTP/1.1", b"HELO http://x/ HTTP/1.0 ", b"QUIT * HTTP/1.1", b"rcpt\t/ HTTP/2.0"),
    *(b"DATA /a b HTTP/1.1", b"STARTTLS / HTTP/1.1", b"AUTH /" + b"a" * 3000, b"MAIL /" + b"a" * 3000),
)


def evidence(events: Sequence[Event]) -> set[str]:
    found: set[str] = set()
    for event in events:
        data, pregreet = (event.data, event.pregreet) if isinstance(event, Command) else ("", False)
        reason = event.reason if isinstance(event, Closed) else ""
        found.update(evidence_of(NAMES[type(event)], data, reason, pregreet=pregreet))
    return found & set(EVIDENCE)


@pytest.mark.parametrize("size", [1, 100_000])
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("request_line", REQUESTS)
def test_http_ends_the_session_with_a_500_and_is_no_evidence(stage: Stage, request_line: bytes, size: int) -> None:
    session = greeted(DEFAULTS._replace(reject_at=stage))
    data = request_line + BODY
    events = [event for at in range(0, len(data), size) for event in session.receive(data[at : at + size], START)]
    assert session.close_reason == "http"
    assert evidence([*events, *session.closed("peer", START)]) == set()
    *_, last = session.data_to_send(START).splitlines()
    assert last[:3] == b"500"


@pytest.mark.parametrize("request_line", [*REQUESTS[:8], *REQUESTS[14:-2]])
@pytest.mark.parametrize("settings", [DEFAULTS, DEFAULTS._replace(greet_delay_s=1.0)])
def test_http_before_the_greeting_is_no_evidence(settings: Settings, request_line: bytes) -> None:
    kind = TarpitSession if settings.greet_delay_s else SmtpSession
    session = kind(Dialogue(settings), 1, 1, "192.0.2.1", 50_000, GREETING, START)
    events = [*session.receive_early((request_line + BODY)[:2048], START)]
    session.data_to_send(START + 2)
    events += [*session.tick(START + 2), *session.closed("peer", START + 2)]
    assert session.close_reason == "http"
    assert evidence(events) == set()


@pytest.mark.parametrize("is_above_share", [False, True])
@pytest.mark.parametrize("size", [1, 2, 100_000])
@pytest.mark.parametrize(
    "data",
    [
        client_hello(),
        b"\x16\x03\r\n",
        b"\x16\x03" + b"x" * 3000,
        b"\x16\x03" + b"x" * 3000 + b"\n",
        b"\x16\x03\nNOOP\r\n",
    ],
)
def test_tls_without_starttls_gets_no_reply_and_is_no_event(data: bytes, size: int, is_above_share: bool) -> None:
    session = greeted()
    if is_above_share:
        session.said = Said(-math.inf)
    for at in range(0, len(data), size):
        assert list(session.receive(data[at : at + size], START)) == []
    assert (session.data_to_send(START), session.close_reason) == (b"", "tls_in_clear")
    (closed,) = session.closed("peer", START)
    assert isinstance(closed, Closed)
    assert (closed.reason, closed.received_bytes, closed.commands) == ("tls_in_clear", len(data), 0)


@pytest.mark.parametrize(
    "line",
    [
        *(
            b"XCLIENT ADDR=192.0.2.1 PORT=25",
            b"XFORWARD NAME=[UNAVAILABLE]",
            b"BDAT 86 LAST",
            b"TURN",
            b"xx\r*",
            b"XXXX [IPv6:2001:db8::1]",
            b"SEND FROM:<a@b>",
        ),
        *(
            b"PROXY TCP4 192.0.2.1 192.0.2.2 4000 25",
            b"HELO /",
            b"EHLO x:25",
            b"NOOP /",
            b"HELO x HTTP/1.1",
            b"EHLO host.example",
            b"LHLO x",
            b"x HTTP/1",
        ),
        *(
            b"\x16",
            b"x\x16\x03",
            b"\x80\x16\x03",
            b"STARTTLS *",
            b"help http://x",
            b"XEXCH50 10 2",
            b"*",
            b"hello?",
            b"/",
        ),
    ],
)
def test_other_lines_are_commands(line: bytes) -> None:
    session = greeted()
    (event,) = commands(session.receive(line + b"\r\n", START))
    assert session.close_reason is None
    assert event.data


def test_a_line_of_a_message_is_not_http() -> None:
    session = greeted(DEFAULTS._replace(reject_at="helo"))
    session.receive(b"HELO x\r\nDATA\r\nHost: x\r\nGET / HTTP/1.1\r\n" + b"GET /" + b"a" * 3000, START)
    assert session.close_reason is None


def test_host_after_twenty_lines_is_a_command() -> None:
    session = greeted()
    session.receive(b"NOOP\r\n" * 20 + b"Host: x\r\n", START)
    assert session.close_reason is None
