"""A monitor's link over a real socket: time-outs, threads, and servers that go away."""

import socket
import struct
import threading
from collections.abc import Callable

import pytest

from smtppseudo.link import link as link_module
from smtppseudo.link.errors import (
    BadPeerError,
    ClosedError,
    ConnectionLostError,
    LinkError,
    OpRefusedError,
)
from smtppseudo.link.incoming import Dropped, OpReply, Streamed
from smtppseudo.link.link import MonitorLink
from smtppseudo.link.machine import Secrets
from smtppseudo.monitor.codec import encode
from tests.clients import LIMIT_S, wait_until
from tests.loopback.scripted import SECRETS, SHORT_S, Conversation, Scripted
from tests.unit.monitor_peer import EVENT, SNAPSHOT


def event(seq: int) -> dict[str, object]:
    return EVENT | {"seq": seq}


def seqs(notices: list[link_module.Notice]) -> list[int]:
    assert all(isinstance(notice, Streamed) for notice in notices)
    return [notice.seq for notice in notices if isinstance(notice, Streamed)]


def connect(server: Scripted, secrets: Secrets = SECRETS, timeout_s: float = LIMIT_S) -> MonitorLink:
    return MonitorLink.connect("127.0.0.1", server.port, secrets, timeout_s=timeout_s)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_login_and_a_request(address: str) -> None:
    def script(it: Conversation) -> None:
        it.log_in()
        it.peer.replies["get"] = [{"revision": 7}]
        it.answer()
        it.wait_for_end()

    with Scripted(script, address) as server, MonitorLink.connect(address, server.port, SECRETS) as link:
        assert (link.address, link.port, link.place) == (address, server.port, f"{address} port {server.port}")
        assert (link.server, link.user, link.is_private) == ("smtppseudo 0.1.0", "cookie", True)
        assert link.snapshot.seq == SNAPSHOT["seq"]
        assert link.request("get") == {"revision": 7}


def test_this_machine_is_both_loopback_addresses() -> None:
    def script(it: Conversation) -> None:
        it.log_in()
        it.wait_for_end()

    with Scripted(script, "::1") as server, MonitorLink.connect(None, server.port, SECRETS) as link:
        assert link.address == "::1"


def test_what_the_socket_is_set_to() -> None:
    def script(it: Conversation) -> None:
        it.log_in()
        it.wait_for_end()

    with Scripted(script) as server, connect(server) as link:
        sock = link._wire._sock
        assert isinstance(sock, socket.socket)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


def test_a_request_refused_leaves_the_link_as_it_was() -> None:
    def script(it: Conversation) -> None:
        it.log_in()
        it.peer.replies["set"] = [{"ok": False, "error": "pinned", "message": "greeting was given ..."}]
        it.answer()
        it.answer()
        it.wait_for_end()

    with Scripted(script) as server, connect(server) as link:
        with pytest.raises(OpRefusedError, match=r"^greeting was given ...$") as caught:
            link.request("set", changes={})
        assert caught.value.code == "pinned"
        assert link.request("ping") == {}


def test_events_that_come_before_a_reply_are_kept_in_order() -> None:
    def script(it: Conversation) -> None:
        it.log_in()
        it.say(event(1), event(2))
        it.answer()
        it.say(event(3))
        it.wait_for_end()

    with Scripted(script) as server, connect(server) as link:
        assert link.request("ping") == {}
        seen: list[link_module.Notice] = []
        while len(seen) < 3:
            seen += link.next_events()
        assert seqs(seen) == [1, 2, 3]
        assert link.next_events(0) == []
        assert link.next_events(0.01) == []


def test_half_an_event_is_waited_for() -> None:
    def script(it: Conversation) -> None:
        it.log_in()
        line = encode(event(1))
        it.sock.sendall(line[:20])
        assert go_on.wait(LIMIT_S)
        it.sock.sendall(line[20:])
        it.wait_for_end()

    go_on = threading.Event()
    with Scripted(script) as server, connect(server) as link:
        thread, outcome = in_thread(link.next_events)
        reader = link._wire.client._reader
        wait_until(lambda: len(reader._buffer) == 20 and waiting(link), "half an event, and the thread waits")
        go_on.set()
        thread.join(LIMIT_S)
        (notices,) = outcome
        assert isinstance(notices, list)
        assert seqs(notices) == [1]


def test_events_come_in_order_and_then_the_end() -> None:
    def script(it: Conversation) -> None:
        it.log_in()
        it.say(event(1), {"type": "dropped", "count": 7}, event(9))

    with Scripted(script) as server, connect(server) as link:
        seen: list[link_module.Notice] = []
        with pytest.raises(ConnectionLostError, match="closed the connection"):  # noqa: PT012 - at some call
            while True:
                seen += link.next_events()
        assert seen[:2] == [Streamed(1, {k: v for k, v in EVENT.items() if k not in ("type", "seq")}), Dropped(7)]
        assert seqs(seen[2:]) == [9]


