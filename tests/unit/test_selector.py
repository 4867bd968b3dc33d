"""The selectors: epoll with a list of objects by descriptor, and that of other systems."""

import os
import select
import selectors
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from smtppseudo.loop.listener import Listener, adopt
from smtppseudo.loop.reactor import Reactor
from smtppseudo.loop.selector import READ, WRITE, EpollSelector, SystemSelector

# Also false where SMTPPSEUDO_TEST_SELECTOR names another.
pytestmark = pytest.mark.skipif(selectors.DefaultSelector.__name__ != "EpollSelector", reason="there is no epoll")


class Pair:
    """A selector, and two connected sockets."""

    def __init__(self, kind: type[EpollSelector | SystemSelector]) -> None:
        self.selector = kind()
        self.ours, self.theirs = socket.socketpair()
        self.fd = self.ours.fileno()

    def ready(self) -> list[object]:
        return self.selector.objects(0)


@pytest.fixture(params=[EpollSelector, SystemSelector])
def pair(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    monkeypatch.setattr(selectors, "DefaultSelector", selectors.PollSelector)
    made = Pair(request.param)
    yield made
    made.selector.close()
    made.ours.close()
    made.theirs.close()


@pytest.fixture
def epoll(pair: Pair) -> Pair:
    if isinstance(pair.selector, SystemSelector):
        pytest.skip("only with epoll")
    return pair


def test_a_readable_descriptor_is_reported_until_it_is_read(pair: Pair) -> None:
    pair.selector.watch(pair.fd, "object")
    assert pair.ready() == []
    pair.theirs.send(b"x")
    assert pair.ready() == pair.ready() == ["object"]
    pair.ours.recv(1)
    assert pair.ready() == []


def test_a_time_limit_of_none_waits_for_an_event(pair: Pair) -> None:
    pair.selector.watch(pair.fd, "object", WRITE)
    assert pair.selector.objects(None) == ["object"]


def test_rewatch_changes_mask_and_object(pair: Pair) -> None:
    pair.selector.watch(pair.fd, "reads")
    pair.selector.rewatch(pair.fd, "writes", WRITE)
    assert pair.ready() == ["writes"]
    pair.selector.rewatch(pair.fd, "reads again", READ)
    assert pair.ready() == []
    pair.theirs.send(b"x")
    assert pair.ready() == ["reads again"]


def test_rewatch_with_the_same_mask_changes_the_object(pair: Pair) -> None:
    pair.selector.watch(pair.fd, "before")
    pair.theirs.send(b"x")
    pair.selector.rewatch(pair.fd, "after", READ)
    assert pair.ready() == ["after"]


def test_with_a_mask_of_0_only_the_loss_of_the_connection_is_reported(pair: Pair) -> None:
    pair.selector.watch(pair.fd, "object")
    pair.selector.rewatch(pair.fd, "object", 0)
    pair.theirs.send(b"x")  # and there is room to write
    assert pair.ready() == []
    pair.theirs.shutdown(socket.SHUT_WR)  # half closed: it still reads
    assert pair.ready() == []
    pair.theirs.close()
    assert pair.ready() == ["object"]


def test_with_a_mask_of_0_a_reset_is_reported(pair: Pair) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.create_connection(listening.getsockname()) as peer:
        accepted, _ = listening.accept()
        with accepted:
            pair.selector.watch(accepted.fileno(), "object")
            pair.selector.rewatch(accepted.fileno(), "object", 0)
            peer.send(b"x")
            assert pair.ready() == []
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            peer.close()
            assert pair.selector.objects(20) == ["object"]


def test_a_descriptor_that_is_not_watched_any_more_is_not_reported(pair: Pair) -> None:
    pair.selector.watch(pair.fd, "object")
    pair.theirs.send(b"x")
    pair.selector.unwatch(pair.fd)
    assert pair.ready() == []
    pair.selector.unwatch(pair.fd)
    pair.selector.watch(pair.fd, "again")
    assert pair.ready() == ["again"]


def test_unwatching_what_is_not_watched_does_nothing(pair: Pair) -> None:
    """A bug may end a connection before it is watched."""
    for stop in (pair.selector.forget, pair.selector.unwatch):
        stop(pair.fd)
        pair.selector.watch(pair.fd, "object")
        for fd in (0, pair.fd - 1, pair.fd + 1, 1_000_000):
            stop(fd)
        pair.theirs.send(b"x")
        assert pair.ready() == ["object"]
        stop(pair.fd)
        pair.selector.unwatch(pair.fd)


def test_a_closed_descriptor_can_be_forgotten(epoll: Pair) -> None:
    epoll.selector.watch(epoll.fd, "object")
    epoll.selector.forget(-1)
    epoll.theirs.send(b"x")
    assert epoll.ready() == ["object"]


def test_a_forgotten_and_closed_descriptor_leaves_nothing_behind(pair: Pair) -> None:
    """The next socket often gets the same number."""
    pair.selector.watch(pair.fd, "first")
    pair.theirs.send(b"x")
    pair.selector.forget(pair.fd)
    pair.ours.close()
    assert pair.ready() == []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        assert listening.fileno() == pair.fd
        pair.selector.watch(pair.fd, "second")
        assert pair.ready() == []
        with socket.create_connection(listening.getsockname()):
            assert pair.ready() == ["second"]


def test_a_forgotten_socket_that_others_hold_wakes_the_loop_and_calls_nothing(epoll: Pair) -> None:
    """epoll still reports it. This is why `forget` is only for sockets of our own."""
    pair = epoll
    assert isinstance(pair.selector, EpollSelector)
    pair.selector.watch(pair.fd, "object")
    held_elsewhere = os.dup(pair.fd)  # a child process would hold it in the same way
    pair.theirs.send(b"x")
    pair.selector.forget(pair.fd)
    pair.ours.close()
    try:
        assert pair.selector._epoll.poll(0) == [(pair.fd, select.EPOLLIN)]
        assert pair.ready() == []
    finally:
        os.close(held_elsewhere)


def test_a_failed_rewatch_leaves_the_descriptor_unwatched(epoll: Pair) -> None:
    epoll.selector.watch(epoll.fd, "object")
    epoll.ours.close()  # so the kernel has forgotten it
    for _ in range(2):
        with pytest.raises(OSError, match=r"."):
            epoll.selector.rewatch(epoll.fd, "object", WRITE)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        assert listening.fileno() == epoll.fd
        epoll.selector.watch(epoll.fd, "another")
        assert epoll.ready() == []


def test_a_descriptor_that_cannot_be_watched_is_an_error(epoll: Pair) -> None:
    with Path("/dev/null").open("rb") as file, pytest.raises(OSError, match=r"."):
        epoll.selector.watch(file.fileno(), "object")


def test_a_listening_socket_that_the_parent_holds_reports_nothing_once_the_listener_is_closed() -> None:
    """The reactor must be told with `unwatch`: with `unwatch_own`, each connection would wake the loop for nothing."""
    with socket.create_server(("127.0.0.1", 0)) as of_parent, closing(Reactor()) as reactor:
        accepted: list[int] = []

        def accept(sock: socket.socket, ip: str, port: int, local_port: int, now: float) -> bool:
            accepted.append(port)
            sock.close()
            return True

        ours = adopt(os.dup(of_parent.fileno()))
        listener = Listener(ours, reactor, accept, pytest.fail, is_inherited=True)
        with socket.create_connection(of_parent.getsockname()) as peer:
            reactor.turn(20)
            assert accepted == [peer.getsockname()[1]]
        listener.close()
        with socket.create_connection(of_parent.getsockname()):
            assert reactor._selector.objects(0) == []
