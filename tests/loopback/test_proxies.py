"""Callers behind a proxy: the session has the address in the header that the proxy sends first."""

import errno
import socket
import struct
from collections.abc import Iterator

import pytest

from smtppseudo.events import Closed, Command, Connected, SettingsChanged, TurnedAway
from smtppseudo.loop.reactor import Watched
from smtppseudo.loop.selector import READ
from tests.clients import Client, connect
from tests.conftest import MakeInside
from tests.inside import Inside
from tests.monitors import Monitors
from tests.running import NotStartedError, Servers, limited_to

PROXY = "127.0.0.1"
BEHIND = {"proxies": [PROXY], "quiet_timeout_s": 0, "limit_exempt": []}
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
CALLER_4, CALLER_6 = "192.0.2.7", "2001:db8::7"
TCP4 = b"PROXY TCP4 192.0.2.7 192.0.2.25 50000 25\r\n"
TCP6 = b"PROXY TCP6 2001:db8::7 2001:db8::25 50000 25\r\n"
BINARY_4 = SIGNATURE + struct.pack("!BBH4s4sHH", 0x21, 0x11, 12, bytes([192, 0, 2, 7]), bytes(4), 50_000, 25)
BINARY_6 = SIGNATURE + struct.pack(
    "!BBH16s16sHH", 0x21, 0x21, 41, socket.inet_pton(socket.AF_INET6, CALLER_6), bytes(16), 50_000, 25
)
BINARY_6 += b"\x04\x00\x02xx"  # a TLV
HEADERS = pytest.mark.parametrize(
    ("header", "caller"), [(TCP4, CALLER_4), (TCP6, CALLER_6), (BINARY_4, CALLER_4), (BINARY_6, CALLER_6)]
)
LOCAL = [b"PROXY UNKNOWN\r\n", SIGNATURE + b"\x20\x00\x00\x00"]


def header_of(ip: str) -> bytes:
    return f"PROXY TCP{6 if ':' in ip else 4} {ip} {ip} 50000 25\r\n".encode()


class Proxy:
    """Connects to a server as a proxy does; at the end it closes what it opened."""

    def __init__(self) -> None:
        self._clients: list[Client] = []

    def connect(self, server: Inside, data: bytes = b"", source: str = PROXY) -> Client:
        """Connect, and send data; the server sees both in one turn."""
        client = connect("127.0.0.1", server.port, source, server.turn)
        self._clients.append(client)
        client.sock.sendall(data)
        server.turn()
        return client

    def close(self) -> None:
        """Close all connections."""
        for client in self._clients:
            client.close()


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    proxy = Proxy()
    yield proxy
    proxy.close()


def slots_in_use(server: Inside) -> int:
    return server.server.reception.slots.in_use


def waiting(server: Inside) -> int:
    gate = server.server.reception._proxy_gate
    assert gate is not None
    return len(gate.waiting)


def turned_away(server: Inside) -> list[tuple[str, str, int]]:
    return [
        (stamped.ip, stamped.event.reason, stamped.event.count)
        for stamped in server.records()
        if isinstance(stamped.event, TurnedAway)
    ]


@HEADERS
def test_the_session_has_the_address_in_the_header(
    inside: MakeInside, proxy: Proxy, header: bytes, caller: str
) -> None:
    server = inside(**BEHIND, greeting="Hello {ip}!")
    client = proxy.connect(server, header)
    client.expect(f"220 Hello {caller}!")
    client.say("HELO x", f"250 Hello x from {caller}")
    client.say("QUIT", "221")
    client.expect_end()
    assert {(record.ip, record.port) for record in server.records() if record.session} == {(caller, 50_000)}
    assert server.events(Connected) == [Connected(server.port)]
    assert [closed.received_bytes for closed in server.events(Closed)] == [14]
    assert [command.pregreet for command in server.events(Command)] == [False, False]


@HEADERS
def test_a_header_may_come_byte_by_byte(inside: MakeInside, proxy: Proxy, header: bytes, caller: str) -> None:
    server = inside(**BEHIND)
    client = proxy.connect(server)
    for byte in header[:-1]:
        client.sock.sendall(bytes([byte]))
        server.turn()
    assert (slots_in_use(server), server.records(Connected), server.events(TurnedAway)) == (0, [], [])
    client.sock.setblocking(False)
    with pytest.raises(BlockingIOError):
        client.sock.recv(1)
    client.sock.sendall(header[-1:] + b"NOOP\r\n")
    client.expect("220")
    client.expect("250")
    client.say("QUIT", "221")
    assert {(record.ip, record.port) for record in server.records() if record.session} == {(caller, 50_000)}
    assert [closed.received_bytes for closed in server.events(Closed)] == [12]


