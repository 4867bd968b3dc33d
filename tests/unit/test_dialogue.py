"""The dialogue's table: every command in every state, at every stage of refusal."""

import re
from typing import Final, get_args

import pytest

from smtppseudo.config.settings import STAGES, Settings, Stage
from smtppseudo.events import CloseReason
from smtppseudo.smtp import replies
from smtppseudo.smtp.dialogue import Dialogue, SmtpState
from smtppseudo.smtp.said import Said
from smtppseudo.smtp.session import SmtpSession

DATE: Final = "06/01/2012 2:41:11 PM -0700"
DEFAULTS: Final = Settings(hostname="mx.example.org")
ACCEPTING: Final = DEFAULTS._replace(accept_mail=True)
GREETED, READY, MAIL, RCPT, DATA, STARTTLS, CLOSING = SmtpState

# The commands that lead to a state, in accept mode
WAYS: Final = {
    GREETED: b"",
    READY: b"HELO x\r\n",
    MAIL: b"HELO x\r\nMAIL FROM:<a@b>\r\n",
    RCPT: b"HELO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<x>\r\n",
}

# Commands that get the same reply in every state, and do not change it
ANYWHERE: Final = {
    b"HELO": 501,
    b"EHLO": 501,
    b"NOOP": 250,
    b"NOOP x": 250,
    b"HELP": 214,
    b"VRFY x": 252,
    b"VRFY": 501,
    b"EXPN x": 502,
    b"EXPN": 502,
    b"AUTH": 502,
    b"AUTH PLAIN x": 502,
    b"ETRN x": 502,
    b"STARTTLS": 502,
    b"": 500,
    b"XYZZY": 500,
    b"MAILX": 500,
}

Cell = tuple[int, SmtpState]
Row = dict[SmtpState, Cell]


def begin(settings: Settings, ip: str = "192.0.2.1") -> SmtpSession:
    dialogue = Dialogue(settings)
    session = SmtpSession(dialogue, 1, 1, ip, 50_000, dialogue.greeting(ip, DATE), 0.0)
    session.data_to_send(0.0)
    return session


def ask(session: SmtpSession, command: bytes) -> bytes:
    session.receive(command + b"\r\n", 0.0)
    return session.data_to_send(0.0)


def in_state(settings: Settings, state: SmtpState) -> SmtpSession:
    session = begin(settings)
    for command in WAYS[state].splitlines():
        ask(session, command)
    assert session.state is state
    return session


def accept_row(command: bytes) -> Row:
    """Return the reply code of accept mode in each state, and the next state."""
    if command in ANYWHERE:
        return {state: (ANYWHERE[command], state) for state in WAYS}
    rows: dict[bytes, Row] = {
        b"HELO x": dict.fromkeys(WAYS, (250, READY)),
        b"EHLO x": dict.fromkeys(WAYS, (250, READY)),
        b"RSET": dict.fromkeys(WAYS, (250, READY)),
        b"QUIT": dict.fromkeys(WAYS, (221, CLOSING)),
        b"MAIL FROM:<a@b>": {GREETED: (250, MAIL), READY: (250, MAIL), MAIL: (503, MAIL), RCPT: (503, RCPT)},
        b"MAIL": {GREETED: (501, GREETED), READY: (501, READY), MAIL: (503, MAIL), RCPT: (503, RCPT)},
        b"RCPT TO:<x>": {GREETED: (503, GREETED), READY: (503, READY), MAIL: (250, RCPT), RCPT: (250, RCPT)},
        b"RCPT": {GREETED: (503, GREETED), READY: (503, READY), MAIL: (501, MAIL), RCPT: (501, RCPT)},
        b"DATA": {GREETED: (554, GREETED), READY: (554, READY), MAIL: (554, MAIL), RCPT: (354, DATA)},
    }
    return rows[command]


COMMANDS: Final = (
    *ANYWHERE,
    *(b"HELO x", b"EHLO x", b"RSET", b"QUIT", b"MAIL FROM:<a@b>", b"MAIL", b"RCPT TO:<x>", b"RCPT", b"DATA"),
)

