"""Monitors over TLS: all addresses but loopback use it, and hostile handshakes starve nobody."""

import socket
import ssl
from collections.abc import Iterator
from typing import Any

import pytest

from smtppseudo.config.settings import SettingsError
from smtppseudo.monitor.session import AUTH_TIMEOUT_S
from tests.certificates import Certificate, client_hello, shake_hands
from tests.clients import Client, connect
from tests.conftest import MakeInside
from tests.inside import Inside
from tests.monitors import Peer, cookie_of, credentials_text, monitor_port, state_dir, word_fields
from tests.running import NotStartedError, Servers

WORD = "open sesame"
HELLO = client_hello()


@pytest.fixture
def server(inside: MakeInside, certificate: Certificate, peers: list[Client | Peer]) -> Inside:
    return inside(monitor_listen=["0.0.0.0"], quiet_timeout_s=0.0, **certificate.settings("monitor_"))


@pytest.fixture
def peers() -> Iterator[list[Client | Peer]]:
    """Connections to the monitor port, closed at the end."""
    made: list[Client | Peer] = []
    yield made
    for each in made:
        each.close()


def dialled(server: Inside, peers: list[Client | Peer], source: str | None = None) -> socket.socket:
    client = connect("127.0.0.1", monitor_port(server), source, server.turn)
    peers.append(client)
    server.turn()
    return client.sock


def by_tls(
    server: Inside, peers: list[Client | Peer], source: str | None = None, version: ssl.TLSVersion | None = None
) -> Peer:
    sock = shake_hands(dialled(server, peers, source), server.turn, version)
    peer = Peer(sock, server.turn)
    peers.append(peer)
    return peer


def waiting(server: Inside) -> int:
    console = server.server._console
    return len(console._connections) if console is not None else 0


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_login_and_ops_over_tls(server: Inside, peers: list[Client | Peer], version: ssl.TLSVersion) -> None:
    peer = by_tls(server, peers, version=version).greet()
    assert peer.hello["mechanisms"] == ["SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"]
    peer.log_in("cookie", cookie_of(server))
    peer.ok("subscribe")
    with server.greeted() as client:
        client.say("QUIT", "221")
    assert [event["event"] for event in peer.events_until(event="closed")] == ["connected", "command", "closed"]
    peer.close()
    server.turn_until(lambda: waiting(server) == 0, "gone")


def test_long_replies_arrive_whole(inside: MakeInside, certificate: Certificate, peers: list[Client | Peer]) -> None:
    server = inside(monitor_listen=["0.0.0.0"], slots=3000, **certificate.settings("monitor_"))
    peer = by_tls(server, peers).greet().log_in("cookie", cookie_of(server))
    for _ in range(3):
        assert len(peer.ask("slots")["slots"]) == 3000
    assert len(peer.snapshot["slots"]) == 3000


def test_the_magic_word_can_be_set_over_tls(server: Inside, peers: list[Client | Peer]) -> None:
    (state_dir(server) / "credentials").write_text(credentials_text(WORD))
    peer = by_tls(server, peers).greet().log_in("magic", WORD)
    (session,) = server.server._console._connections  # type: ignore[union-attr]
    session.ip = "192.0.2.1"  # as from afar
    peer.ok("magic_word", **word_fields("another word"))


def test_the_magic_word_cannot_be_set_in_clear_text_over_a_network(
    inside: MakeInside, peers: list[Client | Peer]
) -> None:
    server = inside(monitor_listen=["0.0.0.0"], monitor_cleartext=True)
    peer = Peer(dialled(server, peers), server.turn).greet().log_in("cookie", cookie_of(server))
    (session,) = server.server._console._connections  # type: ignore[union-attr]
    session.ip = "192.0.2.1"
    assert "over TLS" in peer.refused("magic_word", "not_authorized", **word_fields("another word"))


def test_a_certificate_overrides_monitor_cleartext(
    inside: MakeInside, certificate: Certificate, peers: list[Client | Peer]
) -> None:
    server = inside(monitor_listen=["0.0.0.0"], monitor_cleartext=True, **certificate.settings("monitor_"))
    assert by_tls(server, peers).greet().hello["type"] == "hello"


