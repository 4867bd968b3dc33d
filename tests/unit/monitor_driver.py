"""A monitor session without a server, and a driver for tests to talk to it."""

import json
from typing import Any, Final

from smtppseudo.monitor.credentials import Credentials, decoy, derive
from smtppseudo.monitor.session import Backend, MonitorSession, SessionEvent, ValidProof
from tests.monitors import Frame, Login, line_of

WORD: Final = "open sesame"
WRONG: Final = "open barley"
COOKIE: Final = "0123456789abcdef" * 4
NONCE: Final = "server-nonce-0123456789"
START: Final = 1_000.0
OPS: Final = (
    "status",
    "slots",
    "subscribe",
    "get",
    "set",
    "unset",
    "start",
    "stop",
    "disconnect",
    "magic_word",
)
"""All that need a login."""

_USERS: Final = {"magic": derive(WORD, b"salt of the word", 4_096), "cookie": derive(COOKIE, b"salt of cookie", 4_096)}


class Driver:
    """One monitor session with its events. `waits` holds for how long a user must not try.

    With `awaits_tls` the hello comes after `secured`.
    """

    def __init__(
        self, ip: str = "192.0.2.1", nonce: str = NONCE, *, has_word: bool = True, awaits_tls: bool = False
    ) -> None:
        self.waits: dict[str, float] = {}
        self.asked_for: list[str] = []
        self._has_word = has_word
        backend = Backend(
            "smtppseudo 0.0", "mx-1", "0123456789abcdef", self._credentials_of, self._decoy_for, self._wait_s
        )
        self.session = MonitorSession(backend, nonce, ip, 50_000, START, awaits_tls=awaits_tls)
        self.now = START
        self.events: list[SessionEvent] = []
        self.hello = {} if awaits_tls else self.frames()[0]

    def say(self, data: bytes, size: int = 0) -> list[Frame]:
        """Send bytes, in chunks of `size` if it is not 0; return the frames sent in reply."""
        for at in range(0, len(data), size or len(data) or 1):
            piece = data[at : at + size] if size else data
            self.events += self.session.receive(piece, self.now)
        return self.frames()

    def ask(self, op: str, request_id: int = 1, **fields: Any) -> list[Frame]:
        """Send an op; return the frames sent in reply."""
        return self.say(line_of({"id": request_id, "op": op, **fields}))

    def frames(self) -> list[Frame]:
        """Return the queued frames."""
        data = b""
        while part := self.session.data_to_send(self.now):
            data += part
        assert not self.session.has_more
        return [json.loads(line) for line in data.splitlines()]

    def tick(self) -> list[Frame]:
        """Advance to the deadline; return the frames sent then."""
        self.now = self.session.deadline
        self.session.tick(self.now)
        return self.frames()

    def challenge(self, user: str = "magic", secret: str = WORD) -> tuple[Login, str]:
        """Begin a login; return it and the server's challenge."""
        login = Login(user, secret)
        (reply,) = self.ask("auth", data=login.first)
        assert reply["ok"] is True
        return login, reply["data"]

    def final(self, user: str = "magic", secret: str = WORD) -> bytes:
        """Begin a login; return the line with the proof."""
        login, challenge = self.challenge(user, secret)
        return line_of({"id": 2, "op": "auth", "data": login.final(challenge)})

    def log_in(self, user: str = "magic", secret: str = WORD) -> None:
        """Log in."""
        self.say(self.final(user, secret))
        (proved,) = self.events
        assert isinstance(proved, ValidProof)
        self.events.clear()
        self.session.admit(proved, self.now)
        (reply,) = self.frames()
        assert reply["ok"] is True

    def _credentials_of(self, user: str) -> Credentials | None:
        self.asked_for.append(f"credentials of {user}")
        return _USERS.get(user) if self._has_word or user != "magic" else None

    def _wait_s(self, user: str) -> float:
        return self.waits.get(user, 0.0)

    def _decoy_for(self, user: str) -> Credentials:
        self.asked_for.append(f"decoy for {user}")
        return decoy(b"secret of the server", user, 4_096)