# The commands refused at a stage, and the states that can be reached before it
REFUSALS: Final[dict[Stage, dict[bytes, int]]] = {
    "mail": {b"MAIL FROM:<a@b>": 553, b"MAIL": 501, b"RCPT TO:<x>": 550, b"RCPT": 501, b"DATA": 554},
    "rcpt": {b"RCPT TO:<x>": 550, b"RCPT": 501, b"DATA": 554},
    "data": {b"DATA": 554},
    "message": {},
}
REACHED: Final[dict[Stage, tuple[SmtpState, ...]]] = {
    "mail": (GREETED, READY),
    "rcpt": (GREETED, READY, MAIL),
    "data": (GREETED, READY, MAIL, RCPT),
    "message": (GREETED, READY, MAIL, RCPT),
}


def check(settings: Settings, state: SmtpState, command: bytes, expected: Cell) -> None:
    session = in_state(settings, state)
    reply = ask(session, command)
    assert (int(reply[:3]), session.state) == expected
    assert session.is_open is (expected[1] is not CLOSING)


@pytest.mark.parametrize("state", WAYS, ids=lambda state: state.name)
@pytest.mark.parametrize("command", COMMANDS)
def test_accept_mode(state: SmtpState, command: bytes) -> None:
    check(ACCEPTING, state, command, accept_row(command)[state])


