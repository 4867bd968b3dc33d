"""The tarpit over real sockets, on a clock that the test moves."""

import socket

import pytest

from smtppseudo.events import Closed, Command
from smtppseudo.loop.selector import REPORTS_ERRORS
from smtppseudo.net.errnos import DONTWAIT
from smtppseudo.net.stream import Stream
from tests.clients import Client
from tests.conftest import MakeInside
from tests.inside import Inside

GREETING = b"220 sink.test\r\n"
STUTTER = {"stutter_bytes_per_s": 1, "greeting": "{hostname}", "quiet_timeout_s": 0}


def received(server: Inside, client: Client) -> bytes:
    """Run a turn; return the bytes that have arrived."""
    server.turn()
    return arrived(client)


def arrived(client: Client) -> bytes:
    """Return the bytes that have arrived."""
    client.sock.settimeout(0)
    try:
        return client.sock.recv(65_536)
    except BlockingIOError:
        return b""


def received_each_second(server: Inside, client: Client, seconds: int) -> list[bytes]:
    """Advance by one second after the other, and by a little more for the wheel; return the bytes of each second."""
    server.time.advance(0.06)
    pieces = []
    for _ in range(seconds):
        server.advance(1)
        pieces.append(received(server, client))
    return pieces


def test_one_byte_arrives_each_second(inside: MakeInside) -> None:
    server = inside(**STUTTER)
    client = server.connect()
    assert received(server, client) == GREETING[:1]
    assert b"".join(pieces := received_each_second(server, client, len(GREETING) - 1)) == GREETING[1:]
    assert {len(piece) for piece in pieces} == {1}


def test_the_last_reply_is_stuttered_too(inside: MakeInside) -> None:
    server = inside(**STUTTER)
    client = server.connect()
    received_each_second(server, client, len(GREETING))
    client.send("QUIT")
    goodbye = b"221 Server Disconnecting\r\n"
    pieces = [received(server, client), *received_each_second(server, client, len(goodbye) - 1)]
    assert pieces == [bytes([byte]) for byte in goodbye]
    client.expect_end()
    assert [closed.reason for closed in server.events(Closed)] == ["quit"]


def test_no_byte_arrives_early(inside: MakeInside) -> None:
    server = inside(**STUTTER)
    client = server.connect()
    assert received(server, client) == GREETING[:1]
    for _ in range(9):
        server.advance(0.1)
        assert received(server, client) == b""
    server.advance(0.15)
    assert received(server, client) == GREETING[1:2]


def test_commands_before_a_delayed_greeting_are_marked(inside: MakeInside) -> None:
    server = inside(greet_delay_s=10)
    client = server.connect()
    client.send("HELO early", "NOOP")
    server.advance(9)
    assert received(server, client) == b""
    assert server.events(Command) == []
    server.advance(1.1)
    for _ in range(2):
        server.advance(0.1)
    client.expect("220")
    client.expect("250 Hello early")
    client.expect("250 OK")
    assert [event.pregreet for event in server.events(Command)] == [True, True]
    client.say("QUIT", "221")
    client.expect_end()
    assert not server.events(Command)[-1].pregreet
    assert server.server.reception.counters.delayed_s == pytest.approx(10.1)


def test_pipelined_data_stays_in_the_kernel_and_the_loop_does_not_spin(inside: MakeInside) -> None:
    server = inside(reply_delay_s=5)
    client = server.greeted()
    noops = b"NOOP\r\n" * 900
    client.sock.sendall(noops)
    for _ in range(4):
        server.turn()
    (session,) = server.server.reception.slots
    assert session.received_bytes < len(noops)
    assert server.server.reactor._selector.objects(0) == []  # the socket is readable, but not watched for that
    assert [event.pipelined for event in server.events(Command)] == [False]
    for _ in range(3):
        server.advance(5.1)
        server.advance(0.1)
        client.expect("250 OK")
    assert server.events(Command)[-1].pipelined


def test_pipelined_commands_get_their_replies_in_order(inside: MakeInside) -> None:
    server = inside(reply_delay_s=0.1, idle_timeout_s=60, session_timeout_s=600)
    client = server.greeted()
    client.sock.sendall(b"".join(b"VRFY %d\r\nx%d\r\n" % (number, number) for number in range(15)) + b"QUIT\r\n" * 500)
    server.turn()
    for number in range(15):
        for start in ("252", f"500 Command unrecognized: x{number}"):
            server.advance(0.2)
            server.advance(0.1)
            client.expect(start)
    server.advance(0.2)
    client.expect("221")
    client.rest()
    (closed,) = server.events(Closed)
    assert (closed.reason, closed.commands) == ("quit", 31)