@HEADERS
@pytest.mark.parametrize("pace", [{}, {"greet_delay_s": 0.5}, {"stutter_bytes_per_s": 1000}])
def test_what_follows_the_header_belongs_to_the_session(
    inside: MakeInside, proxy: Proxy, pace: dict[str, float], header: bytes, caller: str
) -> None:
    server = inside(**BEHIND, **pace)
    client = proxy.connect(server, header + b"HELO x\r\nMAIL FROM:<a@b>\r\nNO")
    for _ in range(10):
        server.advance(0.3)
    client.expect("220")
    client.expect("250")
    client.expect("553")
    client.sock.sendall(b"OP\r\nQUIT\r\n")
    for _ in range(10):
        server.advance(0.3)
    client.expect("250")
    client.expect("221")
    client.expect_end()
    commands = server.events(Command)
    assert [command.data for command in commands] == ["HELO x", "MAIL FROM:<a@b>", "NOOP", "QUIT"]
    assert [command.pregreet for command in commands] == [True, True, True, False]
    assert [command.pipelined for command in commands[:2]] == [True, True]
    assert [closed.received_bytes for closed in server.events(Closed)] == [37]


def test_a_caller_may_say_everything_at_once(inside: MakeInside, proxy: Proxy) -> None:
    server = inside(**BEHIND)
    client = proxy.connect(server, TCP4 + b"QUIT\r\nNOOP\r\n")
    assert client.rest().splitlines()[1:] == [b"221 Server Disconnecting"]
    assert [(closed.reason, closed.received_bytes) for closed in server.events(Closed)] == [("quit", 12)]


@pytest.mark.parametrize("header", LOCAL)
def test_a_connection_of_the_proxy_itself_keeps_its_address(inside: MakeInside, proxy: Proxy, header: bytes) -> None:
    server = inside(**BEHIND)
    client = proxy.connect(server, header)
    client.expect("220")
    (connected,) = server.records(Connected)
    assert (connected.ip, connected.port) == (PROXY, client.port)


@pytest.mark.parametrize(
    "data",
    [
        b"EHLO mx.example.org\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.25 65536 25\r\n",
        b"PROXY UNKNOWN ".ljust(108, b"x"),
        SIGNATURE + b"\x21\x11\x0f\xf1",
        SIGNATURE + b"\x21\x11\x00\x0b" + bytes(11),
    ],
)
def test_a_malformed_header_is_closed_without_a_reply_and_counted(
    inside: MakeInside, proxy: Proxy, data: bytes
) -> None:
    server = inside(**BEHIND)
    for _ in range(2):
        client = proxy.connect(server)
        for end in range(len(data)):
            client.sock.sendall(data[end : end + 1])
            server.turn()
            if waiting(server) == 0:
                break
        client.sock.setblocking(True)
        try:
            assert client.sock.recv(1) == b""
        except ConnectionResetError:
            pass  # it was closed before all bytes were read
    assert turned_away(server) == [(PROXY, "proxy", 1)]
    server.advance(1.1)
    assert turned_away(server) == [(PROXY, "proxy", 1)] * 2
    assert server.server.counters()["turned_away"] == {"slots": 0, "client": 0, "proxy": 2, "blocked": 0}
    assert (server.records(Connected), slots_in_use(server)) == ([], 0)


def test_a_header_must_come_within_5_s(inside: MakeInside, proxy: Proxy) -> None:
    server = inside(**BEHIND)
    in_time, late = proxy.connect(server), proxy.connect(server, TCP4[:-1])
    server.advance(4.9)
    in_time.sock.sendall(TCP4)
    in_time.expect("220")
    server.advance(0.2)
    late.expect_end()
    assert turned_away(server) == [(PROXY, "proxy", 1)]
    assert slots_in_use(server) == 1


def test_as_many_connections_wait_as_there_are_slots(inside: MakeInside, proxy: Proxy) -> None:
    server = inside(**BEHIND, slots=3)
    clients = [proxy.connect(server) for _ in range(3)]
    proxy.connect(server).expect_end()
    proxy.connect(server, TCP4).expect("220")  # it does not wait
    assert turned_away(server) == [(PROXY, "proxy", 1)]
    for client in clients[:2]:
        client.sock.sendall(TCP4)
        client.expect("220")
    proxy.connect(server)
    clients[2].sock.sendall(TCP4)
    clients[2].expect("421 Too many connections")
    clients[2].expect_end()


@pytest.mark.parametrize("leave", [Client.close, Client.reset])
def test_a_proxy_that_leaves_before_its_header_is_counted(inside: MakeInside, proxy: Proxy, leave: object) -> None:
    server = inside(**BEHIND)
    client = proxy.connect(server)
    assert callable(leave)
    leave(client)
    server.turn_until(lambda: server.events(TurnedAway), "closed")
    assert turned_away(server) == [(PROXY, "proxy", 1)]
    assert waiting(server) == 0


