"""The made-up visitors: what they say, whom they name, when they come."""

import ipaddress
import itertools
import re
import ssl
from collections.abc import Callable, Iterator
from random import Random

import pytest

from smtppseudo.demo import visits
from smtppseudo.demo.arrivals import BURST_MAX, CALM_S, FIRST_CALM_S, Arrival, arrivals
from smtppseudo.demo.visits import Hear, Kind, Reset, Say, Step, Visit, Wait

KINDS: list[Kind] = [
    visits.bot_of_many,
    visits.curious_person,
    visits.deaf_bot,
    visits.hostile_talker,
    visits.mail_server,
    visits.password_guesser,
    visits.port_scanner,
    visits.slow_talker,
    visits.spam_bot,
]
MANY = range(60)
SLOTS = 25

Answer = Callable[[bytes], bytes]


def refuses(line: bytes) -> bytes:
    """Answer as the server does by default."""
    verb = line[:4].upper()
    no = {b"MAIL": b"553 no\r\n", b"RCPT": b"550 no\r\n", b"DATA": b"554 no\r\n", b"AUTH": b"502 no\r\n"}
    return no.get(verb, b"250 Hello\r\n")


def takes(line: bytes) -> bytes:
    """Answer as the server does in accept mode, and as one does that knows AUTH LOGIN."""
    return (
        b"334 VXNlcm5hbWU6\r\n"
        if line.startswith(b"AUTH")
        else b"354 go on\r\n"
        if line == b"DATA\r\n"
        else b"250 OK\r\n"
    )


def steps(visit: Visit, answer: Answer = refuses) -> Iterator[Step]:
    """Play a visit to its end."""
    said, reply = b"", b""
    try:
        step = next(visit)
        while True:
            yield step
            if isinstance(step, Say):
                said = step.data
            reply = (answer(said) if said else b"220 Welcome\r\n") if isinstance(step, Hear) else b""
            step = visit.send(reply)
    except StopIteration:
        return


def said_by(kind: Kind, answer: Answer = refuses) -> list[bytes]:
    """Return all that many visitors of a kind say, each visitor's words in one."""
    return [b"".join(step.data for step in steps(kind(Random(seed)), answer) if isinstance(step, Say)) for seed in MANY]


@pytest.mark.parametrize("answer", [refuses, takes])
@pytest.mark.parametrize("kind", KINDS)
def test_every_visit_ends(kind: Kind, answer: Answer) -> None:
    for seed in MANY:
        assert len(list(itertools.islice(steps(kind(Random(seed)), answer), 500))) < 500


@pytest.mark.parametrize("kind", KINDS)
def test_only_domains_that_are_nobodys_are_named(kind: Kind) -> None:
    for said in said_by(kind) + said_by(kind, takes):
        for domain in re.findall(rb"(?:@|(?i:helo|ehlo) |Host: )([a-z0-9-]+\.[a-z0-9.-]+)", said):
            assert re.search(rb"(?:^|\.)(?:example\.(?:com|net|org)|test|invalid)$", domain), said


