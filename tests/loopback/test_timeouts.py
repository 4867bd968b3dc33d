"""Time-outs over real sockets, on a clock that the test moves."""

from smtppseudo.events import Closed
from smtppseudo.loop.connection import BACKLOG_BYTES_MAX
from tests.clients import Client
from tests.conftest import MakeInside
from tests.inside import Inside

LONG_KEYWORDS = [f"X{number:02d} " + "x" * 480 for number in range(64)]
EHLOS = b"EHLO x\r\n" * 256
"""One read of the server. With these keywords the replies have 8 MiB, more than the kernel takes."""


def test_an_idle_session_gets_421_and_is_closed(inside: MakeInside) -> None:
    server = inside(quiet_timeout_s=0)
    client = server.greeted()
    server.advance(29.9)
    client.say("NOOP", "250")
    server.advance(29.9)
    client.say("NOOP", "250")
    server.advance(30.1)
    client.expect("421 Connection timed out")
    client.expect_end()
    (closed,) = server.events(Closed)
    assert (closed.reason, closed.duration_ms, closed.commands) == ("idle", 89_900, 2)


def test_an_unfinished_command_does_not_restart_the_idle_clock(inside: MakeInside) -> None:
    server = inside(quiet_timeout_s=0)
    client = server.greeted()
    for _ in range(3):
        server.advance(9)
        client.sock.sendall(b"N")
        server.turn()
    server.advance(3.1)
    client.expect("421 Connection timed out")
    client.expect_end()


def test_data_of_a_message_restarts_the_idle_clock(inside: MakeInside) -> None:
    server = inside(quiet_timeout_s=0, accept_mail=True)
    client = server.greeted()
    for line, start in (("MAIL FROM:<a@b>", "250"), ("RCPT TO:<c@d>", "250"), ("DATA", "354")):
        client.say(line, start)
    for _ in range(5):
        server.advance(20)
        client.send("One more line.")
        server.turn()
    client.say(".", "250")
    assert server.events(Closed) == []


def test_a_busy_session_ends_at_the_session_timeout(inside: MakeInside) -> None:
    server = inside(quiet_timeout_s=0)
    client = server.greeted()
    for _ in range(29):
        server.advance(20)
        client.say("NOOP", "250")
    server.advance(20.1)
    client.expect("421 Session timed out")
    client.expect_end()
    (closed,) = server.events(Closed)
    assert (closed.reason, closed.duration_ms) == ("session", 600_100)


def test_without_new_callers_idle_sessions_end_at_the_quiet_timeout(inside: MakeInside) -> None:
    server = inside(idle_timeout_s=600)
    first = server.greeted()
    server.advance(20)
    second = server.greeted()
    server.advance(20)
    first.say("NOOP", "250")
    server.advance(10.1)
    for client in (first, second):
        client.expect("421 Connection timed out")
        client.expect_end()
    assert [closed.reason for closed in server.events(Closed)] == ["quiet", "quiet"]
    third = server.greeted()
    server.advance(30.1)
    third.expect("421")


def test_the_quiet_timeout_spares_a_session_until_it_is_idle(inside: MakeInside) -> None:
    server = inside(idle_timeout_s=600, quiet_timeout_s=10, evict_after_s=5)
    client = server.greeted()
    for _ in range(10):
        server.advance(4)
        client.say("NOOP", "250")
    server.advance(5.1)
    client.expect("421 Connection timed out")
    client.expect_end()
    assert [closed.reason for closed in server.events(Closed)] == ["quiet"]


def begin_message(server: Inside) -> Client:
    client = server.greeted()
    for line, start in (("MAIL FROM:<a@b>", "250"), ("RCPT TO:<c@d>", "250"), ("DATA", "354")):
        client.say(line, start)
    return client


def test_the_quiet_timeout_spares_a_message_in_progress(inside: MakeInside) -> None:
    server = inside(reject_at="message")
    client = begin_message(server)
    for _ in range(5):
        server.advance(20)
        client.send("One more line.")
        server.turn()
    client.say(".", "554 Message refused.")
    client.say("QUIT", "221")


