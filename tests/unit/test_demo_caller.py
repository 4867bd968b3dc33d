"""One made-up caller over a pair of sockets, with a clock that we move."""

import socket
from collections.abc import Iterator

import pytest

from smtppseudo.demo.crowd import HEARD_BYTES_MAX, VISIT_MAX_S, Caller
from smtppseudo.demo.visits import Hear, Say, Visit, Wait

Ends = tuple[socket.socket, socket.socket]


@pytest.fixture
def ends() -> Iterator[Ends]:
    """The caller's end, and the server's."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        yield ours, theirs


def waits(*seconds: float) -> Visit:
    for each in seconds:
        yield Wait(each)


def test_it_wakes_when_a_wait_is_over(ends: Ends) -> None:
    caller = Caller(ends[0], waits(3.0, 5.0), 100.0)
    assert caller.due == 100.0 + VISIT_MAX_S
    assert caller.begin(101.0)
    assert caller.due == 104.0
    assert caller.wake(104.0)
    assert caller.due == 109.0
    assert not caller.wake(109.0)


def test_it_does_not_stay_for_ever(ends: Ends) -> None:
    caller = Caller(ends[0], waits(3600.0, 1.0), 100.0)
    assert caller.begin(100.0)
    assert caller.due == 100.0 + VISIT_MAX_S
    assert not caller.wake(caller.due)


def test_it_hears_whole_replies_however_they_are_cut(ends: Ends) -> None:
    heard: list[bytes] = []

    def visit() -> Visit:
        while True:
            heard.append((yield Hear()))
            yield Say(b"NOOP\r\n")

    caller = Caller(ends[0], visit(), 0.0)
    assert caller.begin(0.0)
    for byte in b"220 a\r\n250-b\r\n250-c d\r\n250 e\r\n421\r\n":
        ends[1].send(bytes([byte]))
        assert caller.receive(0.0)
    ends[1].send(b"221 f\r\n250 g\r\n")
    assert caller.receive(0.0)
    assert heard == [b"220 a\r\n", b"250-b\r\n250-c d\r\n250 e\r\n", b"421\r\n", b"221 f\r\n", b"250 g\r\n"]
    assert ends[1].recv(100) == b"NOOP\r\n" * 5
    assert caller.receive(0.0)  # nothing there: goes on


def test_what_it_does_not_want_to_hear_is_not_piled_up(ends: Ends) -> None:
    caller = Caller(ends[0], waits(60.0), 0.0)
    assert caller.begin(0.0)
    for _ in range(20):
        ends[1].sendall(b"250 " + bytes(4_000) + b"\r\n")
        assert caller.receive(0.0)
    assert len(caller._heard) <= HEARD_BYTES_MAX


def test_it_ends_when_the_server_closes(ends: Ends) -> None:
    caller = Caller(ends[0], waits(60.0), 0.0)
    assert caller.begin(0.0)
    ends[1].close()
    assert not caller.receive(0.0)


def test_it_ends_when_the_kernel_takes_no_more(ends: Ends) -> None:
    def visit() -> Visit:
        while True:
            yield Say(bytes(100_000))

    assert not Caller(ends[0], visit(), 0.0).begin(0.0)