@pytest.mark.parametrize(
    ("stage", "state"),
    [(stage, state) for stage, states in REACHED.items() for state in states],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
@pytest.mark.parametrize("command", COMMANDS)
def test_each_stage_refuses_its_commands(stage: Stage, state: SmtpState, command: bytes) -> None:
    settings = DEFAULTS._replace(reject_at=stage)
    code = REFUSALS[stage].get(command)
    check(settings, state, command, accept_row(command)[state] if code is None else (code, state))


@pytest.mark.parametrize(("stage", "code"), [("connect", 521), ("helo", 550)])
@pytest.mark.parametrize("command", COMMANDS)
def test_early_stages_refuse_every_command(stage: Stage, code: int, command: bytes) -> None:
    expected = (221, CLOSING) if command == b"QUIT" else (code, GREETED)
    check(DEFAULTS._replace(reject_at=stage), GREETED, command, expected)


@pytest.mark.parametrize("stage", STAGES)
def test_accept_mode_overrides_reject_at(stage: Stage) -> None:
    overridden, accepting = Dialogue(ACCEPTING._replace(reject_at=stage)), Dialogue(ACCEPTING)
    assert overridden.greeting("", "") == accepting.greeting("", "")
    assert overridden.rules.keys() == accepting.rules.keys()
    check(ACCEPTING._replace(reject_at=stage), RCPT, b"DATA", (354, DATA))


@pytest.mark.parametrize(
    ("accept_mail", "too_big", "expected"),
    [(True, False, 250), (True, True, 552), (False, False, 554), (False, True, 552)],
)
def test_after_a_message_the_state_is_ready(accept_mail: bool, too_big: bool, expected: int) -> None:
    settings = DEFAULTS._replace(accept_mail=accept_mail, reject_at="message", ehlo_keywords=("SIZE 10",))
    session = in_state(settings, RCPT)
    ask(session, b"DATA")
    assert ask(session, b"x" * (9 if too_big else 8) + b"\r\n.")[:3] == str(expected).encode()
    assert session.state is READY


def test_the_default_replies_are_those_of_the_original() -> None:
    session = begin(DEFAULTS, "192.168.0.3")
    for command, reply in {
        b"HELO me": b"250 Hello me from 192.168.0.3, pleased to meet you.",
        b"HELO": b"501 helo requires domain address.",
        b"EHLO": b"501 ehlo requires domain address.",
        b"MAIL FROM: a@b": b"553 Sender a@b is Invalid!",
        b"MAIL": b"501 Domain name required.",
        b"RCPT TO:<x>": b"550 192.168.0.3 will not find any valid users on this server.",
        b"DATA": b"554 No valid recipients.",
        b"RSET": b"250 Reset state.",
        b"NOOP": b"250 OK",
        b"AUTH LOGIN": b"502 Command not implemented.",
        b"xyzzy": b"500 Command unrecognized: xyzzy",
        b"QUIT": b"221 Server Disconnecting",
    }.items():
        assert ask(session, command) == reply + b"\r\n"


@pytest.mark.parametrize("stage", STAGES)
def test_every_farewell_is_a_421(stage: Stage) -> None:
    dialogue = Dialogue(DEFAULTS._replace(reject_at=stage))
    # The other reasons have no farewell: the peer reads nothing, or sent the last line.
    silent = {"quit", "peer", "reset", "stalled", "tls", "tls_in_clear", "http", "blocked"}
    assert set(dialogue.farewells) == set(get_args(CloseReason)) - silent
    assert all(re.fullmatch(rb"421 [ -~]+\r\n", reply) for reply in dialogue.farewells.values())
    texts = {
        "errors": b"Too many errors",
        "idle": b"Connection timed out",
        "session": b"Session timed out",
        "quiet": b"Connection timed out",
        "evicted": b"Too many connections, yours was idle",
        "fault": b"Internal error",
        **dict.fromkeys(("stopped", "disconnected", "shutdown"), b"mx.example.org closing connection"),
    }
    assert dialogue.farewells == {reason: b"421 " + text + b"\r\n" for reason, text in texts.items()}


def test_farewells_hold_enhanced_status_codes() -> None:
    dialogue = Dialogue(DEFAULTS._replace(enhanced_status_codes=True))
    assert all(re.fullmatch(rb"421 4\.[0-7]\.[0-9] [ -~]+\r\n", reply) for reply in dialogue.farewells.values())


@pytest.mark.parametrize("enhanced", [False, True])
def test_the_421_in_place_of_a_greeting_holds_no_enhanced_status_code(enhanced: bool) -> None:
    # RFC 2034 section 4: in every reply but the initial greeting and those to HELO and EHLO
    dialogue = Dialogue(DEFAULTS._replace(enhanced_status_codes=enhanced))
    assert dialogue.too_many_connections == b"421 Too many connections\r\n"


@pytest.mark.parametrize(
    ("keywords", "data"),
    [
        (Settings().ehlo_keywords, 4_000_000),
        (("SIZE 5",), 5),
        (("HELP", "size 5", "SIZE 6"), 5),
        (("SIZE",), 0),
        (("SIZE 0",), 0),
        (("SIZE 5 6",), 0),
        (("SIZE x",), 0),
        (("XSIZE 5",), 0),
        ((), 0),
    ],
)
def test_the_size_announced_is_the_limit(keywords: tuple[str, ...], data: int) -> None:
    assert Dialogue(DEFAULTS._replace(ehlo_keywords=keywords)).max_message_bytes == data


def test_the_time_outs_are_those_of_the_settings() -> None:
    dialogue = Dialogue(DEFAULTS._replace(idle_timeout_s=1.5, session_timeout_s=7.0))
    assert (dialogue.idle_timeout_s, dialogue.session_timeout_s) == (1.5, 7.0)


@pytest.mark.parametrize(
    ("greeting", "by_ip", "expected"),
    [
        ("Welcome!", False, b"220 Welcome!" + DATE.encode() + b"\r\n"),
        ("{hostname}", False, b"220 mx.example.org\r\n"),
        ("{date} ESMTP", False, b"220 " + DATE.encode() + b" ESMTP\r\n"),
        ("{ip}", True, b"220 192.0.2.1\r\n"),
        ("{ip}{ip}{hostname}", True, b"220 192.0.2.1192.0.2.1mx.example.org\r\n"),
        ("{IP} {} %s", False, b"220 {IP} {} %s" + DATE.encode() + b"\r\n"),
    ],
)
def test_the_greeting(greeting: str, by_ip: bool, expected: bytes) -> None:
    dialogue = Dialogue(DEFAULTS._replace(greeting=greeting))
    assert dialogue.greeting("192.0.2.1", DATE) == expected
    assert dialogue.greets_by_ip is by_ip


def test_the_greeting_of_a_refusal_ignores_the_setting() -> None:
    dialogue = Dialogue(DEFAULTS._replace(reject_at="connect", greeting="{ip}"))
    assert dialogue.greeting("192.0.2.1", DATE) == b"521 mx.example.org does not accept mail\r\n"
    assert not dialogue.greets_by_ip


def test_one_dialogue_serves_many_sessions() -> None:
    dialogue = Dialogue(ACCEPTING)
    first, second = (SmtpSession(dialogue, n, n, f"192.0.2.{n}", 50_000, b"", 0.0) for n in (1, 2))
    ask(first, b"HELO one")
    ask(first, b"MAIL FROM:<a@b>")
    assert ask(second, b"HELO two") == b"250 Hello two from 192.0.2.2, pleased to meet you.\r\n"
    assert (first.state, second.state) == (MAIL, READY)
    assert first.said is not None
    assert second.said is not None
    assert (first.said.helo, second.said.helo) == (b"one", b"two")
    assert (first.said.mail_from, second.said.mail_from) == (b"<a@b>", None)


def test_a_path_takes_linear_time() -> None:
    # A pattern that backtracks would take years for any of these.
    session = begin(DEFAULTS)
    for path in (b'<"' * 1000, b"<" + b'"\\' * 1000, b'<"' + b"\\" * 2000, b"<" + b'"a"' * 600 + b'"'):
        assert ask(session, b"MAIL FROM:" + path).startswith(b"553 Sender <")


def test_prepared_replies_are_the_constants() -> None:
    dialogue = Dialogue(ACCEPTING)
    for data, reply in {
        dialogue.line_too_long: replies.R500_TOO_LONG,
        dialogue.message_too_big: replies.R552_TOO_BIG,
        dialogue.message_reply(Said(), "", b""): replies.R250_BIT_BUCKET,
        Dialogue(DEFAULTS).message_reply(Said(), "", b""): replies.R554_REFUSED,
    }.items():
        assert data == f"{reply.code} {reply.text}\r\n".encode()


@pytest.mark.parametrize("enhanced", [False, True])
@pytest.mark.parametrize(
    ("stage", "refusal", "reply"),
    [
        ("connect", "Call {hostname}, {ip} {date} {x} 100%", b"521 Call mx.example.org, 192.0.2.1 {date} {x} 100%"),
        ("helo", "Not for {ip} {echo}", b"550 Not for 192.0.2.1 {echo}"),
        ("mail", "{sender} from {ip} {", b"553 <a@b.test> from 192.0.2.1 {"),
        ("rcpt", "{sender} to {recipient}", b"550 <a@b.test> to <c@d.test>"),
        ("data", "no mail from {sender} %b", b"554 no mail from <a@b.test> %b"),
        ("message", "no mail from {sender}", b"554 no mail from <a@b.test>"),
        ("mail", "x" * 400 + "{sender}" * 20, b"553 " + b"x" * 400 + b"<a@b.test>" * 20),
    ],
)
def test_the_refusal_has_the_text_of_the_setting(stage: Stage, refusal: str, reply: bytes, enhanced: bool) -> None:
    dialogue = Dialogue(DEFAULTS._replace(reject_at=stage, refusal=refusal, enhanced_status_codes=enhanced))
    session = SmtpSession(dialogue, 1, 1, "192.0.2.1", 50_000, dialogue.greeting("192.0.2.1", DATE), 0.0)
    lines = (b"EHLO x", b"MAIL FROM:<a@b.test>", b"RCPT TO:<c@d.test>", b"DATA", b"Text", b".")
    session.receive(b"\r\n".join(lines) + b"\r\n", 0.0)
    replies = session.data_to_send(0.0).split(b"\r\n")
    assert all(len(line) <= 510 for line in replies)
    without_status = [re.sub(rb"^(\d{3} )[245]\.\d\.\d ", rb"\1", line) for line in replies]
    assert [line for line in without_status if line and reply.startswith(line)]
    assert any(len(line) > 500 for line in without_status) is (len(reply) > 510)


def test_a_malformed_command_keeps_its_own_reply() -> None:
    dialogue = Dialogue(DEFAULTS._replace(refusal="no {sender}"))
    session = SmtpSession(dialogue, 1, 1, "192.0.2.1", 50_000, b"", 0.0)
    session.receive(b"MAIL\r\n", 0.0)
    assert session.data_to_send(0.0) == b"501 Domain name required.\r\n"
