"""The selector of Linux: epoll with a list of objects by descriptor."""

import os
import selectors
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from smtppseudo.loop.selector import EpollSelector, make_selector

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE

pytestmark = pytest.mark.skipif(not isinstance(make_selector(), EpollSelector), reason="the selector is not epoll")


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


def test_without_events_only_the_loss_of_the_connection_is_reported(pair: Pair) -> None:
    pair.selector.register(pair.fd, READ, "object")
    pair.selector.modify(pair.fd, 0, "object")
    pair.theirs.send(b"x")
    assert pair.ready() == []
    pair.theirs.close()
    assert pair.ready() == ["object"]


def test_an_unregistered_descriptor_is_not_reported(pair: Pair) -> None:
    pair.selector.register(pair.fd, READ, "object")
    pair.theirs.send(b"x")
    assert pair.selector.unregister(pair.fd).data == "object"
    assert pair.ready() == []
    for call in (pair.selector.unregister, pair.selector.get_key):
        with pytest.raises(KeyError):
            call(pair.fd)


def test_get_map_holds_what_is_registered(pair: Pair) -> None:
    pair.selector.register(pair.fd, READ, "object")
    assert {fd: key.data for fd, key in pair.selector.get_map().items()} == {pair.fd: "object"}
    assert pair.selector.get_key(pair.fd).data == "object"


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


def test_epoll_still_reports_a_forgotten_socket_that_others_hold(pair: Pair) -> None:
    """This is why `forget` is only for sockets of our own."""
    pair.selector.register(pair.fd, READ, "object")
    held_elsewhere = os.dup(pair.fd)  # a child process would hold it in the same way
    pair.theirs.send(b"x")
    pair.selector.forget(pair.fd)
    pair.ours.close()
    try:
        assert pair.ready() == [None]
    finally:
        os.close(held_elsewhere)


def test_a_failed_modify_leaves_the_descriptor_unregistered(pair: Pair) -> None:
    pair.selector.register(pair.fd, READ, "object")
    pair.ours.close()  # so the kernel has forgotten it
    with pytest.raises(OSError, match=r"."):
        pair.selector.modify(pair.fd, WRITE, "object")
    with pytest.raises(KeyError):
        pair.selector.get_key(pair.fd)


def test_a_descriptor_that_cannot_be_watched_is_an_error(pair: Pair) -> None:
    with Path("/dev/null").open("rb") as file, pytest.raises(OSError, match=r"."):
        pair.selector.register(file.fileno(), READ, "object")
    with pytest.raises(KeyError):
        pair.selector.get_key(pair.fd)
