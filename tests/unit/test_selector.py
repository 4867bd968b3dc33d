"""The selector of Linux: epoll with a list of objects by descriptor."""

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
from smtppseudo.loop.selector import EpollSelector

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE

# Also false where SMTPPSEUDO_TEST_SELECTOR names another.
pytestmark = pytest.mark.skipif(selectors.DefaultSelector.__name__ != "EpollSelector", reason="not the selector here")


class Pair:
    """A selector, and two connected sockets."""

    def __init__(self) -> None:
        self.selector = EpollSelector()
        self.ours, self.theirs = socket.socketpair()
        self.fd = self.ours.fileno()

    def ready(self) -> list[object]:
        return self.selector.objects(0)


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair()
    yield made
    made.selector.close()
    made.ours.close()
    made.theirs.close()


def test_a_readable_descriptor_is_reported_until_it_is_read(pair: Pair) -> None:
    key = pair.selector.register(pair.fd, READ, "object")
    assert key == (pair.fd, pair.fd, READ, "object")
    assert pair.ready() == []
    pair.theirs.send(b"x")
    assert pair.ready() == pair.ready() == ["object"]
    assert pair.selector.select(0) == [(key, READ)]
    pair.ours.recv(1)
    assert pair.ready() == []


def test_a_time_limit_of_none_waits_for_an_event(pair: Pair) -> None:
    pair.selector.register(pair.fd, WRITE, "object")
    assert pair.selector.objects(None) == ["object"]


def test_modify_changes_events_and_object(pair: Pair) -> None:
    pair.selector.register(pair.fd, READ, "reads")
    assert pair.selector.modify(pair.fd, WRITE, "writes") == (pair.fd, pair.fd, WRITE, "writes")
    assert pair.ready() == ["writes"]
    pair.selector.modify(pair.fd, READ, "reads again")
    assert pair.ready() == []
    pair.theirs.send(b"x")
    assert pair.ready() == ["reads again"]


def test_modify_with_the_same_events_changes_the_object(pair: Pair) -> None:
    pair.selector.register(pair.fd, READ, "before")
    pair.theirs.send(b"x")
    assert pair.selector.modify(pair.fd, READ, "after") == (pair.fd, pair.fd, READ, "after")
    assert pair.ready() == ["after"]


def test_without_events_only_the_loss_of_the_connection_is_reported(pair: Pair) -> None:
    pair.selector.register(pair.fd, READ, "object")
    key = pair.selector.modify(pair.fd, 0, "object")
    pair.theirs.send(b"x")  # and there is room to write
    assert pair.ready() == pair.selector.select(0) == []
    pair.theirs.shutdown(socket.SHUT_WR)  # half closed: it still reads
    assert pair.ready() == []
    pair.theirs.close()
    assert pair.ready() == ["object"]
    assert pair.selector.select(0) == [(key, 0)]


def test_without_events_a_reset_is_reported(pair: Pair) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.create_connection(listening.getsockname()) as peer:
        accepted, _ = listening.accept()
        with accepted:
            pair.selector.register(accepted.fileno(), 0, "object")
            peer.send(b"x")
            assert pair.ready() == []
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            peer.close()
            assert pair.selector.objects(20) == ["object"]


def test_an_unregistered_descriptor_is_not_reported(pair: Pair) -> None:
    pair.selector.register(pair.fd, READ, "object")
    pair.theirs.send(b"x")
    assert pair.selector.unregister(pair.fd).data == "object"
    assert pair.ready() == []
    assert_not_registered(pair, pair.fd)
    pair.selector.register(pair.fd, READ, "again")
    assert pair.ready() == ["again"]


def assert_not_registered(pair: Pair, fd: int) -> None:
    assert fd not in pair.selector.get_map()
    with pytest.raises(KeyError):
        pair.selector.get_key(fd)
    with pytest.raises(KeyError):
        pair.selector.unregister(fd)
    with pytest.raises(KeyError):
        pair.selector.modify(fd, WRITE, "object")


def test_what_is_not_registered_is_a_key_error(pair: Pair) -> None:
    assert_not_registered(pair, pair.fd)
    pair.selector.register(pair.fd, READ, "object")
    for fd in (0, pair.fd - 1, pair.fd + 1, 1_000_000):
        assert_not_registered(pair, fd)
    assert pair.selector.get_key(pair.fd).data == "object"


def test_forgetting_what_is_not_registered_does_nothing(pair: Pair) -> None:
    """A bug may end a connection before it is watched."""
    pair.selector.forget(pair.fd)
    pair.selector.register(pair.fd, READ, "object")
    for fd in (-1, 0, pair.fd - 1, pair.fd + 1, 1_000_000):
        pair.selector.forget(fd)
    pair.theirs.send(b"x")
    assert pair.ready() == ["object"]


def test_get_map_and_get_key_return_what_is_registered(pair: Pair) -> None:
    theirs = pair.theirs.fileno()
    assert not pair.selector.get_map()
    ours_key = pair.selector.register(pair.fd, READ, "ours")
    theirs_key = pair.selector.register(theirs, WRITE, "theirs")
    assert pair.selector.get_map() == {pair.fd: ours_key, theirs: theirs_key}
    assert pair.selector.get_key(pair.fd) == ours_key == (pair.fd, pair.fd, READ, "ours")
    ours_key = pair.selector.modify(pair.fd, 0, "errors alone")
    assert pair.selector.get_map()[pair.fd] == ours_key == (pair.fd, pair.fd, 0, "errors alone")
    pair.selector.forget(pair.fd)
    assert pair.selector.get_map() == {theirs: theirs_key}


def test_a_forgotten_and_closed_descriptor_leaves_nothing_behind(pair: Pair) -> None:
    """The next socket often gets the same number."""
    pair.selector.register(pair.fd, READ, "first")
    pair.theirs.send(b"x")
    pair.selector.forget(pair.fd)
    pair.ours.close()
    assert pair.ready() == []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        assert listening.fileno() == pair.fd
        pair.selector.register(pair.fd, READ, "second")
        assert pair.ready() == []
        with socket.create_connection(listening.getsockname()):
            assert pair.ready() == ["second"]


def test_a_forgotten_socket_that_others_hold_wakes_the_loop_and_calls_nothing(pair: Pair) -> None:
    """epoll still reports it. This is why `forget` is only for sockets of our own."""
    pair.selector.register(pair.fd, READ, "object")
    held_elsewhere = os.dup(pair.fd)  # a child process would hold it in the same way
    pair.theirs.send(b"x")
    pair.selector.forget(pair.fd)
    pair.ours.close()
    try:
        assert pair.selector._epoll.poll(0) == [(pair.fd, select.EPOLLIN)]
        assert pair.ready() == []
    finally:
        os.close(held_elsewhere)


def test_a_failed_modify_leaves_the_descriptor_unregistered(pair: Pair) -> None:
    pair.selector.register(pair.fd, READ, "object")
    pair.ours.close()  # so the kernel has forgotten it
    with pytest.raises(OSError, match=r"."):
        pair.selector.modify(pair.fd, WRITE, "object")
    assert_not_registered(pair, pair.fd)


def test_a_descriptor_that_cannot_be_watched_is_an_error(pair: Pair) -> None:
    with Path("/dev/null").open("rb") as file:
        with pytest.raises(OSError, match=r"."):
            pair.selector.register(file.fileno(), READ, "object")
        assert_not_registered(pair, file.fileno())


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
            assert reactor._selector.select(0) == reactor._ready_objects(0) == []
