"""A made-up caller's connection over a socket pair, with a clock that the test moves."""

import socket
from collections.abc import Iterator

import pytest

from smtppseudo.demo.callers import ReadReply, Script, Send, Wait
from smtppseudo.demo.traffic import CONNECTION_MAX_S, UNREAD_BYTES_MAX, CallerConnection

Ends = tuple[socket.socket, socket.socket]


@pytest.fixture
def ends() -> Iterator[Ends]:
    """The caller's end, and the server's."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        yield ours, theirs


def waits(*seconds: float) -> Script:
    for each in seconds:
        yield Wait(each)


def test_it_continues_after_a_wait(ends: Ends) -> None:
    caller = CallerConnection(ends[0], waits(3.0, 5.0), 100.0)
    assert caller.due == 100.0 + CONNECTION_MAX_S
    assert caller.begin(101.0)
    assert caller.due == 104.0
    assert caller.wake(104.0)
    assert caller.due == 109.0
    assert not caller.wake(109.0)


def test_a_connection_ends_after_its_maximum_time(ends: Ends) -> None:
    caller = CallerConnection(ends[0], waits(3600.0, 1.0), 100.0)
    assert caller.begin(100.0)
    assert caller.due == 100.0 + CONNECTION_MAX_S
    assert not caller.wake(caller.due)


def test_replies_are_read_whole_in_any_chunks(ends: Ends) -> None:
    replies: list[bytes] = []

    def script() -> Script:
        while True:
            replies.append((yield ReadReply()))
            yield Send(b"NOOP\r\n")

    caller = CallerConnection(ends[0], script(), 0.0)
    assert caller.begin(0.0)
    for byte in b"220 a\r\n250-b\r\n250-c d\r\n250 e\r\n421\r\n":
        ends[1].send(bytes([byte]))
        assert caller.receive(0.0)
    ends[1].send(b"221 f\r\n250 g\r\n")
    assert caller.receive(0.0)
    assert replies == [b"220 a\r\n", b"250-b\r\n250-c d\r\n250 e\r\n", b"421\r\n", b"221 f\r\n", b"250 g\r\n"]
    assert ends[1].recv(100) == b"NOOP\r\n" * 5
    assert caller.receive(0.0)  # nothing to read: it continues


def test_unread_bytes_are_bounded(ends: Ends) -> None:
    caller = CallerConnection(ends[0], waits(60.0), 0.0)
    assert caller.begin(0.0)
    for _ in range(20):
        ends[1].sendall(b"250 " + bytes(4_000) + b"\r\n")
        assert caller.receive(0.0)
    assert len(caller._unread) <= UNREAD_BYTES_MAX


def test_it_ends_when_the_server_closes(ends: Ends) -> None:
    caller = CallerConnection(ends[0], waits(60.0), 0.0)
    assert caller.begin(0.0)
    ends[1].close()
    assert not caller.receive(0.0)


def test_it_ends_when_the_send_buffer_is_full(ends: Ends) -> None:
    def script() -> Script:
        while True:
            yield Send(bytes(100_000))

    assert not CallerConnection(ends[0], script(), 0.0).begin(0.0)