def test_what_came_before_the_end_is_read_before_it() -> None:
    def script(it: Conversation) -> None:
        it.log_in()
        it.say(event(1), {"type": "bye", "reason": "shutdown"})

    with Scripted(script) as server, connect(server) as link:
        assert seqs(link.next_events()) == [1]
        for _ in range(2):
            with pytest.raises(ConnectionLostError, match="shutdown"):
                link.next_events()
        with pytest.raises(ValueError, match="not logged in"):
            link.request("ping")


def test_a_server_that_goes_away_instead_of_answering() -> None:
    def script(it: Conversation) -> None:
        it.log_in()
        it.take()

    with Scripted(script) as server, connect(server) as link, pytest.raises(ConnectionLostError):
        link.request("ping")


def test_a_server_that_resets_the_connection() -> None:
    def script(it: Conversation) -> None:
        it.log_in()
        it.take()
        it.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with Scripted(script) as server, connect(server) as link, pytest.raises(ConnectionLostError, match="reset"):
        link.request("ping")


def test_a_server_that_breaks_the_protocol_later() -> None:
    def script(it: Conversation) -> None:
        it.log_in()
        it.say({"type": "event"})
        it.wait_for_end()

    with Scripted(script) as server, connect(server) as link, pytest.raises(BadPeerError, match="seq"):
        link.next_events()


def test_a_request_that_is_not_answered_in_time_ends_the_link() -> None:
    def script(it: Conversation) -> None:
        it.log_in()
        it.take()
        it.wait_for_end()

    with Scripted(script) as server, connect(server) as link:
        link._timeout_s = SHORT_S
        for _ in range(2):
            with pytest.raises(LinkError):
                link.request("ping")


def test_events_do_not_hold_off_the_time_out_of_a_request() -> None:
    def script(it: Conversation) -> None:
        it.log_in()
        it.take()
        flood = b"".join(encode(event(1)) for _ in range(1_000))
        try:
            while True:
                it.sock.sendall(flood)
        except OSError:
            pass  # the client has had enough

    with Scripted(script) as server, connect(server) as link:
        link._timeout_s = SHORT_S
        with pytest.raises(ConnectionLostError, match="no reply within"):
            link.request("ping")


def test_events_that_nobody_reads_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def script(it: Conversation) -> None:
        it.log_in()
        it.say({"type": "dropped", "count": 7}, *map(event, range(1, 21)))
        it.answer()
        it.wait_for_end()

    monkeypatch.setattr(link_module, "QUEUED_MAX", 10)
    with Scripted(script) as server, connect(server) as link:
        link.request("ping")
        dropped, *kept = link.next_events()
        assert dropped == Dropped(17)
        assert seqs(kept) == list(range(11, 21))
        assert link.next_events(0) == []


# Threads


def waiting(link: MonitorLink) -> bool:
    return link._wire._waits


def in_thread(action: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    """Run it in another thread; what it returns or raises is in the list when the thread has ended."""
    outcome: list[object] = []

    def run() -> None:
        try:
            outcome.append(action())
        except LinkError as error:
            outcome.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, outcome


@pytest.mark.parametrize(
    "action", [MonitorLink.next_events, lambda link: link.request("ping")], ids=["next_events", "request"]
)
def test_close_wakes_whoever_waits(action: Callable[[MonitorLink], object]) -> None:
    def script(it: Conversation) -> None:
        it.log_in()
        while it.sock.recv(100):
            pass

    with Scripted(script) as server:
        link = connect(server)
        thread, outcome = in_thread(lambda: action(link))
        wait_until(lambda: waiting(link), "the thread waits")
        link.close()
        thread.join(LIMIT_S)
        (error,) = outcome
        assert isinstance(error, ClosedError)
        assert link._wire._sock.fileno() == -1
        link.close()
        for use in (link.next_events, lambda: link.request("ping"), lambda: link.post("ping")):
            with pytest.raises(ClosedError):
                use()


def test_another_thread_may_post_what_this_one_reads_the_reply_of() -> None:
    def script(it: Conversation) -> None:
        it.log_in()
        it.peer.replies["stop"] = [{"state": "offline"}]
        it.answer()
        it.wait_for_end()

    with Scripted(script) as server, connect(server) as link:
        thread, outcome = in_thread(link.next_events)
        wait_until(lambda: waiting(link), "the thread waits")
        request_id = link.post("stop")
        thread.join(LIMIT_S)
        assert outcome == [[OpReply(request_id, {"state": "offline"})]]


def test_a_post_that_the_server_does_not_take_ends_the_link() -> None:
    def script(it: Conversation) -> None:
        it.log_in()
        assert done.wait(LIMIT_S)

    done = threading.Event()
    with Scripted(script) as server, connect(server) as link:
        sock = link._wire._sock
        assert isinstance(sock, socket.socket)
        sock.settimeout(SHORT_S)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
        with pytest.raises(LinkError):
            post_much(link)
        done.set()


def post_much(link: MonitorLink) -> None:
    for _ in range(10_000):
        link.post("set", changes={"greeting": "x" * 16_000})
        link.next_events(0)
