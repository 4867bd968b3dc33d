"""Logging in over a real socket: by cookie, by magic word, by a foreign SCRAM client; and refused logins."""

import hashlib
import os
import socket
from collections.abc import Callable

import pytest
import scramp

from smtppseudo.events import Monitor
from tests.conftest import MakeInside
from tests.inside import Inside
from tests.monitors import (
    Frame,
    Monitors,
    Peer,
    cookie_of,
    credentials_text,
    state_dir,
    word_fields,
)
from tests.running import Running, Servers, has_mode

WORD, NEXT_WORD, WRONG = "open sesame", "open barley", "open the door"
NOT_AUTHORIZED = {"type": "reply", "ok": False, "error": "not_authorized", "message": "Not Authorized!"}


def with_word(server: Running | Inside, monitors: Monitors, word: str = WORD) -> Peer:
    """Set the magic word; return the monitor that set it."""
    monitor = monitors.log_in(server)
    assert monitor.ok("magic_word", **word_fields(word)) == {}
    return monitor


def log_in(server: Running | Inside, monitors: Monitors, word: str = WORD, source: str | None = None) -> Peer:
    return monitors.greeted(server, source).log_in("magic", word)


def refuse(server: Inside, peer: Peer, user: str, secret: str) -> None:
    """Try a secret that must be refused after a second."""
    login, challenge = peer.begin_login(user, secret)
    assert challenge["ok"] is True, challenge
    request_id = peer.send("auth", data=login.final(challenge["data"]))
    pong_of_nobody = peer.send("ping")
    server.turn_until(lambda: peer_is_heard(server, peer), "the proof received")
    server.advance(0.9)
    assert unread(peer) == b""
    server.advance(0.2)
    assert peer.rest() == [NOT_AUTHORIZED | {"id": request_id}]
    assert pong_of_nobody > request_id
    peer.close()
    server.turn()


def unread(peer: Peer) -> bytes:
    """Return the bytes that were received and not read."""
    peer.sock.setblocking(False)
    try:
        return peer.sock.recv(1)
    except BlockingIOError:
        return b""


def peer_is_heard(server: Inside, peer: Peer) -> bool:
    """Return whether the server has read all that a peer sent."""
    sessions = server.server._console._connections if server.server._console else {}
    return any(session.port == peer.port and session.state.name == "REFUSED" for session in sessions)


def test_the_hello(servers: Servers, monitors: Monitors) -> None:
    server = servers.start()
    peer = monitors.greeted(server)
    cookie = cookie_of(server)
    assert list(peer.hello) == [
        "type",
        "protocol",
        "server",
        "server_name",
        "mechanisms",
        "cookie_id",
        "auth_timeout_s",
    ]
    assert peer.hello["cookie_id"] == hashlib.sha256(cookie.encode()).hexdigest()[:16]
    assert (peer.hello["protocol"], peer.hello["mechanisms"]) == (1, ["SCRAM-SHA-256"])
    assert peer.hello["server"].startswith("smtppseudo ")
    assert cookie not in peer.wire.decode()


def test_the_cookie_logs_in(servers: Servers, monitors: Monitors) -> None:
    server = servers.start()
    path = state_dir(server) / "cookie"
    cookie = cookie_of(server)
    assert len(bytes.fromhex(cookie)) == 32
    assert has_mode(path, 0o600)
    peer = monitors.log_in(server)
    assert cookie not in peer.wire.decode()
    event = server.wait_for_event(Monitor, action="login", user="cookie")
    assert (event.ip, event.port, event.slot, event.session) == ("127.0.0.1", peer.port, 0, 0)
    peer.close()
    server.wait_for_event(Monitor, action="logout", user="cookie")


def test_a_restart_replaces_the_cookie(servers: Servers, monitors: Monitors) -> None:
    first = servers.start()
    cookie = cookie_of(first)
    second = servers.start(None, "--state-dir", str(state_dir(first)))
    assert cookie_of(first) != cookie
    reply = monitors.greeted(second).try_login("cookie", cookie)
    assert (reply["error"], reply["message"]) == ("not_authorized", "Not Authorized!")
    monitors.greeted(first).log_in("cookie", cookie)


def test_the_monitor_port_is_in_the_state_directory(inside: MakeInside) -> None:
    """Every user can read it, because every user may know the magic word."""
    before = os.umask(0o022)
    try:
        server = inside()
    finally:
        os.umask(before)
    path = state_dir(server) / "monitor_port"
    assert has_mode(path, 0o644)
    assert int(path.read_text()) == server.server.monitor_port.places[0][1]
    server.server.stop()
    assert not path.exists()


