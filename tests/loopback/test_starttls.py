"""STARTTLS over real sockets, with a clock that the test moves: handshakes good, slow, broken and hostile."""

import socket
import ssl
from collections.abc import Iterator

import pytest

from smtppseudo.events import Closed, Command
from smtppseudo.loop.connection import HANDSHAKE_TIMEOUT_S, Connection, Phase
from smtppseudo.net import tls as net_tls
from smtppseudo.smtp.dialogue import SmtpState
from smtppseudo.smtp.session import SmtpSession
from tests.certificates import Certificate, client_hello, make_certificate, start_tls, trusting
from tests.clients import Client, shrink_send_buffer
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


def asked(server: Inside) -> Client:
    """Return a client that was told to go ahead with the handshake."""
    client = server.greeted()
    client.say("EHLO me", "250")
    client.say("STARTTLS", "220")
    return client


class ByHand:
    """A client's TLS, its bytes carried to and fro by hand: `heard` is what the server said under it."""

    def __init__(self, client: Client, version: ssl.TLSVersion | None = None) -> None:
        self.sock = client.sock
        self.sock.settimeout(0)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = trusting(version).wrap_bio(self._incoming, self._outgoing)
        self.heard = b""

    def shake_hands(self) -> bool:
        """Go on with the handshake; say whether it is done."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def say(self, data: bytes) -> None:
        """Put this behind what is to be sent."""
        self._tls.write(data)

    def records(self) -> bytes:
        """Return what is to be sent, once."""
        return self._outgoing.read()

    def hear(self) -> None:
        """Take what has come."""
        try:
            self._incoming.write(self.sock.recv(65_536))
            self.heard += self._tls.read(100)
        except (BlockingIOError, ssl.SSLWantReadError):
            pass


def expect_closed(server: Inside, reason: str, count: int = 1) -> None:
    server.turn_until(lambda: len(server.events(Closed)) >= count, "closed")
    assert [closed.reason for closed in server.events(Closed)] == [reason] * count


def expect_service(server: Inside) -> None:
    """Others are served."""
    with server.greeted() as other:
        other.say("HELO other", "250")


@pytest.mark.parametrize("version", VERSIONS)
def test_the_session_starts_anew(server: Inside, version: ssl.TLSVersion) -> None:
    client = server.greeted()
    assert "STARTTLS" in client.say("EHLO me", "250").split()[-1]
    (session,) = server.server.reception.slots
    start_tls(client, version)
    server.turn_until(lambda: session.state is SmtpState.GREETED, "anew")
    assert session.said is not None
    assert (session.is_open, session.said.helo) == (True, None)
    assert "STARTTLS" not in client.say("EHLO me", "250")
    client.say("AUTH PLAIN AGEAYg==", "502")
    client.say("STARTTLS", "503 TLS is active already.")
    client.say("MAIL FROM:<a@b>", "553 Sender <a@b> is Invalid!")
    client.say("QUIT", "221")
    client.expect_end()  # with a close_notify: without, it would be an error
    expect_closed(server, "quit")
    (closed,) = server.events(Closed)
    said = [command.data for command in server.events(Command)]
    assert said[:3] == [b"EHLO me", b"STARTTLS", b"EHLO me"]
    assert closed.commands == len(said) == 7
    in_clear = "EHLO me", "STARTTLS", "EHLO me", "AUTH PLAIN AGEAYg==", "STARTTLS", "MAIL FROM:<a@b>", "QUIT"
    assert closed.received_bytes == sum(len(line) + 2 for line in in_clear)


def test_the_local_address_is_known_under_tls(server: Inside) -> None:
    client = start_tls(server.greeted())
    assert server.server.reception.local_ip(1) == "127.0.0.1"
    client.say("NOOP", "250")


def test_sender_and_recipient_are_forgotten(inside: MakeInside, certificate: Certificate) -> None:
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
def test_a_handshake_in_small_pieces_is_waited_for(server: Inside, data: int) -> None:
    tls = ByHand(asked(server))

    def step() -> bool:
        done = tls.shake_hands()
        records = tls.records()
        for start in range(0, len(records), data):
            tls.sock.send(records[start : start + data])
            server.turn()
        if not done:
            server.turn()
            tls.hear()
        return done

    server.turn_until(step, "the handshake")
    tls.say(b"NOOP\r\n")
    tls.sock.send(tls.records())

    def answered() -> bytes:
        tls.hear()
        return tls.heard

    server.turn_until(answered, "the answer")
    assert tls.heard == b"250 OK\r\n"


@pytest.mark.parametrize("words", [b"", HELLO[:1], HELLO[:60], HELLO[:-1], HELLO], ids=len)
def test_a_handshake_that_is_left_unfinished_times_out(server: Inside, words: bytes) -> None:
    client = asked(server)
    client.sock.send(words)
    server.turn()
    expect_service(server)
    before = len(server.events(Closed))
    server.advance(HANDSHAKE_TIMEOUT_S - 1)
    assert connection(server)._phase is Phase.HANDSHAKING
    server.advance(1.1)
    server.turn_until(lambda: len(server.events(Closed)) > before, "closed")
    assert server.records(Closed, slot=1)[-1].event.reason == "tls"  # type: ignore[union-attr]


def test_a_trickle_does_not_put_the_time_off(server: Inside) -> None:
    client = asked(server)
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
def test_what_is_no_handshake_closes(server: Inside, words: bytes) -> None:
    client = asked(server)
    client.sock.sendall(words)
    expect_closed(server, "tls")
    expect_service(server)


def test_an_endless_handshake_closes(server: Inside) -> None:
    """A ClientHello in many records, each well formed: OpenSSL alone would keep 128 KiB of it."""
    client = asked(server)
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
def test_whoever_leaves_in_the_handshake_is_gone(server: Inside, words: bytes, how: str) -> None:
    client = asked(server)
    client.sock.send(words)
    server.turn()
    getattr(client, how)()
    expect_closed(server, "tls")
    assert server.server.reception.slots.in_use == 0


@pytest.mark.parametrize("reason", ["evicted", "disconnected", "stopped", "shutdown"])
def test_what_ends_it_in_the_handshake_is_named(server: Inside, reason: str) -> None:
    client = asked(server)
    server.turn()
    server.server.reception.end(1, reason, server.server.reactor.clock.now)  # type: ignore[arg-type]
    client.expect_end()  # and nothing was said in clear
    server.turn()
    expect_closed(server, reason)


def test_too_many_errors_end_it_under_tls(server: Inside) -> None:
    client = start_tls(server.greeted())
    for _ in range(19):
        client.say("XYZZY", "500")
    client.say("XYZZY", "421 Too many errors")
    client.expect_end()
    client.close()
    expect_closed(server, "errors")


def test_the_session_ends_in_time_under_tls(server: Inside) -> None:
    client = start_tls(server.greeted())
    client.say("NOOP", "250")
    server.advance(server.settings.idle_timeout_s + 0.1)
    client.expect("421 Connection timed out")
    client.expect_end()
    expect_closed(server, "idle")


def test_what_is_put_behind_starttls_is_never_answered(server: Inside) -> None:
    client = server.greeted()
    client.send("EHLO me", "STARTTLS", "RSET")
    client.expect("250")
    client.expect("220")
    expect_closed(server, "tls")
    assert [command.data for command in server.events(Command)] == [b"EHLO me", b"STARTTLS"]


def test_a_handshake_put_behind_starttls_is_not_one(server: Inside) -> None:
    client = server.greeted()
    client.sock.send(b"STARTTLS\r\n" + HELLO)
    client.expect("220")
    expect_closed(server, "tls")


@pytest.mark.parametrize("version", VERSIONS)
def test_what_comes_along_with_the_handshakes_end_is_answered(server: Inside, version: ssl.TLSVersion) -> None:
    """Nothing tells the loop of bytes that TLS holds already."""
    tls = ByHand(asked(server), version)
    has_said = False

    def step() -> bool:
        nonlocal has_said
        if tls.shake_hands() and not has_said:
            tls.say(b"NOOP\r\nNOOP\r\n")  # in TLS 1.3 together with our Finished; in 1.2 that is a flight earlier
            has_said = True
        if records := tls.records():
            tls.sock.send(records)
        server.turn()
        tls.hear()
        return tls.heard == b"250 OK\r\n250 OK\r\n"

    server.turn_until(step, "the answers")


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


def test_bytes_that_were_tampered_with_close(server: Inside) -> None:
    client = start_tls(server.greeted())
    raw = socket.socket(fileno=client.sock.detach())
    raw.settimeout(0)
    raw.send(b"\x17\x03\x03\x00\x40" + b"\0" * 64)
    expect_closed(server, "tls")
    raw.close()


def test_a_peer_that_leaves_without_goodbye_is_gone(server: Inside) -> None:
    client = start_tls(server.greeted())
    client.close()
    expect_closed(server, "peer")


def test_a_peer_that_says_goodbye_alone_is_gone(server: Inside) -> None:
    client = start_tls(server.greeted())
    client.sock.settimeout(0)
    assert isinstance(client.sock, ssl.SSLSocket)
    with pytest.raises(ssl.SSLWantReadError):
        client.sock.unwrap()
    expect_closed(server, "peer")


def test_a_peer_that_does_not_read_is_stalled(server: Inside) -> None:
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


def test_what_waited_for_the_kernel_comes_whole(server: Inside) -> None:
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


def test_no_room_for_tls_is_said_and_passes(server: Inside) -> None:
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


def test_many_at_once_share_a_turn(server: Inside) -> None:
    """However many handshakes are ready, a turn does a few steps of them; all come to their end."""
    clients = [asked(server) for _ in range(25)]
    for client in clients:
        client.sock.send(HELLO)
    server.turn()
    answered = [client for client in clients if _can_read(client)]
    assert len(answered) <= net_tls.STEPS_PER_TURN
    for client in clients:
        server.turn_until(lambda client=client: _can_read(client), "an answer")  # type: ignore[misc]


def _can_read(client: Client) -> bool:
    client.sock.settimeout(0)
    try:
        return client.sock.recv(1, socket.MSG_PEEK) != b""
    except BlockingIOError:
        return False


def test_renewed_certificates_are_shown_to_newcomers(
    server: Inside, certificate: Certificate, tmp_path_factory: pytest.TempPathFactory
) -> None:
    before = start_tls(server.greeted())
    other = make_certificate(tmp_path_factory.mktemp("other"), "rsa:2048")
    assert server.server.reload(server.configuration.with_file(_file(server) | other.settings())) == []
    after = start_tls(server.greeted())
    assert isinstance(before.sock, ssl.SSLSocket)
    assert isinstance(after.sock, ssl.SSLSocket)
    assert before.sock.getpeercert(True) == ssl.PEM_cert_to_DER_cert(certificate.cert.read_text())
    assert after.sock.getpeercert(True) == ssl.PEM_cert_to_DER_cert(other.cert.read_text())
    before.say("NOOP", "250")


def _file(server: Inside) -> dict[str, object]:
    return dict(server.configuration._file)


@pytest.fixture(autouse=True)
def all_tls_is_given_back(server: Inside) -> Iterator[None]:
    """No connection under TLS is forgotten in the count."""
    tls = server.server.reception.tls
    yield
    server.server.reception.end_all("shutdown", 0.0)
    assert tls is not None
    assert tls._in_use == 0
