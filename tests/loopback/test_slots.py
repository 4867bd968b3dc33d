"""Slots over real sockets: which caller gets which slot, who is evicted, and that no slot is lost."""

import contextlib
import errno
import socket
from collections import Counter
from collections.abc import Iterator

import pytest

from smtppseudo.config.settings import MONITORS_MAX, UNAUTHENTICATED_MAX
from smtppseudo.events import Closed, Connected, Error, TurnedAway, split_origin
from smtppseudo.loop import listener as loop_listener
from smtppseudo.loop.clock import Clock
from smtppseudo.loop.listener import Listener, listen
from smtppseudo.loop.reactor import Reactor, Watched
from smtppseudo.loop.selector import READ
from smtppseudo.server.preconditions import OTHER_DESCRIPTORS
from smtppseudo.smtp.session import SmtpSession
from tests import SELECTOR
from tests.clients import Client, wait_until
from tests.conftest import MakeInside
from tests.running import NotStartedError, Running, Servers, limited_to, matching, not_on_windows

HELD = 5_000
RESETS = 10_000
TURNED_AWAY = "421 Too many connections"
PATIENT = {"evict_after_s": 86_400, "idle_timeout_s": 86_400, "quiet_timeout_s": 0}


def port_of(session: SmtpSession) -> int:
    return int(split_origin(session.origin)[3])


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """Raise the limit of open files of this process, for the clients."""
    if SELECTOR == "select":
        pytest.skip("select(2) watches at most 1,024 descriptors")
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 10_000 + MONITORS_MAX + UNAUTHENTICATED_MAX + OTHER_DESCRIPTORS
    if hard != resource.RLIM_INFINITY and hard < needed:
        pytest.skip(f"needs {needed} open files, and the hard limit is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, HELD + 500), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def greeted(server: Running, source: str | None = None) -> Client:
    client = server.connect(source)
    client.expect("220")
    return client


def expect_free_slots(server: Running, slots: int) -> None:
    """Check that all slots are free, and that there is no other."""
    clients = [greeted(server) for _ in range(slots)]
    with server.connect() as one_more:
        one_more.expect(TURNED_AWAY)
        one_more.expect_end()
    for client in clients:
        client.say("NOOP", "250")
        client.say("QUIT", "221")
        client.expect_end()
        client.close()


def test_25_are_served_at_once_and_the_26th_is_turned_away(servers: Servers) -> None:
    server = servers.start(PATIENT)
    expect_free_slots(server, 25)
    server.wait_for_event(Closed, count=25)
    expect_free_slots(server, 25)
    refused = server.wait_for_event(TurnedAway, reason="slots")
    assert (refused.ip, refused.slot, refused.session) == ("127.0.0.1", 0, 0)


def test_the_lowest_free_slot_is_taken_first(servers: Servers) -> None:
    server = servers.start(PATIENT | {"slots": 4})
    clients = [greeted(server) for _ in range(4)]
    for slot in (3, 2):
        with clients[slot - 1] as client:
            client.say("QUIT", "221")
            client.expect_end()
    server.wait_for_event(Closed, count=2)
    clients[1:3] = [greeted(server), greeted(server)]
    server.wait_for_event(Connected, count=6)
    for client in clients:
        client.close()
    assert [stamped.slot for stamped in matching(server.records(), Connected)] == [1, 2, 3, 4, 2, 3]


def test_a_slot_keeps_its_last_session_until_the_next(inside: MakeInside) -> None:
    server = inside(slots=3)
    first, second = server.greeted(), server.greeted()
    first.say("HELO one.test", "250")
    first.say("MAIL FROM:<a@one.test>", "553")
    first.say("QUIT", "221")
    first.expect_end()
    slots = server.server.reception.slots
    gone, there = slots
    assert (gone.is_open, gone.close_reason, port_of(gone)) == (False, "quit", first.port)
    assert gone.said is not None
    assert gone.said.last is not None
    assert (gone.said.helo, gone.said.mail_from, gone.said.last.data) == (b"one.test", b"<a@one.test>", "QUIT")
    assert (there.is_open, port_of(there), slots.in_use) == (True, second.port, 1)
    third = server.greeted()
    assert [(row.slot, port_of(row), row.said) for row in slots] == [(1, third.port, None), (2, second.port, None)]


def test_an_ipv4_address_gets_at_most_slots_per_client(servers: Servers) -> None:
    server = servers.start(PATIENT | {"limit_exempt": []}, listen=["0.0.0.0"])
    clients = [greeted(server, "127.0.1.1") for _ in range(5)]
    with server.connect("127.0.1.1") as one_more:
        one_more.expect(TURNED_AWAY)
        one_more.expect_end()
    clients.append(greeted(server, "127.0.1.2"))
    refused = server.wait_for_event(TurnedAway, reason="client")
    assert refused.ip == "127.0.1.1"
    clients[0].say("QUIT", "221")
    clients[0].expect_end()
    server.wait_for_event(Closed)
    clients.append(greeted(server, "127.0.1.1"))
    for client in clients:
        client.close()


def test_an_ipv6_network_gets_at_most_slots_per_client(servers: Servers) -> None:
    server = servers.start(PATIENT | {"limit_exempt": [], "slots_per_client": 2}, listen=["127.0.0.1", "::1"])
    clients = [server.connect(address="::1"), server.connect(address="::1"), server.connect()]
    for client in clients:
        client.expect("220")
    with server.connect(address="::1") as one_more:
        one_more.expect(TURNED_AWAY)
        one_more.expect_end()
    for client in clients:
        client.close()
    assert server.wait_for_event(TurnedAway, reason="client").ip == "::1"


def test_both_address_families_are_served_and_logged(servers: Servers) -> None:
    server = servers.start(listen=["127.0.0.1", "::1"])
    for address in ("127.0.0.1", "::1"):
        with server.connect(address=address) as client:
            client.expect("220 Welcome!")
            client.say("HELO x", f"250 Hello x from {address}, pleased to meet you.")
            client.say("QUIT", "221")
            client.expect_end()
        server.wait_for_event(Closed, ip=address, reason="quit")


def test_5000_sessions_at_once(servers: Servers, many_descriptors: None) -> None:
    server = servers.start(PATIENT | {"slots": 10_000})
    clients = [server.connect() for _ in range(HELD)]
    for client in clients:
        client.expect("220")
    for client in clients[:: HELD // 100]:
        client.say("NOOP", "250")
    in_slots = server.wait_for(lambda records: {s.slot for s in records if s.slot >= HELD}, "the last slot taken")
    assert in_slots == {HELD}
    for client in clients:
        client.close()
    server.wait_for_event(Closed, count=HELD, reason="peer")


@pytest.mark.skipif(SELECTOR == "select", reason="select(2) allows fewer slots than the limit of open files here")
def test_more_slots_than_open_files_is_an_error_of_one_line(servers: Servers) -> None:
    with pytest.raises(NotStartedError) as caught:
        servers.start({"slots": 10_000}, prefix=limited_to("RLIMIT_NOFILE", 500))
    assert caught.value.status == 78
    assert caught.value.stderr == (
        "smtppseudo: slots = 10000 needs 10088 open files, and the limit is 500;"
        " raise it (ulimit -n, LimitNOFILE=), or set slots to at most 412\n"
    )


def test_the_most_slots_that_the_limit_of_open_files_allows_work(servers: Servers) -> None:
    server = servers.start(PATIENT | {"slots": 412}, prefix=limited_to("RLIMIT_NOFILE", 500))
    expect_free_slots(server, 412)
    assert server.events(Error) == []


def test_ten_thousand_resets_lose_no_slot(servers: Servers) -> None:
    server = servers.start(PATIENT)
    for _ in range(RESETS):
        server.connect().reset()
    wait_until(lambda: is_served(server), "a slot free again")  # all earlier connections are accepted by then
    wait_until(lambda: has_no_session(server), "every connection closed")
    turned_away = sum(refused.count for refused in server.events(TurnedAway))
    assert len(server.events(Connected)) + turned_away > RESETS / 2
    assert {closed.reason for closed in server.events(Closed)} == {"reset", "quit"}
    expect_free_slots(server, 25)


def is_served(server: Running) -> bool:
    with server.connect() as client:
        if not client.expect("").startswith("220"):
            return False
        client.say("QUIT", "221")
        return True


def has_no_session(server: Running) -> bool:
    text = server.log_text
    return text.count("Z connected ") == text.count("Z closed ")


def test_a_new_caller_evicts_the_session_that_is_idle_longest(inside: MakeInside) -> None:
    server = inside(slots=2, quiet_timeout_s=0)
    first = server.greeted()
    server.advance(1)
    second = server.greeted()
    server.advance(3.9)
    server.connect().expect(TURNED_AWAY)
    first.say("NOOP", "250")
    server.advance(1.2)
    third = server.greeted()
    assert second.expect("421")
    second.expect_end()
    assert [stamped.port for stamped in server.records(Closed, reason="evicted")] == [second.port]
    first.say("NOOP", "250")
    third.say("NOOP", "250")
    server.connect().expect(TURNED_AWAY)


def test_25_connections_from_5_addresses_keep_nobody_out(inside: MakeInside) -> None:
    server = inside(limit_exempt=[])
    clients = [server.greeted(f"127.0.1.{number % 5}") for number in range(25)]
    server.connect("127.0.2.1").expect(TURNED_AWAY)  # they are younger than a second
    for number in range(20):
        server.advance(1)
        for client in clients[number % 4 :: 4]:
            with contextlib.suppress(OSError):  # evicted
                client.sock.sendall(b"NOOP\r\n")  # nobody is idle for five seconds
        server.turn()
        clients.append(server.greeted(f"127.0.3.{number}"))
    evicted = server.records(Closed, reason="evicted")
    assert Counter(stamped.ip for stamped in evicted) == {f"127.0.1.{number}": 4 for number in range(5)}
    server.advance(1)
    server.connect("127.0.2.1").expect(TURNED_AWAY)  # each source has one


def test_a_session_that_is_over_keeps_nobody_out(inside: MakeInside) -> None:
    server = inside(slots=2, quiet_timeout_s=0)
    for _ in range(2):
        server.greeted("127.0.1.1").say("GET / HTTP/1.1", "500")  # then it waits up to 2 s for the end of the request
    server.connect("127.0.2.1").expect(TURNED_AWAY)
    server.advance(1.1)
    server.greeted("127.0.2.1")
    assert [closed.reason for closed in server.events(Closed)] == ["http"]


def test_a_caller_at_work_is_not_evicted(inside: MakeInside) -> None:
    server = inside(slots=1, quiet_timeout_s=0, reject_at="message")
    first = server.greeted()
    for line, start in (("MAIL FROM:<a@b>", "250"), ("RCPT TO:<c@d>", "250"), ("DATA", "354")):
        first.say(line, start)
    server.advance(20)
    server.connect().expect(TURNED_AWAY)
    first.say(".", "554")
    server.advance(5.1)
    server.greeted()
    assert [stamped.port for stamped in server.records(Closed, reason="evicted")] == [first.port]


def test_a_session_is_not_evicted_for_the_one_that_had_its_slot_before(inside: MakeInside) -> None:
    server = inside(slots=3, quiet_timeout_s=0, reject_at="message")
    first, second, third = (server.greeted() for _ in range(3))
    server.advance(5.1)
    server.greeted()
    second.close()
    server.turn()
    busy = server.greeted()
    for line, start in (("MAIL FROM:<a@b>", "250"), ("RCPT TO:<c@d>", "250"), ("DATA", "354")):
        busy.say(line, start)
    server.greeted()
    busy.say(".", "554")
    assert [stamped.port for stamped in server.records(Closed, reason="evicted")] == [first.port, third.port]


def test_an_immediate_reset_is_no_error(inside: MakeInside) -> None:
    server = inside()
    for _ in range(100):
        client = server.connect()
        client.reset()
        server.turn()
    server.turn_until(lambda: len(server.records(Closed)) == 100, "all closed")
    assert {closed.reason for closed in server.events(Closed)} == {"reset"}
    assert server.server.reception.slots.in_use == 0


def test_sessions_that_end_free_their_slots_for_waiting_callers(inside: MakeInside) -> None:
    server = inside(slots=2)
    for _ in range(50):
        with socket.create_connection(("127.0.0.1", server.port)) as caller:
            caller.sendall(b"QUIT\r\n")
            caller.shutdown(socket.SHUT_WR)
    server.turn_until(lambda: len(server.records(Closed)) == 50, "all closed")
    assert not server.records(TurnedAway)


def test_a_connection_that_cannot_be_watched_costs_no_slot(inside: MakeInside, monkeypatch: pytest.MonkeyPatch) -> None:
    """epoll has its own limit: /proc/sys/fs/epoll/max_user_watches."""
    server = inside()
    reactor = server.server.reactor

    def fail_once(fd: int, watched: Watched, mask: int = READ) -> None:
        monkeypatch.undo()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(reactor, "watch", fail_once)
    server.connect().rest()
    assert server.server.reception.slots.in_use == 0
    server.advance(1.1)
    server.greeted().say("NOOP", "250")


def test_the_port_refuses_connections_while_offline(inside: MakeInside) -> None:
    server = inside()
    client = server.greeted()
    server.server.go_offline("test")
    client.expect("421 sink.test closing connection")
    client.expect_end()
    with socket.socket() as refused:
        assert refused.connect_ex(("127.0.0.1", server.port)) == errno.ECONNREFUSED


@not_on_windows("any user can open port 25 there")
def test_a_port_that_could_not_be_opened_again_is_not_closed(
    inside: MakeInside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On BSD a closed port is free, and below 1024 only root can bind it again."""
    server = inside()
    listener = server.server.smtp_port._listeners[0]
    monkeypatch.setattr(loop_listener, "_CAN_SUSPEND", False)
    monkeypatch.setattr(loop_listener, "is_root", lambda: False)
    monkeypatch.setattr(listener, "port", 25)
    with pytest.raises(PermissionError, match="only root can open it again"):
        server.server.go_offline("test")
    assert server.server.state == "online"
    server.greeted().say("NOOP", "250")


def test_a_port_is_opened_again_where_it_cannot_be_suspended(
    inside: MakeInside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop_listener, "_CAN_SUSPEND", False)
    server = inside()
    server.server.go_offline("test")
    with socket.socket() as refused:
        assert refused.connect_ex(("127.0.0.1", server.port)) == errno.ECONNREFUSED
    server.server.go_online("test")
    server.greeted().say("NOOP", "250")


def test_a_connection_in_the_turn_that_goes_offline_is_no_error(inside: MakeInside) -> None:
    server = inside()
    listener = server.server.smtp_port._listeners[0]
    server.server.go_offline("test")
    listener.ready(server.server.reactor.clock.now)  # the selector reported it before
    server.advance(2)
    server.server.go_online("test")
    server.greeted()
    assert server.events(Error) == []


@not_on_windows("a port that listens cannot be opened again there")
def test_a_new_listener_that_cannot_be_watched_tries_again_after_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    reactor = Reactor(Clock(monotonic=lambda: 1000.0))
    troubles: list[str] = []

    def fail(fd: int, watched: Watched, mask: int = READ) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(reactor, "watch", fail)
    listener = Listener(listen("127.0.0.1", 0), reactor, lambda *accepted: True, troubles.append, is_inherited=False)
    assert reactor.wheel.next_due() == pytest.approx(1001, abs=0.06)
    assert troubles == [f"cannot accept connections on port {listener.port}: No space left on device"]
    monkeypatch.undo()
    listener.resume()
    assert (len(reactor.in_breaks), reactor.wheel.next_due()) == (1, None)
    listener.close()
    assert reactor.in_breaks == []
    reactor.close()


def test_going_online_during_a_pause(inside: MakeInside) -> None:
    server = inside()
    listener = server.server.smtp_port._listeners[0]
    listener._pause(OSError(24, "Too many open files"), server.server.reactor.clock.now)
    server.server.go_offline("test")
    server.server.go_online("test")
    server.advance(2)
    server.greeted()
    assert len(server.events(Error)) == 1