@pytest.mark.parametrize("word", [WORD, "x" * 128, "~!@#$%^&*()_+,=<>?\"'`\\| "])
@pytest.mark.parametrize("binding", [None, ("tls-unique", b"data")])  # the second sends the flag `y`
def test_a_foreign_scram_client_logs_in(
    inside: MakeInside, monitors: Monitors, word: str, binding: tuple[str, bytes] | None
) -> None:
    server = inside()
    monitors.log_in(server).ok("magic_word", **word_fields(word))
    peer = monitors.greeted(server)
    client = scramp.ScramClient(peer.hello["mechanisms"], "magic", word, channel_binding=binding)
    challenge = peer.ask("auth", mechanism=client.mechanism_name, data=client.get_client_first())
    client.set_server_first(challenge["data"])
    reply = peer.ask("auth", mechanism=client.mechanism_name, data=client.get_client_final())
    client.set_server_final(reply["data"])  # raises if the server has not proved itself
    assert peer.frame()["type"] == "snapshot"


def test_no_word_is_accepted_before_one_is_set(inside: MakeInside, monitors: Monitors) -> None:
    server = inside()
    for word in (WORD, " ", "x" * 128):
        refuse(server, monitors.greeted(server), "magic", word)


def test_only_keys_of_the_magic_word_are_stored(servers: Servers, monitors: Monitors) -> None:
    server = servers.start()
    with_word(server, monitors)
    path = state_dir(server) / "credentials"
    assert path.read_text() == credentials_text(WORD)
    assert has_mode(path, 0o600)
    log_in(server, monitors)
    again = servers.start(None, "--state-dir", str(state_dir(server)))
    log_in(again, monitors)
    assert server.wait_for_event(Monitor, action="magic_word").port
    assert WORD not in path.read_text()


def test_a_new_magic_word_logs_out_all_other_monitors(inside: MakeInside, monitors: Monitors) -> None:
    server = inside()
    first = with_word(server, monitors)
    others = [monitors.log_in(server), log_in(server, monitors)]
    half_way, challenged = monitors.greeted(server), monitors.greeted(server, "127.0.0.2")
    login, challenge = challenged.begin_login("magic", WORD)
    assert first.ok("magic_word", **word_fields(NEXT_WORD)) == {}
    challenged.send("auth", data=login.final(challenge["data"]))
    for peer in others:
        assert peer.rest() == [{"type": "bye", "reason": "disconnected"}]
    for peer in (half_way, challenged):
        assert peer.is_over()
    assert first.ok("status")["monitors"] == 1
    refuse(server, monitors.greeted(server), "magic", WORD)
    log_in(server, monitors, NEXT_WORD).ok("ping")


BAD_KEYS: list[tuple[str, object, str]] = [
    ("salt", "c2FsdA==", "salt must be 8 to 64 bytes"),
    ("salt", "no base64", "salt must be base64"),
    ("salt", None, "salt must be base64"),
    ("iterations", 599_999, "iterations must be 600000 to 10000000"),
    ("iterations", 10_000_001, "iterations must be 600000 to 10000000"),
    ("iterations", "4096", "iterations must be an integer"),
    ("iterations", True, "iterations must be an integer"),
    ("stored_key", "AAAA", "stored_key must be 32 bytes"),
    ("server_key", ["AAAA"], "server_key must be base64"),
]


def test_invalid_keys_are_refused(inside: MakeInside, monitors: Monitors) -> None:
    server = inside()
    monitor, other = with_word(server, monitors), monitors.log_in(server)
    for name, value, message in BAD_KEYS:
        assert monitor.refused("magic_word", "bad_value", **{**word_fields(NEXT_WORD), name: value}) == message
        without = {field: given for field, given in word_fields(NEXT_WORD).items() if field != name}
        assert monitor.refused("magic_word", "bad_value", **without).startswith(name)
    other.ok("ping")
    log_in(server, monitors)


def test_the_magic_word_is_not_set_from_another_machine_in_clear_text(inside: MakeInside, monitors: Monitors) -> None:
    server = inside()
    monitor = monitors.log_in(server)
    assert server.server._console is not None
    (session,) = server.server._console._connections
    session.ip = "192.0.2.7"
    assert "over TLS" in monitor.refused("magic_word", "not_authorized", **word_fields(WORD))
    assert not (state_dir(server) / "credentials").exists()


