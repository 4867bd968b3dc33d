"""A link over a real socket: time-outs, threads, and servers that end the connection."""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable

import pytest

from smtppseudo.link import link as link_module
from smtppseudo.link import machine, wire
from smtppseudo.link.errors import (
    BadPeerError,
    ClosedError,
    ConnectionLostError,
    LinkError,
    OpRefusedError,
    RefusedError,
    UnreachableError,
)
from smtppseudo.link.incoming import Dropped, OpReply, Streamed
from smtppseudo.link.link import MonitorLink
from smtppseudo.link.machine import MonitorClient, Secrets
from smtppseudo.monitor.codec import encode
from smtppseudo.monitor.credentials import derive
from tests.clients import LIMIT_S, wait_until
from tests.loopback.scripted import SECRETS, SHORT_S, STEP_S, Conversation, Scripted
from tests.unit.monitor_peer import CLIENT_NONCE, EVENT, SNAPSHOT, WORD, Peer, hello


def event(seq: int) -> dict[str, object]:
    return EVENT | {"seq": seq}


def seqs(notices: list[link_module.Notice]) -> list[int]:
    assert all(isinstance(notice, Streamed) for notice in notices)
    return [notice.seq for notice in notices if isinstance(notice, Streamed)]


def connect(server: Scripted, secrets: Secrets = SECRETS, timeout_s: float = LIMIT_S) -> MonitorLink:
    return MonitorLink.connect("127.0.0.1", server.port, secrets, timeout_s=timeout_s)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_login_and_request(address: str) -> None:
    def script(it: Conversation) -> None:
        it.log_in()
        it.peer.replies["get"] = [{"revision": 7}]
        it.answer()
        it.wait_for_end()

    with Scripted(script, address) as server, MonitorLink.connect(address, server.port, SECRETS) as link:
        assert (link.address, link.port, link.place) == (address, server.port, f"{address} port {server.port}")
        assert (link.server, link.user, link.is_private) == ("smtppseudo 1.0.0", "cookie", True)
        assert link.snapshot.seq == SNAPSHOT["seq"]
        assert link.request("get") == {"revision": 7}


def test_this_machine_means_both_loopback_addresses() -> None:
    def script(it: Conversation) -> None:
        it.log_in()
        it.wait_for_end()

    with Scripted(script, "::1") as server, MonitorLink.connect(None, server.port, SECRETS) as link:
        assert link.address == "::1"


def test_socket_options_are_set() -> None:
    def script(it: Conversation) -> None:
        it.log_in()
        it.wait_for_end()

    with Scripted(script) as server, connect(server) as link:
        sock = link._wire._sock
        assert isinstance(sock, socket.socket)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


def test_refused_request_keeps_the_link_usable() -> None:
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


def test_events_before_a_reply_are_kept_in_order() -> None:
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


def test_incomplete_event_is_waited_for() -> None:
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


def test_events_come_in_order_before_the_end() -> None:
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


def test_event_sent_with_bye_is_returned_before_the_error() -> None:
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


def test_closed_connection_instead_of_a_reply_is_an_error() -> None:
    def script(it: Conversation) -> None:
        it.log_in()
        it.take()

    with Scripted(script) as server, connect(server) as link, pytest.raises(ConnectionLostError):
        link.request("ping")


def test_reset_connection_is_an_error() -> None:
    def script(it: Conversation) -> None:
        it.log_in()
        it.take()
        it.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with Scripted(script) as server, connect(server) as link, pytest.raises(ConnectionLostError, match="reset"):
        link.request("ping")


def test_protocol_violation_after_the_login_is_an_error() -> None:
    def script(it: Conversation) -> None:
        it.log_in()
        it.say({"type": "event"})
        it.wait_for_end()

    with Scripted(script) as server, connect(server) as link, pytest.raises(BadPeerError, match="seq"):
        link.next_events()


def test_request_without_a_reply_in_time_ends_the_link() -> None:
    def script(it: Conversation) -> None:
        it.log_in()
        it.take()
        it.wait_for_end()

    with Scripted(script) as server, connect(server) as link:
        link._timeout_s = SHORT_S
        for _ in range(2):
            with pytest.raises(LinkError):
                link.request("ping")


def test_events_do_not_delay_the_time_out_of_a_request() -> None:
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