def test_the_quiet_timeout_spares_a_session_whose_reply_is_not_sent(inside: MakeInside) -> None:
    server = inside(quiet_timeout_s=10, idle_timeout_s=600, ehlo_keywords=LONG_KEYWORDS)
    client = server.connect(receive_buffer_bytes=65_536)
    client.sock.sendall(EHLOS)
    server.turn()
    server.advance(20)
    client.expect("220")
    for _ in range(256):
        client.expect("250")
    client.say("QUIT", "221")


def test_the_quiet_timeout_spares_a_session_of_the_tarpit_that_waits_for_its_reply(inside: MakeInside) -> None:
    server = inside(quiet_timeout_s=10, greet_delay_s=60)
    client = server.connect()
    server.advance(20)
    server.advance(30)
    server.advance(11)
    client.expect("220")
    server.advance(5.1)
    client.expect("421")
    assert [closed.reason for closed in server.events(Closed)] == ["quiet"]


def test_the_quiet_timeout_can_be_switched_off(inside: MakeInside) -> None:
    server = inside(idle_timeout_s=600, quiet_timeout_s=0)
    client = server.greeted()
    server.advance(590)
    client.say("NOOP", "250")


def test_a_peer_that_never_reads_costs_one_reply_and_is_closed(inside: MakeInside) -> None:
    server = inside(quiet_timeout_s=0, ehlo_keywords=LONG_KEYWORDS)
    client = server.connect(receive_buffer_bytes=65_536)
    sent_bytes = 0
    for _ in range(4):
        sent_bytes += client.sock.send(EHLOS)
        server.turn()
    (session,) = server.server.reception.slots
    assert session.received_bytes == 2048 < sent_bytes
    server.advance(29)
    assert server.events(Closed) == []
    server.advance(1.2)
    assert [closed.reason for closed in server.events(Closed)] == ["stalled"]
    assert server.server.reception.slots.in_use == 0


def test_the_idle_clock_stops_while_the_kernel_has_not_taken_the_reply(inside: MakeInside) -> None:
    server = inside(quiet_timeout_s=0, ehlo_keywords=LONG_KEYWORDS)
    client = server.connect(receive_buffer_bytes=65_536)
    client.sock.sendall(EHLOS)
    server.turn()
    client.expect("220")
    server.advance(20)
    for _ in range(100):
        client.expect("250")
    server.advance(20)
    for _ in range(156):
        client.expect("250")
    server.turn()
    server.advance(29)
    client.say("QUIT", "221")
    client.expect_end()


def test_a_shorter_quiet_timeout_applies_at_once(inside: MakeInside) -> None:
    server = inside(quiet_timeout_s=3600, idle_timeout_s=3600)
    client = server.greeted()
    server.server.configure(server.server.configuration.with_set({"quiet_timeout_s": 5}, server.server.warn), "", 0)
    server.advance(5.1)
    client.expect("421")
    assert [closed.reason for closed in server.events(Closed)] == ["quiet"]


def test_peers_that_do_not_read_are_closed_at_once_when_they_are_many(inside: MakeInside) -> None:
    server = inside(quiet_timeout_s=0, ehlo_keywords=LONG_KEYWORDS)
    clients = [server.connect(receive_buffer_bytes=65_536) for _ in range(6)]
    for client in clients:
        client.sock.sendall(EHLOS)
        server.turn()
    reception = server.server.reception
    stalled = [closed.reason for closed in server.events(Closed)]
    assert 1 <= len(stalled) < 6
    assert set(stalled) == {"stalled"}
    assert 0 < reception.backlog_bytes <= BACKLOG_BYTES_MAX
    for client in clients:
        client.reset()
    server.turn_until(lambda: reception.slots.in_use == 0, "free slots")
    assert reception.backlog_bytes == 0
