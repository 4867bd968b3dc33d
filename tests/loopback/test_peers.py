"""Peers that misbehave: each gets its replies, costs one slot for a limited time, and disturbs no other."""

import socket

import pytest

from smtppseudo.events import Closed, Command
from smtppseudo.loop.connection import Phase
from tests.clients import shrink_send_buffer
from tests.conftest import MakeInside
from tests.load import resident
from tests.running import Servers


def test_commands_before_a_half_close_get_their_replies(servers: Servers) -> None:
    server = servers.start()
    with server.connect() as client:
        client.send("EHLO x", "QUIT")
        client.sock.shutdown(socket.SHUT_WR)
        client.expect("220")
        client.expect("250")
        client.expect("221")
        client.expect_end()
    server.wait_for_event(Closed, reason="quit", commands=2)


def test_a_half_close_without_quit_ends_the_session_after_the_reply(servers: Servers) -> None:
    server = servers.start()
    with server.connect() as client:
        client.send("NOOP")
        client.sock.shutdown(socket.SHUT_WR)
        client.expect("220")
        client.expect("250")
        client.expect_end()
    server.wait_for_event(Closed, reason="peer", commands=1)


@pytest.mark.parametrize("lines", [100, 20_000])
def test_421_after_20_errors_arrives_though_more_commands_follow(servers: Servers, lines: int) -> None:
    server = servers.start()
    with server.connect() as client:
        client.sock.sendall(b"BOGUS\r\n" * lines)
        client.expect("220")
        for _ in range(19):
            client.expect("500 Command unrecognized: BOGUS")
        client.expect("421 Too many errors")
        client.expect_end()
    server.wait_for_event(Closed, reason="errors", commands=20)


def test_a_peer_that_sends_on_after_421_is_closed_after_2_seconds(inside: MakeInside) -> None:
    server = inside()
    client = server.greeted()
    client.send(*["BOGUS"] * 25)
    for _ in range(19):
        client.expect("500")
    client.expect("421")
    client.expect_end()
    client.send("BOGUS")
    server.turn()
    assert server.events(Closed) == []
    server.advance(2.1)
    assert [closed.reason for closed in server.events(Closed)] == ["errors"]
    assert server.server.reception.slots.in_use == 0


def test_421_after_1000_commands(servers: Servers) -> None:
    server = servers.start()
    with server.connect() as client:
        client.send(*["NOOP"] * 1000)
        client.expect("220")
        for _ in range(999):
            client.expect("250")
        client.expect("421 Too many errors")
        client.expect_end()


def test_an_endless_line_takes_no_memory(servers: Servers) -> None:
    server = servers.start()
    with server.connect() as client:
        client.expect("220")
        client.sock.sendall(b"x" * 3000)
        client.expect("500 Line too long")
        before = resident(server)
        for _ in range(64):
            client.sock.sendall(b"x" * (1 << 20))
        client.sock.sendall(b"\r\n")
        client.say("NOOP", "250")
        assert resident(server) - before < 1 << 20


def test_an_endless_message_takes_no_memory(servers: Servers) -> None:
    server = servers.start({"accept_mail": True})
    with server.connect() as client:
        client.expect("220")
        for line, start in (("MAIL FROM:<a@b>", "250"), ("RCPT TO:<c@d>", "250"), ("DATA", "354")):
            client.say(line, start)
        client.sock.sendall(b"x" * 3000)
        before = resident(server)
        for _ in range(64):
            client.sock.sendall(b"x" * (1 << 20))
        client.sock.sendall(b"\r\n.\r\n")
        client.expect("552")
        assert resident(server) - before < 1 << 20


def test_a_listener_that_closes_in_the_turn_of_a_connection_is_no_bug(inside: MakeInside) -> None:
    server = inside()

    class Closes:
        def ready(self, now: float) -> None:
            server.server.go_offline("test")

        def fault(self, error: Exception, /) -> None:
            raise error

    ours, theirs = socket.socketpair()
    with ours, theirs, socket.socket() as caller:
        server.server.reactor.watch(theirs.fileno(), Closes())
        ours.send(b"now")  # ready first, so called first
        caller.connect(("127.0.0.1", server.port))
        server.turn()
        server.server.reactor.unwatch(theirs.fileno())
    assert server.server.reception.counters.faults == 0
    server.server.go_online("test")


def test_a_peer_that_sends_byte_by_byte_is_served(servers: Servers) -> None:
    server = servers.start()
    with server.connect() as client:
        client.expect("220")
        for byte in b"MAIL FROM:<a@b>\r\nQUIT\r\n":
            client.sock.sendall(bytes([byte]))
        client.expect("553 Sender <a@b> is Invalid!")
        client.expect("221")
        client.expect_end()
    server.wait_for_event(Closed, reason="quit", commands=2)


def test_commands_before_a_reset_are_not_processed(inside: MakeInside) -> None:
    server = inside()
    client = server.greeted()
    client.send(*["NOOP"] * 300)
    client.reset()
    server.turn_until(lambda: server.events(Closed), "the end of the session")
    (closed,) = server.events(Closed)
    assert (server.events(Command), closed.reason) == ([], "reset")


def test_300_commands_before_a_half_close_get_their_replies(inside: MakeInside) -> None:
    server = inside()
    client = server.greeted()
    client.send(*["NOOP"] * 300)
    client.sock.shutdown(socket.SHUT_WR)
    server.turn_until(lambda: server.events(Closed), "the end of the session")
    assert client.rest() == b"250 OK\r\n" * 300
    (closed,) = server.events(Closed)
    assert (len(server.events(Command)), closed.reason) == (300, "peer")


def test_the_last_reply_reaches_a_peer_that_reads_slowly(inside: MakeInside) -> None:
    """The kernel has not taken all replies when the session ends."""
    server = inside()
    client = server.connect(receive_buffer_bytes=2304)
    client.expect("220")
    (connection,) = filter(None, server.server.reception._connections)
    shrink_send_buffer(connection.sock)
    client.send(*["EHLO me"] * 400, "QUIT")
    server.turn_until(lambda: connection._phase is Phase.FLUSHING, "the kernel takes no more")
    for _ in range(400):
        client.expect("250-Hello me")
    client.expect("221")
    client.expect_end()
    assert server.events(Closed)[0].reason == "quit"