def test_a_peer_that_closes_while_it_waits_frees_its_slot(inside: MakeInside) -> None:
    server = inside(**STUTTER)
    for leave in (Client.close, Client.reset):
        client = server.connect()
        assert received(server, client) == GREETING[:1]
        leave(client)
        server.turn_until(lambda: server.server.reception.slots.in_use == 0, "a free slot")
    assert [closed.reason for closed in server.events(Closed)] == ["peer", "reset"]


def test_a_reset_behind_unread_data_frees_the_slot(inside: MakeInside) -> None:
    server = inside(greet_delay_s=60)
    client = server.connect()
    client.sock.sendall(b"NOOP\r\n" * 2_000)
    for _ in range(3):
        server.turn()
    client.reset()
    if not REPORTS_ERRORS:
        server.advance(1.1)  # such a selector says nothing; the connection looks once a second
    server.turn_until(lambda: server.server.reception.slots.in_use == 0, "a free slot")
    assert [closed.reason for closed in server.events(Closed)] == ["reset"]


def test_a_half_close_during_a_reply_ends_the_session(inside: MakeInside) -> None:
    server = inside(**STUTTER)
    client = server.connect()
    client.sock.shutdown(socket.SHUT_WR)
    server.turn_until(lambda: server.server.reception.slots.in_use == 0, "a free slot")
    assert client.rest() == GREETING[:1]
    assert [closed.reason for closed in server.events(Closed)] == ["peer"]


def test_a_long_reply_is_neither_idle_nor_stalled(inside: MakeInside) -> None:
    server = inside(**STUTTER, idle_timeout_s=5)
    client = server.connect()
    pieces = received_each_second(server, client, len(GREETING) - 1)
    assert b"".join(pieces) == GREETING
    client.send("EHLO x")
    server.turn()
    assert len(b"".join(received_each_second(server, client, 60))) >= 60
    assert server.events(Closed) == []


def test_the_session_timeout_cuts_no_line(inside: MakeInside) -> None:
    server = inside(**STUTTER, session_timeout_s=10)
    client = server.connect()
    said = b"".join(received_each_second(server, client, 9))
    server.advance(1.1)
    assert said + client.rest() == GREETING + b"421 Session timed out\r\n"
    assert [closed.reason for closed in server.events(Closed)] == ["session"]


@pytest.mark.parametrize("settings", [STUTTER, {"greet_delay_s": 30, "greeting": "{hostname}"}])
def test_a_shutdown_is_announced_at_once(inside: MakeInside, settings: dict[str, object]) -> None:
    server = inside(**settings)
    client = server.connect()
    server.server.reception.end_all("shutdown", server.server.reactor.clock.now)
    assert client.rest() == GREETING + b"421 sink.test closing connection\r\n"


def test_sessions_are_served_without_delay_while_slots_are_short(inside: MakeInside) -> None:
    server = inside(**STUTTER, slots=10)
    clients = [server.connect() for _ in range(8)]
    assert {received(server, client) for client in clients} == {GREETING[:1]}
    caller = server.connect()  # one slot stays free: fewer than a fifth
    caller.expect("220 sink.test")
    caller.say("NOOP", "250 OK")
    for _ in range(22):
        server.advance(0.05)
    assert {received(server, client) for client in clients} == {GREETING[1:]}
    assert server.server.reception.counters.undelayed == 9
    for client in clients[:2]:
        client.say("QUIT", "221")
        client.expect_end()
    again = server.connect()  # two are free: a fifth, but it ends only at a quarter
    again.expect("220")
    for client in clients[2:4]:
        client.say("QUIT", "221")
        client.expect_end()
    delayed = [server.connect()]
    assert received(server, delayed[0]) == GREETING[:1]
    assert server.server.reception.counters.undelayed == 10
    # Slots become short again. Sessions that are served without delay already are not counted again.
    delayed += [server.connect() for _ in range(3)]
    server.turn()
    assert server.server.reception.counters.undelayed == 10 + len(delayed)


def test_delayed_greetings_are_sent_when_slots_become_short(inside: MakeInside) -> None:
    server = inside(slots=10, greet_delay_s=30, greeting="{hostname}")
    clients = [server.connect() for _ in range(9)]
    for _ in range(22):
        server.advance(0.05)
    assert {received(server, client) for client in clients} == {GREETING}


def test_a_delayed_session_can_be_evicted(inside: MakeInside) -> None:
    server = inside(**STUTTER, slots=2, slots_per_client=0)
    clients = [server.connect(), server.connect()]
    server.advance(1.1)
    server.advance(5)
    caller = server.connect()
    assert clients[1].rest() == GREETING + b"421 Too many connections, yours was idle\r\n"
    caller.expect("220")