def test_nothing_is_sent_in_clear_text(server: Inside, peers: list[Client | Peer]) -> None:
    sock = dialled(server, peers)
    sock.settimeout(0)
    sock.send(b'{"id":1,"op":"ping"}\n')
    server.turn_until(lambda: waiting(server) == 0, "closed")
    assert b"{" not in sock.recv(100)


def test_hanging_handshakes_starve_nobody(server: Inside, peers: list[Client | Peer]) -> None:
    """Each source may have two; then the oldest makes room, without a byte in clear text."""
    hanging = [dialled(server, peers, f"127.0.1.{number // 2}") for number in range(31)]
    for number, sock in enumerate(hanging):
        sock.send(HELLO[: number * 8])
    server.turn_until(lambda: waiting(server) == 31, "31 wait")
    dialled(server, peers, "127.0.1.0").send(HELLO)
    assert hanging[0].recv(100) == b""
    peer = by_tls(server, peers, "127.0.2.1").greet().log_in("cookie", cookie_of(server))
    peer.ok("ping")
    dialled(server, peers, "127.0.2.2").send(HELLO)
    server.turn_until(lambda: waiting(server) == 33, "32 wait, one is logged in")
    dialled(server, peers, "127.0.2.3").send(HELLO)
    assert hanging[1].recv(100) == b""
    assert waiting(server) == 33
    peer.ok("ping")
    server.advance(AUTH_TIMEOUT_S + 0.1)
    server.turn_until(lambda: waiting(server) == 1, "the handshakes' time is up")
    peer.ok("ping")
    assert by_tls(server, peers, "127.0.1.0").greet().hello["type"] == "hello"


def test_a_handshake_that_is_closed_in_the_turn_of_its_next_step_is_closed_once(
    server: Inside, peers: list[Client | Peer]
) -> None:
    peer = by_tls(server, peers).greet().log_in("cookie", cookie_of(server))
    hanging = dialled(server, peers)
    peer.send("magic_word", **word_fields("another word"))  # closes all others
    hanging.send(HELLO)
    server.turn_until(lambda: waiting(server) == 1, "closed")


def test_the_handshake_counts_towards_the_login_timeout(server: Inside, peers: list[Client | Peer]) -> None:
    sock = dialled(server, peers)
    server.advance(AUTH_TIMEOUT_S - 1)
    peer = Peer(shake_hands(sock, server.turn), server.turn).greet()
    peers.append(peer)
    server.advance(1.1)
    assert peer.rest() == [{"type": "error", "error": "not_authorized", "message": "Not Authorized!"}]


def test_endless_key_updates_take_no_memory(server: Inside, peers: list[Client | Peer]) -> None:
    """TLS itself replies to key updates; the peer never reads these replies."""
    peer = by_tls(server, peers).greet()
    sock = peer.sock
    (connection,) = server.server._console._connections.values()  # type: ignore[union-attr]
    inner: Any = connection.sock
    inner.unsent = b"x" * 70_000  # as when the kernel took nothing for long
    inner._sock = _Full(inner._sock)
    inner._outgoing.write(b"an answer")
    sock.settimeout(0)
    sock.send(b"{")
    server.turn_until(lambda: waiting(server) == 0, "closed")


class _Full:
    """A socket whose peer reads nothing."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def __getattr__(self, name: str) -> object:
        return getattr(self._sock, name)

    def send(self, data: bytes, flags: int = 0) -> int:
        raise BlockingIOError


# What must be set


def test_a_network_address_without_a_certificate_is_refused(servers: Servers) -> None:
    with pytest.raises(NotStartedError) as caught:
        servers.start(monitor_listen=["0.0.0.0"])
    assert caught.value.status == 78
    (line,) = caught.value.stderr.splitlines()
    for way in ("monitor_tls_cert", "monitor_cleartext = true", "SSH", "smtppseudo guide monitor"):
        assert way in line


def test_a_reload_cannot_remove_the_certificate(
    inside: MakeInside, certificate: Certificate, peers: list[Client | Peer]
) -> None:
    server = inside(monitor_listen=["0.0.0.0"], **certificate.settings("monitor_"))
    before = server.server.settings
    file = {name: value for name, value in server.configuration._file.items() if "tls" not in name}
    with pytest.raises(SettingsError, match="monitor_tls_cert"):
        server.reload(file)
    assert server.server.settings == before
    assert by_tls(server, peers).greet().hello["type"] == "hello"
