"""Hostile input: it gets an error frame or a close, causes no traceback, changes nothing and harms nobody else."""

import json
import socket

import pytest

from tests.clients import reset, wait_until
from tests.conftest import MakeInside
from tests.load import resident
from tests.monitors import Frame, Monitors, Peer, line_of, monitor_port, state_dir
from tests.running import Running, Servers

BEFORE_LOGIN, AFTER_LOGIN = 1_024, 16_384
IDLE = 2_000
KEPT = 32

CLIENT_HELLO = bytes.fromhex(
    "16030100a5010000a10303000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20e0e1e2e3e4e5e6e7"
    "e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff000813021303130100ff01000050000b000403000102000a00160014"
)

NO_FRAMES: dict[str, bytes] = {
    "an empty line": b"\n",
    "an empty line for telnet": b"\r\n",
    "a space first": b' {"id":1,"op":"ping"}\n',
    "an HTTP request": b"GET / HTTP/1.1\r\nHost: localhost:26\r\n\r\n",
    "a TLS ClientHello": CLIENT_HELLO,
    "an SMTP command": b"EHLO x\r\n",
    "an SSH banner": b"SSH-2.0-OpenSSH_9.2\r\n",
    "zeros": b"\0" * 100,
    "all bytes": bytes(range(256)),
    "a list": b'[{"id":1,"op":"ping"}]\n',
    "a string": b'"ping"\n',
    "a number": b"1\n",
    "null": b"null\n",
    "half a frame": b'{"id":1,"op":\n',
    "two frames in one": b'{"id":1,"op":"ping"}{"id":2,"op":"ping"}\n',
    "something behind": b'{"id":1,"op":"ping"} x\n',
    "single quotes": b"{'id':1,'op':'ping'}\n",
    "a key twice": b'{"id":1,"op":"ping","op":"stop"}\n',
    "a key twice further in": b'{"id":1,"op":"set","changes":{"greeting":"a","greeting":"b"}}\n',
    "a key twice, once escaped": b'{"id":1,"op":"ping","\\u006fp":"stop"}\n',
    "NaN": b'{"id":NaN,"op":"ping"}\n',
    "infinity": b'{"id":1,"op":"set","changes":{"idle_timeout_s":Infinity}}\n',
    "a number that is infinite": b'{"id":1,"op":"set","changes":{"idle_timeout_s":1e999}}\n',
    "a long number": b'{"id":' + b"9" * 500 + b',"op":"ping"}\n',
    "half a surrogate pair": b'{"id":1,"op":"\\ud800"}\n',
    "the halves in the wrong order": b'{"id":1,"op":"\\udc00\\ud800"}\n',
    "half a pair as a key": b'{"id":1,"op":"ping","\\ud800":1}\n',
    "raw UTF-8": '{"id":1,"op":"ping","x":"ä"}\n'.encode(),
    "a raw control character": b'{"id":1,"op":"ping","x":"\x1b[31m"}\n',
    "a raw DEL": b'{"id":1,"op":"ping","x":"\x7f"}\n',
    "a lone CR": b'{"id":1,\r"op":"ping"}\n',
    "deep arrays": b'{"id":1,"op":"ping","x":' + b"[" * 400 + b"]" * 400 + b"}\n",
    "deep objects": b'{"x":' * 150 + b"{}" + b"}" * 150 + b"\n",
    "deep and never closed": b"{" + b'"x":[' * 200 + b"\n",
    "65 deep": b'{"id":1,"op":"ping","x":' + b"[" * 64 + b"]" * 64 + b"}\n",
}


@pytest.fixture
def server(servers: Servers, monitors: Monitors) -> Running:
    """Return a server with a setting that a monitor changed."""
    server = servers.start()
    monitor = monitors.log_in(server)
    monitor.ok("set", changes={"greeting": "Still here"})
    monitor.close()
    return server


def state_of(monitor: Peer, server: Running) -> tuple[Frame, str, dict[str, bytes]]:
    """Return all state that only a monitor that is logged in may change."""
    files = {path.name: path.read_bytes() for path in state_dir(server).iterdir()}
    return monitor.ok("get"), monitor.ok("status")["state"], files


def is_one_error(frames: list[Frame], code: str) -> bool:
    (frame,) = frames
    return (set(frame), frame["type"], frame["error"]) == ({"type", "error", "message"}, "error", code)


@pytest.mark.parametrize("pieces", ["whole", "byte by byte"])
@pytest.mark.parametrize("login", ["newcomer", "logged in"])
def test_lines_that_are_not_frames(server: Running, monitors: Monitors, login: str, pieces: str) -> None:
    on_session_events = monitors.log_in(server)
    before = state_of(on_session_events, server)
    for name, data in NO_FRAMES.items():
        peer = monitors.log_in(server) if login == "logged in" else monitors.greeted(server)
        for at in range(0, len(data), 1 if pieces == "byte by byte" else len(data)):
            try:
                peer.send_bytes(data[at : at + 1] if pieces == "byte by byte" else data)
            except (BrokenPipeError, ConnectionResetError):
                break  # it said its error before all was sent
        frames = peer.rest()
        assert is_one_error(frames, "bad_frame"), name
        assert not any(piece in frames[0]["message"] for piece in ("ping", "stop", "GET", "\x1b")), name
        peer.close()
    assert state_of(on_session_events, server) == before
    server.play("HELO x")