def test_events_during_a_request_are_bounded_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_next_events_stops_reading_as_soon_as_it_has_some(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the kernel's buffers fill, and the server drops events: this process does not keep them."""

    def script(it: Conversation) -> None:
        it.log_in()
        it.say(*map(event, range(1, 101)))
        sent.set()
        assert done.wait(LIMIT_S)

    sent, done = threading.Event(), threading.Event()
    with Scripted(script) as server, connect(server) as link:
        assert sent.wait(LIMIT_S)
        monkeypatch.setattr(wire, "_RECEIVE_BYTES", 2 * len(encode(event(1))))
        assert seqs(link.next_events()) == [1, 2]
        sock = link._wire._sock
        assert isinstance(sock, socket.socket)
        assert len(sock.recv(1 << 20, socket.MSG_PEEK)) > 90 * len(encode(event(1)))
        done.set()


def test_refusal_is_reported_although_the_next_send_fails() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.sendall(encode(hello()) + encode({"type": "error", "error": "busy", "message": "8 monitors"}))
        ours.shutdown(socket.SHUT_WR)
        connection = wire.Wire(ours, MonitorClient(SECRETS, CLIENT_NONCE, "the server"))
        (error,) = connection.read(LIMIT_S) or []
        assert isinstance(error, RefusedError)
        assert error.code == "busy"
        connection.close()


def test_refusal_that_comes_after_a_failed_send_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server refuses and closes while the client still answers the hello."""
    first = encode(hello())
    monkeypatch.setattr(wire, "_RECEIVE_BYTES", len(first))
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.sendall(first + encode({"type": "error", "error": "busy", "message": "8 monitors"}))
        ours.shutdown(socket.SHUT_WR)
        connection = wire.Wire(ours, MonitorClient(SECRETS, CLIENT_NONCE, "the server"))
        assert connection.read(LIMIT_S) == []
        (error,) = connection.read(LIMIT_S) or []
        assert isinstance(error, RefusedError)
        connection.close()


# Servers that mean no good


def flood(it: Conversation, frame: dict[str, object]) -> None:
    """Send a frame again and again, until the client closes."""
    data = encode(frame) * 100
    with contextlib.suppress(OSError):
        while True:
            it.sock.sendall(data)


def log_in_only(it: Conversation) -> None:
    """Let the client log in, without a snapshot."""
    it.say(hello())
    it.answer()
    reply, _ = it.peer.answer(it._line()).splitlines(keepends=True)
    it.sock.sendall(reply)


SLOT: dict[str, object] = {"slot": 1, "state": "free"}
PART: dict[str, object] = {**SNAPSHOT, "more": True}


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (PART | {"slots": []}, "an empty part of a list"),
        (PART | {"slots": [SLOT | {"x": [[[]]]}] * 900}, "more than 60,000 slots"),
        (PART | {"slots": [SLOT | {"helo": "x" * 60_000}]}, "helo is too long"),
        ({"type": "weather", "of": "x" * 60_000}, "without a whole reply"),
    ],
)
def test_a_login_that_never_ends_is_ended(
    monkeypatch: pytest.MonkeyPatch, frame: dict[str, object], words: str
) -> None:
    def script(it: Conversation) -> None:
        log_in_only(it)
        flood(it, frame)

    monkeypatch.setattr(machine, "BYTES_MAX", 1 << 23)
    with Scripted(script) as server, pytest.raises(BadPeerError, match=words):
        connect(server)


def test_a_login_has_a_time_out_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    def script(it: Conversation) -> None:
        log_in_only(it)
        flood(it, {"type": "weather"})

    monkeypatch.setattr(link_module, "LOGIN_TIMES", 2)
    with Scripted(script) as server, pytest.raises(UnreachableError, match="no reply to the login"):
        connect(server, timeout_s=STEP_S / 4)


def test_too_few_iterations_get_no_proof() -> None:
    """A false server could otherwise guess the magic word fast."""

    def script(it: Conversation) -> None:
        it.peer = Peer({"magic": derive("another word", b"salt of the word", 4_096)})
        it.say(hello(cookie_id=""))
        it.answer()
        it.wait_for_end()

    with Scripted(script) as server, pytest.raises(BadPeerError, match="iterations must be 600000 to 10000000"):
        connect(server, Secrets(magic_word=WORD))


# Threads


def waiting(link: MonitorLink) -> bool:
    return link._wire._waits


def in_thread(action: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    """Run it in another thread; the list has its result or its error when the thread has ended."""
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
def test_close_wakes_the_waiting_thread(action: Callable[[MonitorLink], object]) -> None:
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


def test_reply_to_another_threads_post_comes_with_the_events() -> None:
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


def test_post_that_the_server_does_not_read_ends_the_link() -> None:
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
