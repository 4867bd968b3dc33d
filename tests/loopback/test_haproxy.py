"""The real HAProxy in front of the server: `send-proxy`, `send-proxy-v2` and `option smtpchk`, both families."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from smtppseudo.events import Closed, Command, Connected, TurnedAway
from tests.clients import Client, connect, wait_until
from tests.loopback import haproxy
from tests.running import Running, Servers

ADDRESSES = ("127.0.0.1", "::1")
HEADERS = ("send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id")


def literal(address: str) -> str:
    """Return an address as HAProxy reads it."""
    return f"ipv6@{address}" if ":" in address else address


@pytest.fixture(params=ADDRESSES)
def server(request: pytest.FixtureRequest, servers: Servers) -> Running:
    """A server whose proxy comes from 127.0.0.1 or ::1."""
    return servers.start(
        {"proxies": list(ADDRESSES), "slots_per_client": 1, "limit_exempt": []}, listen=[request.param]
    )


@pytest.fixture
def ports(server: Running, tmp_path: Path) -> Iterator[dict[tuple[str, str], int]]:
    """The ports of an HAProxy, by address and kind of header."""
    ports = {(address, header): haproxy.free_port(address) for address in ADDRESSES for header in HEADERS}
    place = f"{literal(server.listens_on[0][0])}:{server.port}"
    sections = "".join(
        f"listen p{port}\n    bind {literal(address)}:{port}\n    server s{port} {place} {header}\n"
        for (address, header), port in ports.items()
    )
    with haproxy.running(tmp_path, sections):
        yield ports


def caller(address: str, port: int, source: str) -> Client:
    client = connect(address, port, source)
    client.expect("220")
    return client


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("header", HEADERS)
def test_a_session_has_the_callers_address(
    server: Running, ports: dict[tuple[str, str], int], address: str, header: str
) -> None:
    source = "127.0.0.7" if address == "127.0.0.1" else address
    with caller(address, ports[address, header], source) as client:
        client.say("HELO x", f"250 Hello x from {source}")
        client.say("MAIL FROM:<a@b>", "553")
        with connect(address, ports[address, header], source) as another:
            another.expect("421 Too many connections")
        client.say("QUIT", "221")
        client.expect_end()
        closed = server.wait_for_event(Closed, reason="quit")
        assert (closed.ip, closed.port) == (source, client.port)
    assert [closed.received_bytes for closed in server.events(Closed)] == [31]
    assert {(event.reason, event.count) for event in server.events(TurnedAway)} == {("client", 1)}


def test_what_a_caller_sends_before_the_greeting_is_the_sessions(
    server: Running, ports: dict[tuple[str, str], int]
) -> None:
    with connect("127.0.0.1", ports["127.0.0.1", "send-proxy"], "127.0.0.8") as client:
        client.send("HELO x", "QUIT")
        for reply in ("220", "250", "221"):
            client.expect(reply)
        client.expect_end()
    assert server.wait_for_event(Closed).ip == "127.0.0.8"
    assert [command.data for command in server.events(Command)] == ["HELO x", "QUIT"]


@pytest.mark.parametrize("header", ["send-proxy", "send-proxy-v2"])
def test_health_checks_succeed(server: Running, tmp_path: Path, header: str) -> None:
    address = server.listens_on[0][0]
    port = haproxy.free_port(address)
    check = f"{header} check inter 100ms"
    section = (
        f"listen smtp\n    bind {literal(address)}:{port}\n    option smtpchk EHLO check.test\n"
        f"    server sink {literal(address)}:{server.port} {check}\n"
    )
    with haproxy.running(tmp_path, section) as proxy:
        wait_until(lambda: proxy.states()["sink"] == ("UP", "L7OK"), "a good check")
        server.wait_for_event(Closed, count=2, reason="quit")
    assert {record.ip for record in server.records() if isinstance(record.event, Connected)} == {address}
    assert server.events(TurnedAway) == []


def test_a_proxy_without_headers_is_turned_away(server: Running, tmp_path: Path) -> None:
    address = server.listens_on[0][0]
    port = haproxy.free_port(address)
    section = f"listen smtp\n    bind {literal(address)}:{port}\n    server sink {literal(address)}:{server.port}\n"
    with haproxy.running(tmp_path, section), connect(address, port) as client:
        client.send("HELO x")
        client.sock.settimeout(20)
        try:
            assert client.sock.recv(100) == b""
        except ConnectionResetError:
            pass
    assert server.wait_for_event(TurnedAway, reason="proxy").ip == address