def test_a_mail_server_says_one_thing_at_a_time() -> None:
    for seed in MANY:
        talk = [step for step in steps(visits.mail_server(Random(seed))) if not isinstance(step, Wait)]
        assert isinstance(talk[0], Hear)
        assert [type(step) for step in talk[1:]] == [Say, Hear] * (len(talk) // 2)


def test_a_mail_server_takes_a_no_and_says_goodbye() -> None:
    for said in said_by(visits.mail_server):
        verbs = [line[:4] for line in said.splitlines()]
        assert verbs == [b"EHLO", b"MAIL", b"QUIT"]
    assert any(b"MAIL FROM:<> " in said for said in said_by(visits.mail_server))


def test_a_mail_server_sends_its_message_where_it_may() -> None:
    for said in said_by(visits.mail_server, takes):
        assert re.fullmatch(
            rb"EHLO .*\r\nMAIL .*\r\n(RCPT .*\r\n){1,3}DATA\r\nFrom: .*\r\n(.*\r\n)+\.\r\nQUIT\r\n", said
        ), said


def test_a_spam_bot_says_all_at_once_and_hears_nothing() -> None:
    endings = set()
    for seed in MANY:
        talk = list(steps(visits.spam_bot(Random(seed))))
        (said,) = [step.data for step in talk if isinstance(step, Say)]
        assert [line[:4] for line in said.splitlines()] == [b"HELO", b"MAIL", *[b"RCPT"] * 5, b"DATA"]
        assert not any(isinstance(step, Hear) for step in talk)
        endings.add(type(talk[-1]))
    assert endings == {Wait, Reset}


def test_a_password_guesser_tries_both_ways() -> None:
    everything = b"".join(said_by(visits.password_guesser))
    assert everything.count(b"AUTH LOGIN\r\n") > 10
    assert everything.count(b"AUTH PLAIN ") > 10
    assert re.search(
        rb"AUTH LOGIN\r\n[A-Za-z0-9+/=]+\r\n[A-Za-z0-9+/=]+\r\n", said_by(visits.password_guesser, takes)[0]
    )


def test_port_scanners_differ() -> None:
    assert {said[:4] for said in said_by(visits.port_scanner)} == {b"", b"GET ", b"SSH-", b"\x16\x03\x01\x00"}


def test_the_tls_hello_is_one_to_tls() -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).wrap_bio(incoming, outgoing, server_side=True)
    incoming.write(visits.TLS_CLIENT_HELLO)
    with pytest.raises(ssl.SSLError) as raised:
        server.do_handshake()
    # It has been read and understood; there is nothing that both sides know.
    assert raised.value.reason in ("NO_SHARED_CIPHER", "UNSUPPORTED_PROTOCOL"), raised.value


def test_a_slow_talker_takes_a_second_for_an_byte() -> None:
    talk = list(steps(visits.slow_talker(Random(1))))[1:]
    assert {step.data if isinstance(step, Say) else step for step in talk[1::2]} == {Wait(1.0)}
    assert all(isinstance(step, Say) and len(step.data) == 1 for step in talk[::2])


def test_a_hostile_talker_brings_control_characters_and_markup() -> None:
    everything = b"".join(said_by(visits.hostile_talker))
    for harm in (b"\x1b[2J", b"\x1b]0;", b"\x07", b"[bold red", b"[@click", b"\r2026", b"\xff"):
        assert harm in everything


def first(count: int, slots: int = SLOTS) -> list[Arrival]:
    return list(itertools.islice(arrivals(Random(7), slots), count))


def test_visitors_come_from_many_addresses_of_this_machine() -> None:
    sources = [arrival.source for arrival in first(400)]
    assert all(ipaddress.IPv4Address(source) in ipaddress.IPv4Network("127.0.0.0/8") for source in sources)
    assert 60 < len(set(sources)) < 400
    assert [arrival.source for arrival in first(400)] == sources


def test_a_few_come_each_second_and_now_and_then_a_crowd() -> None:
    waits = [arrival.after_s for arrival in first(2_000)]
    names = [getattr(arrival.visit, "__name__", "") for arrival in first(2_000)]
    begun = names.index("bot_of_many")
    assert FIRST_CALM_S <= sum(waits[:begun]) < FIRST_CALM_S + 2
    assert 1 < begun / FIRST_CALM_S < 4
    crowd = next(at for at, name in enumerate(names[begun:]) if name != "bot_of_many")
    assert SLOTS < crowd < 2 * SLOTS
    assert sum(waits[begun : begun + crowd]) < 3
    after = names.index("bot_of_many", begun + crowd)
    assert CALM_S[0] <= sum(waits[begun + crowd : after]) < CALM_S[1] + 2
    assert set(names) == {kind.__name__ for kind in KINDS}


def test_a_crowd_for_very_many_slots_is_not_beyond_measure() -> None:
    names = [getattr(arrival.visit, "__name__", "") for arrival in first(200, slots=60_000)]
    assert names.count("bot_of_many") == BURST_MAX
