"""A scripted server for client tests, built only from codec and SCRAM, which can misbehave."""

from collections.abc import Iterable
from typing import Final

from smtppseudo.link.incoming import Incoming
from smtppseudo.link.machine import MonitorClient, Secrets
from smtppseudo.monitor.codec import FrameReader, encode
from smtppseudo.monitor.credentials import WORD_ITERATIONS, Credentials, cookie_id, decoy, derive
from smtppseudo.monitor.scram import REFUSED, ServerExchange

PLACE: Final = "127.0.0.1 port 26"
WORD: Final = "the magic word"
COOKIE: Final = "0123456789abcdef" * 4
OTHER_COOKIE: Final = "fedcba9876543210" * 4
CLIENT_NONCE: Final = "client-nonce-0123456789"
SERVER_NONCE: Final = "server-nonce-0123456789"
USERS: Final = {
    "magic": derive(WORD, b"salt of the word", WORD_ITERATIONS),
    "cookie": derive(COOKIE, b"salt of the cookie", 4_096),
}

SNAPSHOT: Final[dict[str, object]] = {
    "type": "snapshot",
    "seq": 9_120,
    "state": "online",
    "started_at": "2026-01-31T23:59:59.999Z",
    "slots": [{"slot": 1, "state": "free"}],
    "settings": {"greeting": "Welcome!"},
    "counters": {"connected": 7},
    "more": False,
}
EVENT: Final[dict[str, object]] = {
    "type": "event",
    "seq": 9_121,
    "time": "2026-01-31T23:59:59.999Z",
    "event": "connected",
    "slot": 3,
    "session": 7,
    "ip": "192.0.2.1",
    "port": 50_000,
    "local_port": 25,
}


def hello(**changes: object) -> dict[str, object]:
    """Return a hello with changes; None removes a field."""
    frame = {
        "type": "hello",
        "protocol": 1,
        "server": "smtppseudo 1.0.0",
        "server_name": "",
        "mechanisms": ["SCRAM-SHA-256"],
        "cookie_id": cookie_id(COOKIE),
        "auth_timeout_s": 30,
        **changes,
    }
    return {name: value for name, value in frame.items() if value is not None}


class Peer:
    """Replies to a client's frames: performs the login, and takes all other replies from `replies` by op."""

    def __init__(self, users: dict[str, Credentials] | None = None) -> None:
        self._users = USERS if users is None else users
        self._exchange = ServerExchange(self._users.get, self._decoy, SERVER_NONCE)
        self._reader = FrameReader(16_384)
        self.received: list[dict[str, object]] = []
        self.replies: dict[str, list[dict[str, object]]] = {}
        self.snapshot = [SNAPSHOT]

    def answer(self, data: bytes) -> bytes:
        """Process bytes, return the reply bytes."""
        out = []
        for frame in self._reader.receive(data):
            assert isinstance(frame, dict)
            self.received.append(frame)
            out += [encode(each) for each in self._answers(frame)]
        return b"".join(out)

    def _answers(self, frame: dict[str, object]) -> Iterable[dict[str, object]]:
        of_reply = {"type": "reply", "id": frame["id"], "ok": True}
        data = frame.get("data")
        if frame["op"] != "auth":
            return [of_reply | each for each in self.replies.get(str(frame["op"]), [{}])]
        assert isinstance(data, str)
        if len(self.received) == 1:
            return [of_reply | {"data": self._exchange.first(data)}]
        outcome = self._exchange.final(data)
        if outcome == REFUSED:
            return [of_reply | {"ok": False, "error": "not_authorized", "message": "Not Authorized!"}]
        return [of_reply | {"data": outcome}, *self.snapshot]

    @staticmethod
    def _decoy(user: str) -> Credentials:
        return decoy(bytes(32), user, WORD_ITERATIONS)


def client(word: str | None = None, cookies: tuple[str, ...] = ()) -> MonitorClient:
    """Return a client with these secrets."""
    return MonitorClient(Secrets(cookies, word), CLIENT_NONCE, PLACE)


def meet(machine: MonitorClient, peer: Peer, first: bytes | None = None, chunk_bytes: int = 65_536) -> list[Incoming]:
    """Run both sides until neither has anything to send; return the client's values."""
    to_client = encode(hello()) if first is None else first
    found: list[Incoming] = []
    while to_client:
        for at in range(0, len(to_client), chunk_bytes):
            found += machine.receive(to_client[at : at + chunk_bytes])
        to_client = peer.answer(machine.data_to_send())
    return found


def logged_in() -> tuple[MonitorClient, Peer]:
    """Return a client that has logged in with the cookie and waits for the snapshot, and its peer."""
    machine, peer = client(cookies=(COOKIE,)), Peer()
    peer.snapshot = []
    meet(machine, peer)
    return machine, peer
