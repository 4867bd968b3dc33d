"""STARTTLS over real sockets, on a clock that the test moves: good, slow, broken and hostile handshakes."""

import re
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from smtppseudo.config.settings import SettingsError
from smtppseudo.events import Closed, Command, Handshake
from smtppseudo.loop.connection import HANDSHAKE_TIMEOUT_S, Connection, Phase
from smtppseudo.net import tls as net_tls
from smtppseudo.smtp.dialogue import SmtpState
from smtppseudo.smtp.session import SmtpSession
from tests.certificates import Certificate, client_hello, make_certificate, start_tls, trusting
from tests.clients import Client, connect, shrink_send_buffer
from tests.conftest import MakeInside
from tests.inside import Inside

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
HELLO = client_hello()


@pytest.fixture
def server(inside: MakeInside, certificate: Certificate) -> Inside:
    return inside(**certificate.settings(), quiet_timeout_s=0.0)


def connection(server: Inside, slot: int = 1) -> Connection[SmtpSession]:
    found = server.server.reception._connections[slot - 1]
    assert found is not None
    return found


def ready_for_tls(server: Inside) -> Client:
    """Return a client that may begin the handshake."""
    client = server.greeted()
    client.say("EHLO me", "250")
    client.say("STARTTLS", "220")
    return client