def test_settings_from_a_monitor_delay_only_new_sessions(inside: MakeInside) -> None:
    server = inside(greeting="{hostname}")
    before = server.greeted()
    changed = server.server.configuration.with_set({"tarpit": True, "greet_delay_s": 0}, server.server.warn)
    server.server.configure(changed, "", 0)
    before.say("NOOP", "250")
    delayed = server.connect()
    assert received(server, delayed) == GREETING[:1]
    server.advance(100)  # more than the usual time-outs
    assert [closed.reason for closed in server.events(Closed)] == ["idle"]
    delayed.expect(GREETING[1:-2].decode())


def test_a_peer_that_does_not_read_stalls_in_the_tarpit_too(inside: MakeInside) -> None:
    keywords = [f"X{number:02d} " + "x" * 480 for number in range(64)]
    server = inside(reply_delay_s=1, quiet_timeout_s=0, ehlo_keywords=keywords, session_timeout_s=86_400)
    client = server.connect(receive_buffer_bytes=65_536)
    client.sock.sendall(b"EHLO x\r\n" * 256)
    for _ in range(256):
        server.advance(1.1)
        server.advance(0.1)
    server.advance(31)
    assert [closed.reason for closed in server.events(Closed)] == ["stalled"]


@pytest.mark.parametrize("early", [b"NO", b"x" * 2048], ids=["a piece", "a long piece"])
def test_a_command_whose_first_piece_arrived_early_gets_its_reply(inside: MakeInside, early: bytes) -> None:
    """The first piece gets no reply, so no reply is under way when the rest arrives."""
    server = inside(reply_delay_s=1)
    client = server.greeted()
    client.send("NOOP first")
    server.turn()
    client.sock.sendall(early)
    server.turn()
    server.advance(1.1)
    assert received(server, client).startswith(b"250")
    server.advance(0.1)
    client.send("OP")
    server.turn()
    server.advance(1.1)
    client.expect("250" if early == b"NO" else "500")
    client.send("QUIT")
    server.turn()
    server.advance(1.1)
    client.expect("221")


def fill(stream: Stream) -> None:
    """Send until the kernel takes no more."""
    try:
        while True:
            stream.send(b"#" * 65_536, DONTWAIT)
    except BlockingIOError:
        pass


def test_callers_that_leave_or_read_nothing_do_not_disturb_the_others(inside: MakeInside) -> None:
    server = inside(**STUTTER, slots=200, slots_per_client=0)
    clients = [server.connect() for _ in range(100)]
    closer, resetter, deaf = clients[10:13]
    others = clients[:10] + clients[13:]
    server.turn()
    assert {arrived(client) for client in clients} == {GREETING[:1]}
    closer.close()
    resetter.reset()
    server.turn_until(lambda: server.server.reception.slots.in_use == 98, "two free slots")
    connection = server.server.reception._connections[12]
    assert connection is not None
    fill(connection.sock)
    server.time.advance(0.06)
    for number in range(1, 5):
        server.advance(1)
        assert {arrived(client) for client in others} == {GREETING[number : number + 1]}
    read = b""
    while not read.endswith(GREETING[1:5]):
        server.advance(0.01)
        read += arrived(deaf)
    assert read.replace(b"#", b"") == GREETING[1:5]
    server.advance(1)
    assert {arrived(client) for client in (deaf, *others)} == {GREETING[5:6]}
    assert sorted(closed.reason for closed in server.events(Closed)) == ["peer", "reset"]


def test_at_an_odd_pace_bytes_are_at_most_100_ms_late_and_never_early(inside: MakeInside) -> None:
    server = inside(**STUTTER | {"stutter_bytes_per_s": 3}, slots=200, slots_per_client=0)
    clients = {}
    for _ in range(12):
        clients[server.connect()] = server.time.monotonic_s
        server.advance(0.013)
    got = dict.fromkeys(clients, 0)
    for _ in range(100):
        server.advance(0.013)
        for client, begun_at in clients.items():
            got[client] += len(arrived(client))
            waited = server.time.monotonic_s - begun_at
            fewest = int((waited - 0.1 - 0.013) * 3) + 1
            assert min(fewest, len(GREETING)) <= got[client] <= int(waited * 3 + 1e-6) + 1


def test_a_session_ends_on_time_while_its_round_continues(inside: MakeInside) -> None:
    server = inside(**STUTTER | {"greeting": "{hostname} " + "x" * 100}, session_timeout_s=30, idle_timeout_s=30)
    first = server.connect()
    received(server, first)
    server.advance(10)
    second = server.connect()
    server.advance(19.9)
    assert received(server, first) != b""
    assert server.events(Closed) == []
    server.advance(1.2)
    assert first.rest().endswith(b"421 Session timed out\r\n")
    assert [closed.reason for closed in server.events(Closed)] == ["session"]
    server.advance(1)
    assert received(server, second) != b""
