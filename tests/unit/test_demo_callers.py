"""Made-up callers: what they send, the domains they name, when they connect."""

import itertools
import re
import ssl
from collections.abc import Callable, Iterator
from random import Random

import pytest

from smtppseudo.demo import callers
from smtppseudo.demo.callers import CallerKind, ReadReply, Reset, Script, Send, Step, Wait

KINDS: list[CallerKind] = [
    callers.burst_bot,
    callers.curious_person,
    callers.stubborn_bot,
    callers.hostile_sender,
    callers.mail_server,
    callers.password_guesser,
    callers.port_scanner,
    callers.slow_sender,
    callers.spam_bot,
]


MANY = range(60)


Answer = Callable[[bytes], bytes]


def refuses(line: bytes) -> bytes:
    """Reply as the server does by default."""
    verb = line[:4].upper()
    no = {b"MAIL": b"553 no\r\n", b"RCPT": b"550 no\r\n", b"DATA": b"554 no\r\n", b"AUTH": b"502 no\r\n"}
    return no.get(verb, b"250 Hello\r\n")


def accepts(line: bytes) -> bytes:
    """Reply like a server that accepts mail and knows AUTH LOGIN."""
    return (
        b"334 VXNlcm5hbWU6\r\n"
        if line.startswith(b"AUTH")
        else b"354 go on\r\n"
        if line == b"DATA\r\n"
        else b"250 OK\r\n"
    )


def steps(script: Script, answer: Answer = refuses) -> Iterator[Step]:
    """Run a script to its end."""
    said, reply = b"", b""
    try:
        step = next(script)
        while True:
            yield step
            if isinstance(step, Send):
                said = step.data
            reply = (answer(said) if said else b"220 Welcome\r\n") if isinstance(step, ReadReply) else b""
            step = script.send(reply)
    except StopIteration:
        return


def sent_by(kind: CallerKind, answer: Answer = refuses) -> list[bytes]:
    """Return the bytes that each of many callers of a kind sends."""
    return [
        b"".join(step.data for step in steps(kind(Random(seed)), answer) if isinstance(step, Send)) for seed in MANY
    ]


@pytest.mark.parametrize("answer", [refuses, accepts])
@pytest.mark.parametrize("kind", KINDS)
def test_every_script_ends(kind: CallerKind, answer: Answer) -> None:
    for seed in MANY:
        assert len(list(itertools.islice(steps(kind(Random(seed)), answer), 500))) < 500


@pytest.mark.parametrize("kind", KINDS)
def test_only_reserved_domains_are_named(kind: CallerKind) -> None:
    for said in sent_by(kind) + sent_by(kind, accepts):
        for domain in re.findall(rb"(?:@|(?i:helo|ehlo) |Host: )([a-z0-9-]+\.[a-z0-9.-]+)", said):
            assert re.search(rb"(?:^|\.)(?:example\.(?:com|net|org)|test|invalid)$", domain), said


def test_a_mail_server_sends_one_command_at_a_time() -> None:
    for seed in MANY:
        talk = [step for step in steps(callers.mail_server(Random(seed))) if not isinstance(step, Wait)]
        assert isinstance(talk[0], ReadReply)
        assert [type(step) for step in talk[1:]] == [Send, ReadReply] * (len(talk) // 2)


def test_a_mail_server_quits_after_a_refusal() -> None:
    for said in sent_by(callers.mail_server):
        verbs = [line[:4] for line in said.splitlines()]
        assert verbs == [b"EHLO", b"MAIL", b"QUIT"]
    assert any(b"MAIL FROM:<> " in said for said in sent_by(callers.mail_server))


def test_a_mail_server_sends_its_message_if_accepted() -> None:
    for said in sent_by(callers.mail_server, accepts):
        assert re.fullmatch(
            rb"EHLO .*\r\nMAIL .*\r\n(RCPT .*\r\n){1,3}DATA\r\nFrom: .*\r\n(.*\r\n)+\.\r\nQUIT\r\n", said
        ), said


def test_a_spam_bot_sends_all_at_once_and_reads_nothing() -> None:
    endings = set()
    for seed in MANY:
        talk = list(steps(callers.spam_bot(Random(seed))))
        (said,) = [step.data for step in talk if isinstance(step, Send)]
        assert [line[:4] for line in said.splitlines()] == [b"HELO", b"MAIL", *[b"RCPT"] * 5, b"DATA"]
        assert not any(isinstance(step, ReadReply) for step in talk)
        endings.add(type(talk[-1]))
    assert endings == {Wait, Reset}


def test_a_password_guesser_tries_both_ways() -> None:
    everything = b"".join(sent_by(callers.password_guesser))
    assert everything.count(b"AUTH LOGIN\r\n") > 10
    assert everything.count(b"AUTH PLAIN ") > 10
    assert re.search(
        rb"AUTH LOGIN\r\n[A-Za-z0-9+/=]+\r\n[A-Za-z0-9+/=]+\r\n", sent_by(callers.password_guesser, accepts)[0]
    )


def test_port_scanners_differ() -> None:
    assert {said[:4] for said in sent_by(callers.port_scanner)} == {b"", b"GET ", b"SSH-", b"\x16\x03\x01\x00"}


def test_the_tls_hello_is_valid() -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).wrap_bio(incoming, outgoing, server_side=True)
    incoming.write(callers.TLS_CLIENT_HELLO)
    with pytest.raises(ssl.SSLError) as raised:
        server.do_handshake()
    # It was parsed; the two sides only have no cipher or version in common.
    assert raised.value.reason in ("NO_SHARED_CIPHER", "UNSUPPORTED_PROTOCOL"), raised.value


def test_a_slow_sender_sends_one_byte_per_second() -> None:
    talk = list(steps(callers.slow_sender(Random(1))))[1:]
    assert {step.data if isinstance(step, Send) else step for step in talk[1::2]} == {Wait(1.0)}
    assert all(isinstance(step, Send) and len(step.data) == 1 for step in talk[::2])


def test_a_hostile_sender_sends_control_characters_and_markup() -> None:
    everything = b"".join(sent_by(callers.hostile_sender))
    for harm in (b"\x1b[2J", b"\x1b]0;", b"\x07", b"[bold red", b"[@click", b"\r2026", b"\xff"):
        assert harm in everything