@pytest.mark.parametrize("is_late", [False, True])
def test_limits_are_those_of_the_address_in_the_header(inside: MakeInside, proxy: Proxy, is_late: bool) -> None:
    server = inside(**BEHIND, slots=4, slots_per_client=1)

    def call(ip: str) -> Client:
        client = proxy.connect(server, b"" if is_late else header_of(ip))
        if is_late:
            client.sock.sendall(header_of(ip))
        return client

    for ip in (CALLER_4, "192.0.2.8", CALLER_6):
        call(ip).expect("220")
    for ip in (CALLER_4, "2001:db8::8"):
        client = call(ip)
        client.expect("421 Too many connections")
        client.expect_end()
    call("192.0.2.9").expect("220")
    call("192.0.2.10").expect("421 Too many connections")
    assert turned_away(server) == [
        (CALLER_4, "client", 1),
        ("2001:db8::8", "client", 1),
        ("192.0.2.10", "slots", 1),
    ]


def test_the_limit_of_a_proxy_counts_its_own_connections_alone(inside: MakeInside, proxy: Proxy) -> None:
    server = inside(**BEHIND, slots_per_client=1)
    for number in range(3):
        proxy.connect(server, header_of(f"192.0.2.{number}")).expect("220")
    proxy.connect(server, LOCAL[0]).expect("220")
    proxy.connect(server, LOCAL[1]).expect("421")


def test_from_others_a_header_is_an_unknown_command(inside: MakeInside, proxy: Proxy) -> None:
    server = inside(**BEHIND)
    client = proxy.connect(server, source="127.0.0.2")
    client.expect("220")
    client.sock.sendall(TCP4)
    client.expect("500")
    client.say("QUIT", "221")
    assert {record.ip for record in server.records() if record.session} == {"127.0.0.2"}
    binary = proxy.connect(server, source="127.0.0.2")
    binary.expect("220")
    binary.sock.sendall(BINARY_4)
    assert [reply[:3] for reply in binary.rest().splitlines()] == [b"500", b"500", b"500", b"221"]


def test_a_reload_applies_to_new_connections(inside: MakeInside, proxy: Proxy) -> None:
    server = inside(quiet_timeout_s=0)

    def reload(proxies: tuple[str, ...]) -> None:
        settings = {**server.settings._asdict(), "proxies": proxies}
        server.reload(settings)

    before = server.greeted()
    reload((f"{PROXY}/32",))
    between = proxy.connect(server)
    proxy.connect(server, TCP4).expect("220")
    reload(())
    after = server.greeted()
    for client in (before, after):
        client.sock.sendall(TCP4)
        client.expect("500")
    between.sock.sendall(TCP6)
    between.expect("220")
    assert [record.ip for record in server.records(Connected)] == [PROXY, CALLER_4, PROXY, CALLER_6]
    assert [changed.keys for changed in server.events(SettingsChanged)] == ["proxies", "proxies"]


def test_connections_that_wait_are_closed_with_the_port(inside: MakeInside, proxy: Proxy) -> None:
    server = inside(**BEHIND)
    client = proxy.connect(server, TCP4[:9])
    server.server.go_offline("test")
    client.expect_end()
    server.advance(5.1)
    assert server.events(TurnedAway) == []
    server.server.go_online("test")
    proxy.connect(server)  # `inside` stops the server now


def test_a_connection_that_cannot_be_watched_is_closed(
    inside: MakeInside, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = inside(**BEHIND)

    def fail(fd: int, watched: Watched, mask: int = READ) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(server.server.reactor, "watch", fail)
    proxy.connect(server).expect_end()
    assert turned_away(server) == [(PROXY, "proxy", 1)]
    monkeypatch.undo()
    proxy.connect(server, TCP4).expect("220")


def test_the_monitor_port_takes_no_header(inside: MakeInside, monitors: Monitors) -> None:
    server = inside(**BEHIND)
    assert monitors.log_in(server, PROXY).ok("status")["state"] == "online"


@pytest.mark.parametrize("network", ["0.0.0.0/0", "::/0"])
def test_all_addresses_are_no_proxies(servers: Servers, network: str) -> None:
    with pytest.raises(NotStartedError) as caught:
        servers.start({"proxies": ["192.0.2.10", network]})
    assert caught.value.status == 78
    assert "proxies must be a list of networks" in caught.value.stderr
    assert network in caught.value.stderr


def test_connections_that_wait_need_open_files_too(servers: Servers) -> None:
    with pytest.raises(NotStartedError) as caught:
        servers.start({"slots": 300, "proxies": [PROXY]}, prefix=limited_to("RLIMIT_NOFILE", 500))
    assert "slots = 300 needs 688 open files, and the limit is 500" in caught.value.stderr
    assert "set slots to at most 206\n" in caught.value.stderr
    servers.start({"slots": 206, "proxies": [PROXY]}, prefix=limited_to("RLIMIT_NOFILE", 500))