class ManualTls:
    """A client's TLS whose bytes the test carries; `received` is the server's plain text."""

    def __init__(self, client: Client, version: ssl.TLSVersion | None = None) -> None:
        self.sock = client.sock
        self.sock.settimeout(0)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = trusting(version).wrap_bio(self._incoming, self._outgoing)
        self.received = b""

    def shake_hands(self) -> bool:
        """Do the next step of the handshake; return whether it is done."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def say(self, data: bytes) -> None:
        """Encrypt data, behind everything unsent."""
        self._tls.write(data)

    def records(self) -> bytes:
        """Return the unsent records, once."""
        return self._outgoing.read()

    def receive(self) -> None:
        """Receive and decrypt."""
        try:
            self._incoming.write(self.sock.recv(65_536))
            self.received += self._tls.read(100)
        except (BlockingIOError, ssl.SSLWantReadError):
            pass


def expect_closed(server: Inside, reason: str, count: int = 1) -> None:
    server.turn_until(lambda: len(server.events(Closed)) >= count, "closed")
    assert [closed.reason for closed in server.events(Closed)] == [reason] * count


def expect_service(server: Inside) -> None:
    """Check that another client is served."""
    with server.greeted() as other:
        other.say("HELO other", "250")


@pytest.mark.parametrize("version", VERSIONS)
def test_the_session_starts_over_under_tls(server: Inside, version: ssl.TLSVersion) -> None:
    client = server.greeted()
    assert client.say("EHLO me", "250").splitlines()[1] == "250-STARTTLS"
    (session,) = server.server.reception.slots
    start_tls(client, version)
    server.turn_until(lambda: session.state is SmtpState.GREETED, "the start under TLS")
    assert session.said is not None
    assert (session.is_open, session.said.helo) == (True, None)
    assert "STARTTLS" not in client.say("EHLO me", "250")
    client.say("AUTH PLAIN AGEAYg==", "502")
    client.say("STARTTLS", "503 TLS is active already.")
    client.say("MAIL FROM:<a@b>", "553 Sender <a@b> is Invalid!")
    client.say("QUIT", "221")
    client.expect_end()  # without a close_notify it would be an error
    expect_closed(server, "quit")
    (closed,) = server.events(Closed)
    said = [command.data for command in server.events(Command)]
    assert said[:3] == ["EHLO me", "STARTTLS", "EHLO me"]
    assert closed.commands == len(said) == 7
    in_clear = "EHLO me", "STARTTLS", "EHLO me", "AUTH PLAIN AGEAYg==", "STARTTLS", "MAIL FROM:<a@b>", "QUIT"
    assert closed.received_bytes == sum(len(line) + 2 for line in in_clear)


def test_the_log_says_how_a_handshake_ended(server: Inside) -> None:
    start_tls(server.greeted(), ssl.TLSVersion.TLSv1_2).say("QUIT", "221")
    (handshake,) = server.events(Handshake)
    assert (handshake.version, handshake.failure) == ("TLSv1.2", "")
    assert re.fullmatch("[A-Z0-9-]+", handshake.cipher)
    ready_for_tls(server).sock.sendall(b"not TLS\r\n" * 20)
    server.turn_until(lambda: len(server.events(Handshake)) == 2, "the failure")
    assert server.events(Handshake)[1] == Handshake(failure="WRONG_VERSION_NUMBER")
    ready_for_tls(server)
    server.advance(31)
    server.turn_until(lambda: len(server.events(Handshake)) == 3, "the time-out")
    assert server.events(Handshake)[2] == Handshake(failure="timed out")


def called_from(server: Inside, ip: str) -> Client:
    """Return a client whose address is given by the header of a proxy."""
    client = connect("127.0.0.1", server.port, None, server.turn)
    server._clients.append(client)
    client.sock.sendall(f"PROXY TCP4 {ip} 192.0.2.9 4000 25\r\n".encode())
    client.expect("220")
    return client


def offers_tls(server: Inside, ip: str) -> bool:
    with called_from(server, ip) as client:
        return "STARTTLS" in client.say("EHLO me", "250")


def fail_handshake(server: Inside, ip: str) -> None:
    before = len(server.events(Handshake))
    with called_from(server, ip) as client:
        client.say("EHLO me", "250")
        client.say("STARTTLS", "220")
        client.sock.sendall(b"not TLS\r\n" * 20)
        server.turn_until(lambda: len(server.events(Handshake)) > before, "the failure")


def test_a_client_that_fails_twice_is_not_offered_tls_for_an_hour(inside: MakeInside, certificate: Certificate) -> None:
    ours = {**certificate.settings(), "proxies": ["127.0.0.1/32"], "limit_exempt": ["198.51.100.0/24"]}
    server = inside(**ours, quiet_timeout_s=0.0)
    fail_handshake(server, "192.0.2.1")
    assert offers_tls(server, "192.0.2.1")
    fail_handshake(server, "192.0.2.1")
    assert not offers_tls(server, "192.0.2.1")
    assert offers_tls(server, "192.0.2.2")
    with called_from(server, "192.0.2.1") as client:
        client.say("STARTTLS", "502 Command not implemented.")
    for _ in range(3):
        fail_handshake(server, "198.51.100.1")
        fail_handshake(server, "127.0.0.7")
    assert offers_tls(server, "198.51.100.1")
    assert offers_tls(server, "127.0.0.7")
    server.advance(3601)
    assert offers_tls(server, "192.0.2.1")


def test_a_new_certificate_forgives_failures(inside: MakeInside, tmp_path: Path) -> None:
    old, new = make_certificate(tmp_path / "old"), make_certificate(tmp_path / "new")
    server = inside(**old.settings(), proxies=["127.0.0.1/32"], quiet_timeout_s=0.0)
    for _ in range(2):
        fail_handshake(server, "192.0.2.1")
    server.reload(_file(server))
    assert not offers_tls(server, "192.0.2.1")
    new.cert.replace(old.cert)
    with pytest.raises(SettingsError):
        server.reload(_file(server))
    assert not offers_tls(server, "192.0.2.1")
    new.key.replace(old.key)
    server.reload(_file(server))
    assert offers_tls(server, "192.0.2.1")


def test_a_success_forgives_earlier_failures(inside: MakeInside, certificate: Certificate) -> None:
    server = inside(**certificate.settings(), proxies=["127.0.0.1/32"], quiet_timeout_s=0.0)
    fail_handshake(server, "192.0.2.1")
    start_tls(called_from(server, "192.0.2.1")).say("QUIT", "221")
    fail_handshake(server, "192.0.2.1")
    assert offers_tls(server, "192.0.2.1")


def test_the_local_address_is_known_under_tls(server: Inside) -> None:
    client = start_tls(server.greeted())
    assert server.server.reception.local_ip(1) == "127.0.0.1"
    client.say("NOOP", "250")


def test_sender_and_recipient_are_forgotten_under_tls(inside: MakeInside, certificate: Certificate) -> None:
    server = inside(**certificate.settings(), accept_mail=True)
    client = server.greeted()
    for line in ("EHLO me", "MAIL FROM:<a@b>", "RCPT TO:<c@d>"):
        client.say(line, "250")
    start_tls(client)
    client.say("DATA", "554 No valid recipients.")
    client.say("RCPT TO:<c@d>", "503 Give the sender first.")
    for line in ("MAIL FROM:<a@b>", "RCPT TO:<c@d>"):
        client.say(line, "250")
    client.say("DATA", "354")
    client.send("x" * 70_000, ".")
    client.expect("250 Spam Message sent to the bit bucket!")


@pytest.mark.parametrize("data", [1, 7, 100])
def test_a_handshake_may_come_in_small_pieces(server: Inside, data: int) -> None:
    tls = ManualTls(ready_for_tls(server))

    def step() -> bool:
        done = tls.shake_hands()
        records = tls.records()
        for start in range(0, len(records), data):
            tls.sock.send(records[start : start + data])
            server.turn()
        if not done:
            server.turn()
            tls.receive()
        return done

    server.turn_until(step, "the handshake")
    tls.say(b"NOOP\r\n")
    tls.sock.send(tls.records())

    def answered() -> bytes:
        tls.receive()
        return tls.received

    server.turn_until(answered, "the reply")
    assert tls.received == b"250 OK\r\n"


@pytest.mark.parametrize("words", [b"", HELLO[:1], HELLO[:60], HELLO[:-1], HELLO], ids=len)
def test_an_unfinished_handshake_times_out(server: Inside, words: bytes) -> None:
    client = ready_for_tls(server)
    client.sock.send(words)
    server.turn()
    expect_service(server)
    before = len(server.events(Closed))
    server.advance(HANDSHAKE_TIMEOUT_S - 1)
    assert connection(server)._phase is Phase.HANDSHAKING
    server.advance(1.1)
    server.turn_until(lambda: len(server.events(Closed)) > before, "closed")
    assert server.records(Closed, slot=1)[-1].event.reason == "tls"  # type: ignore[union-attr]


def test_a_trickle_does_not_extend_the_handshake_timeout(server: Inside) -> None:
    client = ready_for_tls(server)
    for byte in HELLO[: int(HANDSHAKE_TIMEOUT_S) + 2]:
        try:
            client.sock.send(bytes([byte]))
        except OSError:
            break
        server.advance(1.0)
    expect_closed(server, "tls")


@pytest.mark.parametrize(
    "words",
    [
        b"EHLO me\r\n",
        b"\0" * 2000,
        b"\x16\x03\x01\xff\xff" + b"\0" * 100,
        b"\x16\x03\x01\x40\x00\x01\xff\xff\xff" + b"\0" * 16_380,
        b"\x80\x2e\x01\x00\x02" + b"\0" * 50,
        b"\x15\x03\x01\x00\x02\x02\x28",
        b"\x17\x03\x03\x00\x10" + b"\0" * 16,
    ],
    ids=range(7),
)
def test_bytes_that_are_no_handshake_close(server: Inside, words: bytes) -> None:
    client = ready_for_tls(server)
    client.sock.sendall(words)
    expect_closed(server, "tls")
    expect_service(server)


def test_an_endless_handshake_closes(server: Inside) -> None:
    """A ClientHello in many well-formed records; OpenSSL alone would keep 128 KiB of it."""
    client = ready_for_tls(server)
    hello = b"\x01\x01\xff\x00" + b"\x03\x03" + b"\0" * 200_000
    records = b"".join(
        b"\x16\x03\x01\x10\x00" + hello[start : start + 0x1000] for start in range(0, len(hello) - 0x1000, 0x1000)
    )
    client.sock.settimeout(0)

    def pour() -> bool:
        nonlocal records
        try:
            records = records[client.sock.send(records[:2048]) :]
        except BlockingIOError:
            pass
        except OSError:
            return True
        return bool(server.events(Closed))

    server.turn_until(pour, "closed")
    expect_closed(server, "tls")
    assert len(records) > 200_000 - net_tls.HANDSHAKE_BYTES_MAX - 10_000


@pytest.mark.parametrize("words", [b"", HELLO[:50], HELLO], ids=len)
@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_peer_that_leaves_in_the_handshake_frees_its_slot(server: Inside, words: bytes, how: str) -> None:
    client = ready_for_tls(server)
    client.sock.send(words)
    server.turn()
    getattr(client, how)()
    expect_closed(server, "tls")
    assert server.server.reception.slots.in_use == 0


@pytest.mark.parametrize("reason", ["evicted", "disconnected", "stopped", "shutdown"])
def test_the_reason_for_an_end_in_the_handshake_is_logged(server: Inside, reason: str) -> None:
    client = ready_for_tls(server)
    server.turn()
    server.server.reception.end(1, reason, server.server.reactor.clock.now)  # type: ignore[arg-type]
    client.expect_end()  # and nothing was sent in clear text
    server.turn()
    expect_closed(server, reason)


def test_too_many_errors_under_tls(server: Inside) -> None:
    client = start_tls(server.greeted())
    for _ in range(19):
        client.say("XYZZY", "500")
    client.say("XYZZY", "421 Too many errors")
    client.expect_end()
    client.close()
    expect_closed(server, "errors")


def test_the_idle_timeout_under_tls(server: Inside) -> None:
    client = start_tls(server.greeted())
    client.say("NOOP", "250")
    server.advance(server.settings.idle_timeout_s + 0.1)
    client.expect("421 Connection timed out")
    client.expect_end()
    expect_closed(server, "idle")


def test_a_command_behind_starttls_is_never_processed(server: Inside) -> None:
    client = server.greeted()
    client.send("EHLO me", "STARTTLS", "RSET")
    client.expect("250")
    client.expect("220")
    expect_closed(server, "tls")
    assert [command.data for command in server.events(Command)] == ["EHLO me", "STARTTLS"]


def test_a_handshake_in_the_same_packet_as_starttls_is_refused(server: Inside) -> None:
    client = server.greeted()
    client.sock.send(b"STARTTLS\r\n" + HELLO)
    client.expect("220")
    expect_closed(server, "tls")


@pytest.mark.parametrize("version", VERSIONS)
def test_commands_in_the_last_packet_of_the_handshake_get_their_replies(
    server: Inside, version: ssl.TLSVersion
) -> None:
    """The selector does not report bytes that TLS has read already."""
    tls = ManualTls(ready_for_tls(server), version)
    has_said = False

    def step() -> bool:
        nonlocal has_said
        if tls.shake_hands() and not has_said:
            tls.say(b"NOOP\r\nNOOP\r\n")  # in TLS 1.3 behind the client's Finished; in 1.2 that is a flight earlier
            has_said = True
        if records := tls.records():
            tls.sock.send(records)
        server.turn()
        tls.receive()
        return tls.received == b"250 OK\r\n250 OK\r\n"

    server.turn_until(step, "the replies")


@pytest.mark.parametrize("size", [1, 5, 1000, 16_384])
def test_records_of_any_size(server: Inside, size: int) -> None:
    client = start_tls(server.greeted())
    lines = (b"NOOP\r\n" * 400) if size > 100 else b"NOOP\r\nNOOP x\r\n"
    client.sock.settimeout(0)
    for start in range(0, len(lines), size):
        client.sock.send(lines[start : start + size])
        server.turn()
    for _ in range(lines.count(b"\n")):
        client.expect("250 OK")


def test_a_record_that_was_tampered_with_closes(server: Inside) -> None:
    client = start_tls(server.greeted())
    raw = socket.socket(fileno=client.sock.detach())
    raw.settimeout(0)
    raw.send(b"\x17\x03\x03\x00\x40" + b"\0" * 64)
    expect_closed(server, "tls")
    raw.close()


def test_a_close_without_close_notify_frees_the_slot(server: Inside) -> None:
    client = start_tls(server.greeted())
    client.close()
    expect_closed(server, "peer")


def test_a_close_notify_alone_ends_the_session(server: Inside) -> None:
    client = start_tls(server.greeted())
    client.sock.settimeout(0)
    assert isinstance(client.sock, ssl.SSLSocket)
    with pytest.raises(ssl.SSLWantReadError):
        client.sock.unwrap()
    expect_closed(server, "peer")


def test_a_peer_that_does_not_read_stalls_under_tls(server: Inside) -> None:
    client = server.connect(receive_buffer_bytes=2304)
    client.expect("220")
    start_tls(client)
    client.sock.settimeout(0)
    reception = server.server.reception
    shrink_send_buffer(connection(server).sock)

    def pour() -> bool:
        try:
            client.sock.send(b"EHLO me\r\n" * 20)
        except ssl.SSLWantWriteError:
            pass
        server.turn()
        return connection(server)._phase is Phase.FLUSHING

    server.turn_until(pour, "the kernel takes no more")
    server.advance(29.0)
    assert reception.slots.in_use == 1
    server.advance(2.0)
    expect_closed(server, "stalled")


def test_replies_that_waited_for_the_kernel_arrive_complete(server: Inside) -> None:
    client = server.connect(receive_buffer_bytes=2304)
    client.expect("220")
    start_tls(client)
    client.sock.settimeout(0)
    shrink_send_buffer(connection(server).sock)
    sent = 0
    while connection(server)._phase is not Phase.FLUSHING:
        try:
            client.sock.send(b"EHLO me\r\n" * 20)
            sent += 20
        except ssl.SSLWantWriteError:
            pass
        server.turn()
    for _ in range(sent):
        client.expect("250-Hello me")
    client.say("NOOP", "250 OK")


def test_454_without_room_for_tls_and_success_later(server: Inside) -> None:
    certificate = server.server.reception.tls
    assert certificate is not None
    certificate._sessions_max = 1
    first, second = start_tls(server.greeted()), server.greeted()
    assert "STARTTLS" in second.say("EHLO me", "250")
    second.say("STARTTLS", "454 TLS not available due to temporary reason")
    second.say("MAIL FROM:<a@b>", "553")
    first.say("QUIT", "221")
    first.expect_end()
    start_tls(second)
    second.say("NOOP", "250")


def test_room_that_is_taken_during_a_slow_220_ends_the_session(inside: MakeInside, certificate: Certificate) -> None:
    server = inside(**certificate.settings(), reply_delay_s=1, quiet_timeout_s=0.0)
    tls = server.server.reception.tls
    assert tls is not None
    tls._sessions_max = 1
    clients = [server.greeted(), server.greeted()]
    for client in clients:
        client.send("STARTTLS")
    server.turn()
    server.advance(2)
    for client in clients:
        client.expect("220")
    assert tls._in_use == 1
    expect_closed(server, "tls")


def test_a_turn_does_only_a_few_steps_of_handshakes(server: Inside) -> None:
    """All handshakes continue in later turns."""
    clients = [ready_for_tls(server) for _ in range(25)]
    for client in clients:
        client.sock.send(HELLO)
    server.turn()
    answered = [client for client in clients if _can_read(client)]
    assert len(answered) <= net_tls.STEPS_PER_TURN
    for client in clients:
        server.turn_until(lambda client=client: _can_read(client), "a reply")  # type: ignore[misc]


def _can_read(client: Client) -> bool:
    client.sock.settimeout(0)
    try:
        return client.sock.recv(1, socket.MSG_PEEK) != b""
    except BlockingIOError:
        return False


def test_new_connections_get_the_renewed_certificate(
    server: Inside, certificate: Certificate, tmp_path_factory: pytest.TempPathFactory
) -> None:
    before = start_tls(server.greeted())
    other = make_certificate(tmp_path_factory.mktemp("other"), "rsa:3072")
    assert server.reload(_file(server) | other.settings()) == []
    after = start_tls(server.greeted())
    assert isinstance(before.sock, ssl.SSLSocket)
    assert isinstance(after.sock, ssl.SSLSocket)
    assert before.sock.getpeercert(True) == ssl.PEM_cert_to_DER_cert(certificate.cert.read_text())
    assert after.sock.getpeercert(True) == ssl.PEM_cert_to_DER_cert(other.cert.read_text())
    before.say("NOOP", "250")


def _file(server: Inside) -> dict[str, object]:
    return dict(server.configuration._file)


@pytest.fixture(autouse=True)
def all_tls_sessions_are_released(server: Inside) -> Iterator[None]:
    """Check that no TLS session stays counted."""
    tls = server.server.reception.tls
    yield
    server.server.reception.end_all("shutdown", 0.0)
    assert tls is not None
    assert tls._in_use == 0