@pytest.mark.parametrize(("login", "most"), [("newcomer", BEFORE_LOGIN), ("logged in", AFTER_LOGIN)])
def test_lines_that_are_too_long(server: Running, monitors: Monitors, login: str, most: int) -> None:
    connect = monitors.log_in if login == "logged in" else monitors.greeted
    whole = line_of({"id": 1, "op": "ping", "x": ""})
    fits = whole[:-3] + b"x" * (most - len(whole) + 1) + whole[-3:]
    peer = connect(server)
    peer.send_bytes(fits)
    assert peer.frame()["ok"] is True
    for data in (fits[:-3] + b"x" + fits[-3:], b"{" * (most + 1), b'{"x":"' + b"x" * most):
        peer = connect(server)
        peer.send_bytes(data)  # that it never ends is no reason to wait
        assert is_one_error(peer.rest(), "too_big")
        peer.close()


def test_an_endless_line_takes_no_memory(server: Running, monitors: Monitors) -> None:
    """The bytes after the limit are dropped as they arrive."""
    on_session_events, peer = monitors.log_in(server), monitors.log_in(server)
    before = resident(server)
    peer.sock.settimeout(0.5)
    try:
        for _ in range(400):
            peer.sock.sendall(b"{" * 65_536)
    except (TimeoutError, BrokenPipeError, ConnectionResetError):
        pass
    assert resident(server) - before < 2 << 20
    on_session_events.ok("ping")


FIELDS: list[Frame] = [
    {"op": "set", "changes": {"greeting": "gone"}},
    {"op": "unset", "keys": ["greeting"]},
    {"op": "stop"},
    {"op": "reload"},
    {"op": "disconnect", "slot": 1},
    {"op": "magic_word", "salt": "c2FsdCBzYWx0", "iterations": 4096, "stored_key": "A" * 43 + "=", "server_key": "A"},
    {"op": "subscribe", "from_seq": 0},
    {"op": "status"},
    {"op": "slots"},
    {"op": "get"},
    {"op": "start"},
    {"op": "shutdown"},
]


def test_no_op_is_carried_out_without_a_login(server: Running, monitors: Monitors) -> None:
    on_session_events = monitors.log_in(server)
    before = state_of(on_session_events, server)
    with server.connect() as client:
        client.expect("220 Still here")
        peers = [monitors.greeted(server), monitors.greeted(server)]
        peers[1].begin_login("magic", "x")
        for peer in peers:
            for fields in FIELDS:
                assert peer.refused(**fields, code="not_authorized") == "log in first"
            assert list(peer.aside) == []
        client.say("NOOP", "250")
    assert state_of(on_session_events, server) == before


def test_extra_fields_do_not_log_in(server: Running, monitors: Monitors) -> None:
    """These are fields that a careless server would trust."""
    for fields in (
        {"user": "magic", "ok": True},
        {"state": "AUTHENTICATED"},
        {"type": "reply", "ok": True},
        {"authzid": "root"},
    ):
        peer = monitors.greeted(server)
        assert peer.refused("status", "not_authorized", **fields) == "log in first"
        peer.close()


def test_2000_idle_connections_do_not_disturb_a_monitor(server: Running, monitors: Monitors) -> None:
    on_session_events, address = monitors.log_in(server), ("127.0.0.1", monitor_port(server))
    idle: list[socket.socket] = []
    try:
        for number in range(IDLE):
            sock = socket.socket()
            sock.bind((f"127.0.{1 + number // 250}.{1 + number % 250}", 0))
            sock.settimeout(20)
            sock.connect(address)
            idle.append(sock)
            if number % 100 == 99:
                on_session_events.ok("ping")
        ends = [sock.makefile().read() if number < IDLE - KEPT else "" for number, sock in enumerate(idle)]
        assert all('"error":"busy"' in end for end in ends[:-KEPT])
        for sock in idle[-KEPT:]:
            assert json.loads(sock.makefile().readline())["type"] == "hello"
        on_session_events.ok("ping")
        server.play("HELO x")
        for sock in idle:
            sock.close()
        wait_until(lambda: has_room(server, monitors), "room again")
    finally:
        for sock in idle:
            sock.close()
    monitors.log_in(server).ok("ping")


def has_room(server: Running, monitors: Monitors) -> bool:
    peer = monitors.newcomer(server)
    frame = peer.frame()
    peer.close()
    return bool(frame["type"] == "hello")


def test_a_reset_in_the_middle_leaves_nothing(server: Running, monitors: Monitors) -> None:
    on_session_events = monitors.log_in(server)
    for data in (b"", b"{", line_of({"id": 1, "op": "ping"}) * 40, b"\xff"):
        for _ in range(25):
            peer = monitors.newcomer(server)
            peer.send_bytes(data)
            reset(peer.sock)
    wait_until(lambda: has_room(server, monitors), "room again")
    assert on_session_events.ok("status")["monitors"] == 1
    assert on_session_events.ok("status")["counters"]["faults"] == 0


@pytest.mark.parametrize("op", ["slots", "get", "subscribe"])
def test_a_monitor_may_close_before_the_reply(inside: MakeInside, monitors: Monitors, op: str) -> None:
    server = inside(slots=300)
    for _ in range(20):
        server.greeted("127.0.5.1")
    on_session_events = monitors.log_in(server)
    for _ in range(5):
        peer = monitors.log_in(server)
        peer.send_bytes(line_of({"id": 1, "op": op, "from_seq": 0}) * 40)
        reset(peer.sock)
        server.turn_until(lambda: on_session_events.ok("status")["monitors"] == 1, "logged out")
    assert on_session_events.ok("status")["counters"]["faults"] == 0
