"""Peers that do not behave: each hears what it is due, costs one slot for a time, and harms nobody else."""

import socket
from pathlib import Path

import pytest

from smtppseudo.events import Closed, Command
from smtppseudo.loop.connection import Phase
from tests.clients import shrink_send_buffer
from tests.conftest import MakeInside
from tests.running import Servers


def test_what_was_sent_before_a_half_close_is_answered(servers: Servers) -> None:
    server = servers.start()
    with server.connect() as client:
        client.send("EHLO x", "QUIT")
        client.sock.shutdown(socket.SHUT_WR)
        client.expect("220")
        client.expect("250")
        client.expect("221")
        client.expect_end()
    server.wait_for_event(Closed, reason="quit", commands=2)


def test_a_half_close_without_quit_ends_the_session_after_its_answer(servers: Servers) -> None:
    server = servers.start()
    with server.connect() as client:
        client.send("NOOP")
        client.sock.shutdown(socket.SHUT_WR)
        client.expect("220")
        client.expect("250")
        client.expect_end()
    server.wait_for_event(Closed, reason="peer", commands=1)


@pytest.mark.parametrize("lines", [100, 20_000])
def test_421_after_20_errors_arrives_whole_though_more_was_under_way(servers: Servers, lines: int) -> None:
    server = servers.start()
    with server.connect() as client:
        client.sock.sendall(b"BOGUS\r\n" * lines)
        client.expect("220")
        for _ in range(19):
            client.expect("500 Command unrecognized: BOGUS")
        client.expect("421 Too many errors")
        client.expect_end()
    server.wait_for_event(Closed, reason="errors", commands=20)


def test_whoever_keeps_sending_after_421_is_dropped_in_time(inside: MakeInside) -> None:
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


def test_a_thousand_commands_are_enough(servers: Servers) -> None:
    server = servers.start()
    with server.connect() as client:
        client.send(*["NOOP"] * 1000)
        client.expect("220")
        for _ in range(999):
            client.expect("250")
        client.expect("421 Too many errors")
        client.expect_end()


def test_a_line_without_end_keeps_memory_flat(servers: Servers) -> None:
    server = servers.start()
    with server.connect() as client:
        client.expect("220")
        client.sock.sendall(b"x" * 3000)
        client.expect("500 Line too long")
        before = resident_kib(server.pid)
        for _ in range(64):
            client.sock.sendall(b"x" * (1 << 20))
        client.sock.sendall(b"\r\n")
        client.say("NOOP", "250")
        assert resident_kib(server.pid) - before < 1024


def resident_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))


def test_a_message_without_end_keeps_memory_flat(servers: Servers) -> None:
    server = servers.start({"accept_mail": True})
    with server.connect() as client:
        client.expect("220")
        for line, start in (("MAIL FROM:<a@b>", "250"), ("RCPT TO:<c@d>", "250"), ("DATA", "354")):
            client.say(line, start)
        client.sock.sendall(b"x" * 3000)
        before = resident_kib(server.pid)
        for _ in range(64):
            client.sock.sendall(b"x" * (1 << 20))
        client.sock.sendall(b"\r\n.\r\n")
        client.expect("552")
        assert resident_kib(server.pid) - before < 1024


def test_the_accept_of_a_closed_listener_is_no_bug(inside: MakeInside) -> None:
    """The listener can close in the very turn in which its next connection is ready."""
    server = inside()

    class Closes:
        def ready(self, mask: int, now: float) -> None:
            server.server.go_offline("test")

        def fault(self, error: Exception, /) -> None:
            raise error

    ours, theirs = socket.socketpair()
    with ours, theirs, socket.socket() as caller:
        server.server.reactor.watch(theirs.fileno(), Closes())
        ours.send(b"now")  # ready first, so seen to first
        caller.connect(("127.0.0.1", server.port))
        server.turn()
        server.server.reactor.unwatch(theirs.fileno())
    assert server.server.reception.counters.faults == 0
    server.server.go_online("test")


def test_a_peer_that_dribbles_is_served(servers: Servers) -> None:
    server = servers.start()
    with server.connect() as client:
        client.expect("220")
        for byte in b"MAIL FROM:<a@b>\r\nQUIT\r\n":
            client.sock.sendall(bytes([byte]))
        client.expect("553 Sender <a@b> is Invalid!")
        client.expect("221")
        client.expect_end()
    server.wait_for_event(Closed, reason="quit", commands=2)


def test_what_came_before_a_reset_is_not_answered_to_nobody(inside: MakeInside) -> None:
    server = inside()
    client = server.greeted()
    client.send(*["NOOP"] * 300)
    client.reset()
    server.turn_until(lambda: server.events(Closed), "its end")
    (closed,) = server.events(Closed)
    assert (server.events(Command), closed.reason) == ([], "reset")


def test_what_came_before_the_end_of_a_peers_words_is_answered(inside: MakeInside) -> None:
    server = inside()
    client = server.greeted()
    client.send(*["NOOP"] * 300)
    client.sock.shutdown(socket.SHUT_WR)
    server.turn_until(lambda: server.events(Closed), "its end")
    assert client.rest() == b"250 OK\r\n" * 300
    (closed,) = server.events(Closed)
    assert (len(server.events(Command)), closed.reason) == (300, "peer")


def test_the_last_reply_waits_for_a_peer_that_reads_slowly(inside: MakeInside) -> None:
    """The kernel has not taken it all when the session is at its end."""
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