@pytest.mark.parametrize("damage", [b"", b"nonsense", b"SCRAM-SHA-256$1:AA==$AA==:AA==\n", b"\xff\xfe", b"\0"])
def test_damaged_credentials_let_nobody_in(inside: MakeInside, monitors: Monitors, damage: bytes) -> None:
    server = inside()
    (state_dir(server) / "credentials").write_bytes(damage)
    refuse(server, monitors.greeted(server), "magic", WORD)
    assert any("`smtppseudo magic-word` sets the word again" in line for line in server.said)
    with_word(server, monitors)
    log_in(server, monitors)


@pytest.mark.parametrize(("user", "secret"), [("magic", WRONG), ("nobody", WORD), ("cookie", WORD), ("MAGIC", WORD)])
def test_a_wrong_secret_is_refused_after_a_second(
    inside: MakeInside, monitors: Monitors, user: str, secret: str
) -> None:
    server = inside()
    with_word(server, monitors)
    refuse(server, monitors.greeted(server), user, secret)
    refusals = [event for event in server.events(Monitor) if event.action == "not_authorized"]
    assert refusals == ([Monitor("not_authorized", "magic")] if user == "magic" else [])


def test_a_replayed_login_is_refused(inside: MakeInside, monitors: Monitors) -> None:
    server = inside()
    with_word(server, monitors)
    before = log_in(server, monitors)
    recorded = bytes(before.wire)
    peer = monitors.greeted(server)
    for line in recorded.split(b"\n"):
        if b'"op":"auth"' in line:
            peer.send_bytes(line + b"\n")
    challenge, refusal = peer.rest()
    assert challenge["ok"] is True
    assert (refusal["ok"], refusal["error"]) == (False, "bad_value")


def silent(peer: Peer) -> None:
    """Say nothing after the hello."""


def pinging(peer: Peer) -> None:
    """Send a ping and read the reply."""
    peer.ok("ping")


def half_way(peer: Peer) -> None:
    """Begin a login."""
    peer.begin_login("magic", WORD)


@pytest.mark.parametrize("begin", [silent, pinging, half_way])
def test_a_login_may_take_30_s(inside: MakeInside, monitors: Monitors, begin: Callable[[Peer], None]) -> None:
    server = inside(quiet_timeout_s=0)
    peer = monitors.greeted(server)
    begin(peer)
    server.advance(29.9)
    peer.ok("ping")
    server.advance(0.2)
    assert peer.rest() == [{"type": "error", "error": "not_authorized", "message": "Not Authorized!"}]


def test_a_monitor_may_stay_for_days(inside: MakeInside, monitors: Monitors) -> None:
    server = inside(quiet_timeout_s=0)
    peer = monitors.log_in(server)
    for _ in range(48):
        server.advance(3_601)
    peer.ok("ping")


def fail(server: Inside, monitors: Monitors, source: str) -> None:
    refuse(server, monitors.greeted(server, source), "magic", WRONG)


def test_five_wrong_words_then_one_a_minute(inside: MakeInside, monitors: Monitors) -> None:
    server = inside(quiet_timeout_s=0)
    with_word(server, monitors)
    began_at = server.time.monotonic_s
    for _ in range(5):
        fail(server, monitors, "127.0.0.2")
    for _ in range(3):
        peer = monitors.greeted(server, "127.0.0.2")
        _, reply = peer.begin_login("magic", WORD)  # the right one, too, has to wait
        assert (reply["ok"], reply["error"]) == (False, "rate")
        assert peer.rest() == []
        peer.close()
        server.turn()
    monitors.greeted(server, "127.0.0.2").log_in("cookie", cookie_of(server))
    server.advance(62 - (server.time.monotonic_s - began_at))
    fail(server, monitors, "127.0.0.2")
    assert monitors.greeted(server, "127.0.0.2").begin_login("magic", WORD)[1]["error"] == "rate"
    server.advance(63)
    log_in(server, monitors, source="127.0.0.2")


def test_all_loopback_addresses_share_the_wrong_words(inside: MakeInside, monitors: Monitors) -> None:
    """A local user could call from 16 million addresses. Users of other machines need not wait for such a one."""
    server = inside(quiet_timeout_s=0)
    with_word(server, monitors)
    for number in range(5):
        fail(server, monitors, f"127.0.{number}.2")
    for source in ("127.9.9.9", "127.0.0.1"):
        assert monitors.greeted(server, source).begin_login("magic", WORD)[1]["error"] == "rate"
    for ip, may_try in (("::1", False), ("192.0.2.7", True)):
        with accepted(server, ip) as peer:
            assert peer.begin_login("magic", WORD)[1]["ok"] is may_try
    monitors.greeted(server).log_in("cookie", cookie_of(server))


