"""A link over TLS: the handshake, the certificate, and servers without TLS."""

import contextlib
import errno
import socket
import ssl
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from smtppseudo.link import wire
from smtppseudo.link.errors import (
    BadPeerError,
    ChangedCertificateError,
    ConnectionLostError,
    NotPrivateError,
    RefusedError,
    UnknownCertificateError,
    UnreachableError,
)
from smtppseudo.link.link import MonitorLink
from smtppseudo.link.machine import MonitorClient, Secrets
from smtppseudo.monitor.codec import encode
from smtppseudo.net import pem, tls
from tests.certificates import Certificate, make_certificate
from tests.clients import LIMIT_S, wait_until
from tests.loopback.scripted import Conversation, Script, Scripted
from tests.monitors import cookie_of, monitor_port
from tests.running import Running, Servers, not_on_windows
from tests.unit.monitor_peer import CLIENT_NONCE, COOKIE, hello

SHORT_S = 0.3


@pytest.fixture
def server(servers: Servers, certificate: Certificate) -> Running:
    return servers.start(certificate.settings("monitor_"), monitor_listen=["0.0.0.0"])


def link(port: int, fingerprint: str | None = None, cookie: str = COOKIE, timeout_s: float = LIMIT_S) -> MonitorLink:
    return MonitorLink.connect("127.0.0.1", port, Secrets((cookie,)), timeout_s=timeout_s, tls="on", pin=fingerprint)


def test_certificate_errors_have_fingerprint_and_place(
    server: Running, certificate: Certificate, other: Certificate
) -> None:
    port = monitor_port(server)
    with pytest.raises(UnknownCertificateError) as unknown:
        link(port)
    assert (unknown.value.fingerprint, unknown.value.place) == (certificate.fingerprint, ("127.0.0.1", port))
    with pytest.raises(ChangedCertificateError) as changed:
        link(port, other.fingerprint)
    assert (changed.value.fingerprint, changed.value.accepted) == (certificate.fingerprint, other.fingerprint)
    with link(port, certificate.fingerprint, cookie_of(server)) as made:
        assert made.is_private
        assert made.request("status")["state"] == "online"


def test_events_arrive_over_tls(server: Running, certificate: Certificate) -> None:
    with link(monitor_port(server), certificate.fingerprint, cookie_of(server)) as made:
        made.request("subscribe")
        for _ in range(30):
            server.play("HELO me")
        seen = 0
        while seen < 120:
            seen += len(made.next_events(LIMIT_S))


def test_close_wakes_the_waiting_thread_over_tls(server: Running, certificate: Certificate) -> None:
    made = link(monitor_port(server), certificate.fingerprint, cookie_of(server))
    ended: list[BaseException] = []

    def wait() -> None:
        try:
            made.next_events()
        except Exception as error:  # noqa: BLE001 - looked at below
            ended.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    wait_until(lambda: made._wire._waits, "waiting")
    made.close()
    thread.join(LIMIT_S)
    assert type(ended[0]).__name__ == "ClosedError"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_hello_in_the_same_packet_as_the_handshake_is_read(certificate: Certificate, version: ssl.TLSVersion) -> None:
    """`select` does not report bytes that the TLS object holds already."""
    context = certificate.server_context()
    context.maximum_version = version
    script = _behind_the_handshake(context, {"type": "hello", "protocol": 99})
    with Scripted(script) as scripted, pytest.raises(BadPeerError, match="99"):
        link(scripted.port, certificate.fingerprint)


