"""A client of the monitor protocol for tests: a raw socket, frame by frame, with its own SCRAM."""

import base64
import functools
import hashlib
import hmac
import json
import re
import secrets
import socket
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeAlias

from tests.clients import OurEnd, connect, wait_until
from tests.inside import Inside
from tests.running import Running

Frame: TypeAlias = dict[str, Any]

FRAME_BYTES_MAX = 65_536
ITERATIONS = 600_000
"""The minimum of a magic word."""
SALT = b"sixteen bytes.."

_MONITORS_ON = re.compile(r"^smtppseudo \S+: monitors on (\S+) port (\d+)$", re.MULTILINE)


class Keys(NamedTuple):
    """The keys that SCRAM-SHA-256 derives from a secret (RFC 5802 section 3)."""

    client_key: bytes
    stored_key: bytes
    server_key: bytes


@functools.cache
def derive(secret: str, salt: bytes, iterations: int) -> Keys:
    """Derive the keys."""
    salted = hashlib.pbkdf2_hmac("sha256", secret.encode(), salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    return Keys(client_key, hashlib.sha256(client_key).digest(), hmac.digest(salted, b"Server Key", "sha256"))


def word_fields(word: str, iterations: int = ITERATIONS, salt: bytes = SALT) -> Frame:
    """Return the fields of the op that sets a magic word."""
    keys = derive(word, salt, iterations)
    data = {"salt": salt, "stored_key": keys.stored_key, "server_key": keys.server_key}
    return {name: base64.b64encode(value).decode() for name, value in data.items()} | {"iterations": iterations}


def credentials_text(word: str) -> str:
    """Return the text that the server stores for a magic word (RFC 5803)."""
    fields = word_fields(word)
    return "SCRAM-SHA-256${iterations}:{salt}${stored_key}:{server_key}\n".format(**fields)


class Login:
    """The client's side of one login."""

    def __init__(self, user: str, secret: str) -> None:
        self.nonce = secrets.token_urlsafe(18)
        self.first = f"n,,n={user},r={self.nonce}"
        self._secret = secret
        self.signature = ""

    def final(self, server_first: str) -> str:
        """Return the client-final-message; `signature` is then the proof that the server must send."""
        server = dict(attribute.split("=", 1) for attribute in server_first.split(","))
        assert server["r"].startswith(self.nonce)
        keys = derive(self._secret, base64.b64decode(server["s"]), int(server["i"]))
        without_proof = f"c=biws,r={server['r']}"
        auth_message = f"{self.first[3:]},{server_first},{without_proof}".encode()
        client_signature = hmac.digest(keys.stored_key, auth_message, "sha256")
        proof = bytes(a ^ b for a, b in zip(keys.client_key, client_signature, strict=True))
        self.signature = "v=" + base64.b64encode(hmac.digest(keys.server_key, auth_message, "sha256")).decode()
        return f"{without_proof},p={base64.b64encode(proof).decode()}"


class Peer(OurEnd):
    """One connection to the monitor port. Every line that it reads must be a valid frame.

    `wire` is every byte sent or received. Frames that arrive while it waits for a reply are kept in `aside`.
    """

    def __init__(self, sock: socket.socket, pump: Callable[[], object] | None = None) -> None:
        super().__init__(sock, pump)
        self.wire = bytearray()
        self.aside: deque[Frame] = deque()
        self.hello: Frame = {}
        self.snapshot: Frame = {}
        self._lines: deque[bytes] = deque()
        self._part = b""
        self._id = 0

    def send_bytes(self, data: bytes) -> None:
        """Send anything."""
        self.wire += data
        self.sock.sendall(data)

    def send(self, op: str, **fields: Any) -> int:
        """Send an op; return its id."""
        self._id += 1
        self.send_bytes(line_of({"id": self._id, "op": op, **fields}))
        return self._id

    def frame(self) -> Frame:
        """Return the next frame, from `aside` or from the socket."""
        if self.aside:
            return self.aside.popleft()
        frame = self._read_frame()
        assert frame is not None, "closed"
        return frame

    def reply_to(self, request_id: int) -> Frame:
        """Return the reply to a request, with a whole list of slots; keep earlier frames in `aside`."""
        while True:
            frame = self._read_frame()
            assert frame is not None, f"closed before the reply, after {list(self.aside)[-3:]}"
            if frame["type"] == "reply" and frame["id"] == request_id:
                return self._whole(frame)
            self.aside.append(frame)

    def ask(self, op: str, **fields: Any) -> Frame:
        """Send an op and return its reply."""
        return self.reply_to(self.send(op, **fields))

    def ok(self, op: str, **fields: Any) -> Frame:
        """Send an op that must succeed; return the reply's own fields."""
        reply = self.ask(op, **fields)
        assert reply["ok"] is True, reply
        return {name: value for name, value in reply.items() if name not in ("type", "id", "ok")}

    def refused(self, op: str, code: str, **fields: Any) -> str:
        """Send an op that must be refused with a code; return the message."""
        reply = self.ask(op, **fields)
        assert (reply["ok"], reply["error"]) == (False, code), reply
        assert set(reply) == {"type", "id", "ok", "error", "message"}
        message: str = reply["message"]
        return message

    def next_event(self) -> Frame:
        """Return the next frame, which must be an event."""
        frame = self.frame()
        assert frame["type"] == "event", frame
        return frame

    def events_until(self, **fields: Any) -> list[Frame]:
        """Return the events up to the first with all these fields; any other frame fails the test."""
        events = [self.next_event()]
        while any(events[-1].get(name) != value for name, value in fields.items()):
            events.append(self.next_event())
        return events

    def greet(self) -> Self:
        """Read the hello."""
        self.hello = self.frame()
        assert self.hello["type"] == "hello", self.hello
        return self

    def begin_login(self, user: str, secret: str) -> tuple[Login, Frame]:
        """Send the first message of a login; return the reply."""
        login = Login(user, secret)
        return login, self.ask("auth", mechanism="SCRAM-SHA-256", data=login.first)

    def try_login(self, user: str, secret: str) -> Frame:
        """Play a login; return the last reply."""
        login, challenge = self.begin_login(user, secret)
        if not challenge["ok"]:
            return challenge
        reply = self.ask("auth", data=login.final(challenge["data"]))
        assert not reply["ok"] or reply["data"] == login.signature
        return reply

    def log_in(self, user: str, secret: str) -> Self:
        """Log in and read the snapshot."""
        reply = self.try_login(user, secret)
        assert reply["ok"] is True, reply
        self.snapshot = self._whole(self.frame())
        assert self.snapshot["type"] == "snapshot"
        return self

    def rest(self) -> list[Frame]:
        """Return all frames until the server closes; a connection reset raises."""
        frames = list(self.aside)
        self.aside.clear()
        while (frame := self._read_frame()) is not None:
            frames.append(frame)
        assert self._part == b""
        return frames

    def is_over(self) -> bool:
        """Read until the server closes, even in the middle of a frame or by a reset; return True, or time out."""
        try:
            while self._receive():
                pass
        except ConnectionResetError:
            pass
        return True

    def _whole(self, frame: Frame) -> Frame:
        """Complete a list of slots from the frames that follow."""
        part = frame
        while part.get("more"):
            assert len(part["slots"]) <= 100
            following = self._read_frame()
            assert following is not None
            assert (following["type"], following.get("id")) == (frame["type"], frame.get("id"))
            frame["slots"] += following["slots"]
            part = following
        return frame

    def _read_frame(self) -> Frame | None:
        """Return the next frame from the socket; None at the end."""
        while not self._lines:
            data = self._receive()
            if not data:
                return None
            self.wire += data
            *lines, self._part = (self._part + data).split(b"\n")
            self._lines += lines
        line = self._lines.popleft()
        assert len(line) <= FRAME_BYTES_MAX
        assert line.isascii()
        assert line.decode().isprintable()
        frame = json.loads(line, object_pairs_hook=_without_repeats)
        assert isinstance(frame, dict)
        return frame


def line_of(frame: Frame) -> bytes:
    """Return a frame as a line."""
    return json.dumps(frame, separators=(",", ":")).encode("ascii") + b"\n"


def _without_repeats(pairs: list[tuple[str, Any]]) -> Frame:
    frame = dict(pairs)
    assert len(frame) == len(pairs), "a key occurs twice"
    return frame


def monitor_port(server: Running | Inside) -> int:
    """Return the port for monitors."""
    if isinstance(server, Inside):
        return server.server.monitor_port.places[0][1]
    found = wait_until(lambda: _MONITORS_ON.findall(server.stdout), "the monitor port")
    return int(found[0][1])


def state_dir(server: Running | Inside) -> Path:
    """Return the state directory."""
    return Path(server.settings.state_dir) if isinstance(server, Inside) else server.directory / "state"


def cookie_of(server: Running | Inside) -> str:
    """Return the cookie."""
    return (state_dir(server) / "cookie").read_text("ascii").strip()


class Monitors:
    """Connects peers to servers; closes them all at the end."""

    def __init__(self) -> None:
        self._peers: list[Peer] = []

    def newcomer(self, server: Running | Inside, source: str | None = None, receive_buffer_bytes: int = 0) -> Peer:
        """Connect, without reading the hello."""
        pump = server.turn if isinstance(server, Inside) else None
        sock = connect("127.0.0.1", monitor_port(server), source, pump, receive_buffer_bytes).sock
        self._peers.append(Peer(sock, pump))
        return self._peers[-1]

    def greeted(self, server: Running | Inside, source: str | None = None, receive_buffer_bytes: int = 0) -> Peer:
        """Connect and read the hello."""
        return self.newcomer(server, source, receive_buffer_bytes).greet()

    def log_in(self, server: Running | Inside, source: str | None = None, receive_buffer_bytes: int = 0) -> Peer:
        """Log in with the cookie."""
        return self.greeted(server, source, receive_buffer_bytes).log_in("cookie", cookie_of(server))

    def subscribed(self, server: Running | Inside, **fields: Any) -> Peer:
        """Log in with the cookie, and subscribe."""
        peer = self.log_in(server)
        peer.ok("subscribe", **fields)
        return peer

    def close(self) -> None:
        """Close all."""
        for peer in self._peers:
            peer.close()


def closing_monitors() -> Iterator[Monitors]:
    """Yield a `Monitors` for a fixture, and close it."""
    monitors = Monitors()
    try:
        yield monitors
    finally:
        monitors.close()