def accepted(server: Inside, ip: str) -> Peer:
    """Connect from any address, as far as the server knows."""
    ours, theirs = socket.socketpair()
    console = server.server._console
    assert console is not None
    console.accept(theirs, ip, 50_000, server.server.reactor.clock.now, by_tls=False)
    return Peer(ours, server.turn).greet()


def test_other_failed_logins_do_not_count_as_wrong_words(inside: MakeInside, monitors: Monitors) -> None:
    server = inside(quiet_timeout_s=0)
    with_word(server, monitors)
    for _ in range(6):
        refuse(server, monitors.greeted(server, "127.0.0.2"), "cookie", WRONG)
        refuse(server, monitors.greeted(server, "127.0.0.2"), "nobody", WRONG)
        for data in (b"GET / HTTP/1.1\r\n", b'{"id":1,"op":"auth","data":"n,,"}\n'):
            peer = monitors.greeted(server, "127.0.0.2")
            peer.send_bytes(data)
            assert len(peer.rest()) == 1
            peer.close()
            server.turn()
        peer = monitors.greeted(server, "127.0.0.2")
        peer.refused("status", "not_authorized")
        peer.close()
        server.turn()
    log_in(server, monitors, source="127.0.0.2")


def test_two_connections_share_the_limit_of_wrong_words(inside: MakeInside, monitors: Monitors) -> None:
    """In 590 s a source has five and nine. A login that began in time is refused if others have used them up."""
    server = inside(quiet_timeout_s=0)
    with_word(server, monitors)
    tried = 0
    for _ in range(60):
        peers = [monitors.greeted(server, "127.0.0.2") for _ in range(2)]
        begun = [(peer, *peer.begin_login("magic", WRONG)) for peer in peers]
        for peer, login, challenge in begun:
            if challenge["ok"]:
                peer.send("auth", data=login.final(challenge["data"]))
        server.turn()
        server.turn()
        server.advance(10)
        for peer in peers:
            tried += sum(frame.get("error") == "not_authorized" for frame in peer.rest())
            peer.close()
        server.turn()
    assert tried == 5 + 9


BUSY = {"type": "error", "error": "busy", "message": "too many connections that are not logged in"}


def test_a_source_may_have_two_connections_that_are_not_logged_in(inside: MakeInside, monitors: Monitors) -> None:
    server = inside()
    monitor = monitors.log_in(server)  # does not count any more
    first, second = monitors.greeted(server), monitors.greeted(server)
    monitors.greeted(server, "127.0.0.2").ok("ping")
    first.ok("ping")
    third = monitors.greeted(server)
    assert first.rest() == [BUSY]
    for peer in (monitor, second, third):
        peer.ok("ping")


@pytest.mark.parametrize("begin", [silent, pinging, half_way])
def test_waiting_connections_do_not_keep_a_login_out(
    inside: MakeInside, monitors: Monitors, begin: Callable[[Peer], None]
) -> None:
    server = inside()
    for number in range(100):
        begin(monitors.greeted(server, f"127.0.0.{1 + number // 2}"))
    for number in range(50):
        monitors.greeted(server, f"127.0.0.{1 + number}").log_in("cookie", cookie_of(server)).close()


def test_closing_connections_have_their_places_until_the_socket_is_closed(
    inside: MakeInside, monitors: Monitors
) -> None:
    """After an error the server waits 2 s for the other side to close, with the descriptor in use."""
    server = inside()
    waiting = monitors.greeted(server)
    for number in range(300):
        peer = monitors.greeted(server, f"127.0.0.{1 + number // 3}")
        peer.send_bytes(b"GET / HTTP/1.1\r\n")
        assert [frame["error"] for frame in peer.rest()] == ["bad_frame"]
    assert server.server._console is not None
    assert len(server.server._console._connections) == 32
    waiting.ok("ping")  # it has not failed, so the others had to leave first


def test_no_nonce_is_used_twice(inside: MakeInside, monitors: Monitors) -> None:
    server = inside()
    nonces: set[str] = set()
    for number in range(20):
        peer = monitors.greeted(server, f"127.0.2.{number}")
        login, challenge = peer.begin_login("magic", WORD)
        reply: Frame = dict(part.split("=", 1) for part in challenge["data"].split(","))
        assert reply["r"].startswith(login.nonce)
        nonces.add(reply["r"].removeprefix(login.nonce))
        peer.close()
    assert len(nonces) == 20
    assert all(len(nonce) >= 24 for nonce in nonces)