@not_on_windows("it drops what has arrived when a socket is shut down")
def test_refusal_behind_a_failed_send_is_read(certificate: Certificate, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(sock: tls.TlsSocket, data: bytes) -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr(tls.TlsSocket, "sendall", fail)
    monkeypatch.setattr(wire, "_RECEIVE_BYTES", 1)  # so that the hello is answered before the refusal is read
    busy: dict[str, object] = {"type": "error", "error": "busy", "message": "8 monitors"}
    script = _behind_the_handshake(certificate.server_context(), hello(), busy)
    with Scripted(script) as scripted, pytest.raises(RefusedError, match="8 monitors"):
        link(scripted.port, certificate.fingerprint)


def _behind_the_handshake(context: ssl.SSLContext, *frames: dict[str, object]) -> Script:
    """Return a script that sends frames, each as a record, in one packet with the end of the handshake."""

    def script(it: Conversation) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        server = context.wrap_bio(incoming, outgoing, server_side=True)
        done = False
        while not done:
            incoming.write(it.sock.recv(65_536))
            try:
                server.do_handshake()
                for frame in frames:
                    server.write(encode(frame))
                done = True
            except ssl.SSLWantReadError:
                pass
            it.sock.sendall(outgoing.read())
        _drain(it)

    return script


def _drain(it: Conversation) -> None:
    with contextlib.suppress(OSError):
        while it.sock.recv(65_536):
            pass


def test_clear_text_server_is_refused_with_advice() -> None:
    def script(it: Conversation) -> None:
        it.sock.sendall(b'{"type":"hello"}\n')
        _drain(it)

    with Scripted(script) as scripted, pytest.raises(NotPrivateError, match=r"does not speak TLS; leave out --tls$"):
        link(scripted.port)
    with (
        Scripted(script) as scripted,
        socket.create_connection(("127.0.0.1", scripted.port)) as sock,
        pytest.raises(NotPrivateError, match=r"2626:127\.0\.0\.1:26 mail\.example\.org`.*--cleartext$"),
    ):
        wire.secure(sock, ("mail.example.org", 26), LIMIT_S, None)


def test_silent_server_times_out_in_the_handshake() -> None:
    with Scripted(_drain) as scripted, pytest.raises(UnreachableError, match=r"no TLS handshake within 0.3 s"):
        link(scripted.port, timeout_s=SHORT_S)


def test_server_that_closes_in_the_handshake() -> None:
    with (
        Scripted(lambda it: None) as scripted,
        pytest.raises(ConnectionLostError, match=r"lost in the TLS handshake.*try again"),
    ):
        link(scripted.port)


def test_outdated_tls_is_refused() -> None:
    def script(it: Conversation) -> None:
        it.sock.recv(65_536)
        it.sock.sendall(b"\x15\x03\x01\x00\x02\x02\x46")  # alert: protocol version
        _drain(it)

    with Scripted(script) as scripted, pytest.raises(BadPeerError, match=r"the TLS handshake failed"):
        link(scripted.port)


def test_clear_text_to_a_tls_port_is_explained_at_once(server: Running) -> None:
    """The error comes at once; it is no time-out."""
    with pytest.raises(UnreachableError, match=r"this port accepts only TLS; give --tls$"):
        MonitorLink.connect("127.0.0.1", monitor_port(server), Secrets((COOKIE,)))


def test_second_connection_and_handshake_share_the_time_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connecting and the handshake together take no longer than the time-out."""
    granted: list[float] = []
    times = iter([100.0, 100.75])

    def record(sock: socket.socket, timeout_s: float) -> None:
        granted.append(timeout_s)

    monkeypatch.setattr(tls, "connect", record)
    monkeypatch.setattr(wire, "time", SimpleNamespace(monotonic=lambda: next(times)))
    monkeypatch.setattr(wire, "_HELLO_S", 0.0)
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as sock:
        connection = wire.Wire(sock, MonitorClient(Secrets(), CLIENT_NONCE, "the server"))
        assert connection.needs_tls(1.0)
        connection.close()
    assert granted == [0.25]


def test_slow_clear_text_server_is_not_mistaken_for_tls(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second connection tests for TLS, so that the first one stays usable."""
    monkeypatch.setattr(wire, "_HELLO_S", 0.0)
    server = servers.start()
    with MonitorLink.connect("127.0.0.1", monitor_port(server), Secrets((cookie_of(server),))) as link:
        assert link.request("status")["state"] == "online"


@pytest.mark.parametrize("kind", ["rsa:2048", "ec -pkeyopt ec_paramgen_curve:P-384"])
def test_a_login_is_bound_to_the_certificate(servers: Servers, tmp_path: Path, other: Certificate, kind: str) -> None:
    made = make_certificate(tmp_path / "made", kind)
    chain = made.key.read_bytes() + b"a comment\n" + made.cert.read_bytes() + other.cert.read_bytes()
    made.cert.write_bytes(chain)  # only the first is the server's
    server = servers.start(made.settings("monitor_"), monitor_listen=["0.0.0.0"])
    assert pem.fingerprint_in(chain).hex(":").upper() == made.fingerprint.removeprefix("SHA256:")
    with link(monitor_port(server), made.fingerprint, cookie_of(server)) as made_link:
        assert made_link.request("status")["state"] == "online"


@pytest.mark.parametrize("chain", [b"", b"-----BEGIN CERTIFICATE-----\n\xff\n-----END CERTIFICATE-----\n"])
def test_a_damaged_certificate_has_no_fingerprint(chain: bytes) -> None:
    assert pem.fingerprint_in(chain) == b""
