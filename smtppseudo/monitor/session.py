"""A monitor's connection, as a pure machine: login, then ops in and replies and events out."""

from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from typing import Final, NamedTuple, TypeAlias

from smtppseudo.events import CloseReason, Event, Monitor
from smtppseudo.monitor.codec import (
    BAD_FRAME,
    MAX_BYTES_AFTER_LOGIN,
    MAX_BYTES_BEFORE_LOGIN,
    PROTOCOL,
    Frame,
    FrameError,
    FrameReader,
    encode,
)
from smtppseudo.monitor.credentials import MECHANISM, Credentials
from smtppseudo.monitor.outbox import Outbox
from smtppseudo.monitor.scram import ScramError, ServerExchange, ServerExchangeState

AUTH_TIMEOUT_S: Final = 30
REFUSAL_DELAY_S: Final = 1.0
OPS_PER_SECOND_MAX: Final = 500
_NEVER: Final = float("inf")
_IDLE_CHECK_S: Final = 3600.0  # a wheel has no place for never

NOT_AUTHORIZED: Final = ("not_authorized", "Not Authorized!")


class Request(NamedTuple):
    """An op to be carried out; it must be answered with `reply` or `refuse`."""

    id: int
    op: str
    fields: Mapping[str, object]


class ValidProof(NamedTuple):
    """Somebody proved to know the secret of `user`; to be answered with `admit` or `end_as_busy`."""

    id: int
    user: str
    message: str


class WrongMagicWord(NamedTuple):
    """Somebody who does not know the magic word tried one."""


SessionEvent: TypeAlias = Request | ValidProof | WrongMagicWord | Event


class LoginBackend(NamedTuple):
    """What a login needs of the server.

    `credentials_of` knows the users; `decoy_for` makes credentials for those who are none. `wait_s` says for
    how long a user may not try from this source. `cookie_id` is told to everybody.
    """

    credentials_of: Callable[[str], Credentials | None]
    decoy_for: Callable[[str], Credentials]
    wait_s: Callable[[str], float]
    cookie_id: str


class MonitorState(Enum):
    """Where the connection stands."""

    LOGGING_IN = "nobody is logged in"
    REFUSED = "a wrong proof came; the refusal is said when a second has passed"
    AUTHENTICATED = "logged in"
    CLOSING = "the last frame is given out; what arrives is ignored"


class MonitorSession:
    """The machine; its owner's duties are those of `SmtpSession`, and `receive` may return happenings to answer.

    Before login a line of at most 1 KiB is kept, after it 16 KiB. `nonce` must be new for each connection. With
    `awaits_tls`, it says its hello when `secured` is called.
    """

    __slots__ = (
        "_deadline",
        "_door",
        "_exchange",
        "_ops",
        "_ops_since",
        "_outbox",
        "_reader",
        "_refused_id",
        "_server",
        "awaits_tls",
        "close_reason",
        "ip",
        "is_secured",
        "port",
        "session_id",
        "slot",
        "state",
        "user",
    )

    def __init__(
        self, door: LoginBackend, nonce: str, server: str, ip: str, port: int, now: float, *, awaits_tls: bool = False
    ) -> None:
        self.ip = ip
        self.port = port
        self.slot = 0  # it takes none
        self.session_id = 0
        self.state = MonitorState.LOGGING_IN
        self.user = ""
        self.close_reason: CloseReason | None = "tls" if awaits_tls else None
        self.awaits_tls = awaits_tls
        self.is_secured = False
        self._server = server
        self._door = door
        self._exchange = ServerExchange(door.credentials_of, door.decoy_for, nonce)
        self._reader = FrameReader(MAX_BYTES_BEFORE_LOGIN)
        self._outbox = Outbox()
        self._deadline = now + AUTH_TIMEOUT_S
        self._refused_id = 0
        self._ops = 0
        self._ops_since = now
        if not awaits_tls:
            self._greet()

    def secured(self, now: float) -> None:  # noqa: ARG002
        """Begin, the TLS handshake being done."""
        self.awaits_tls = False
        self.is_secured = True
        self.close_reason = None
        self._greet()

    def receive(self, data: bytes, now: float) -> list[SessionEvent]:
        """Take what the monitor sent, in any pieces; return what is to be done."""
        happenings: list[SessionEvent] = []
        for frame in self._reader.receive(data):
            if self.state not in (MonitorState.LOGGING_IN, MonitorState.AUTHENTICATED):
                break
            if isinstance(frame, FrameError):
                self._say(type="error", error=frame.code, message=frame.message)
                self.end("errors")
            elif self._is_flood(now):
                message = f"more than {OPS_PER_SECOND_MAX} ops in a second"
                self._say(type="error", error="rate", message=message)
                self.end("errors")
            else:
                self._take(frame, now, happenings)
        return happenings

    def data_to_send(self, now: float) -> bytes:  # noqa: ARG002
        """Give some bytes to send, at least 64 KiB if there are so many."""
        return self._outbox.take()

    @property
    def has_more(self) -> bool:
        """Whether `data_to_send` would give more."""
        return bool(self._outbox)

    def flushed(self, now: float) -> None:
        """Nothing depends on when the kernel took it."""

    @property
    def deadline(self) -> float:
        """When `tick` is due."""
        return self._deadline

    @property
    def expires_at(self) -> float:
        """A monitor may stay once it is logged in."""
        return _NEVER if self.state is MonitorState.AUTHENTICATED else self._deadline

    def tick(self, now: float) -> tuple[()]:
        """Say the refusal, or end a login that takes too long."""
        if self.state is MonitorState.REFUSED:
            self.refuse(self._refused_id, *NOT_AUTHORIZED)
            self.end("errors")
        elif self.state is MonitorState.LOGGING_IN:
            self._say(type="error", error=NOT_AUTHORIZED[0], message=NOT_AUTHORIZED[1])
            self.end("idle")
        else:
            self._deadline = now + _IDLE_CHECK_S
        return ()

    def end(self, reason: CloseReason) -> None:
        """End the connection; at shutdown, and when it is logged out, say `bye` first."""
        self.awaits_tls = False
        if self.close_reason is None:
            if reason in ("shutdown", "disconnected") and self.state is MonitorState.AUTHENTICATED:
                self._say(type="bye", reason=reason)
            self.close_reason = reason
        self.state = MonitorState.CLOSING

    def closed(self, reason: CloseReason, now: float, unsent_bytes: int = 0) -> list[SessionEvent]:  # noqa: ARG002
        """Return the last event, once the connection is closed."""
        self.close_reason = self.close_reason or reason
        self.state = MonitorState.CLOSING
        return [Monitor("logout", self.user)] if self.user else []

    def reply(self, request_id: int, **fields: object) -> None:
        """Answer a request: it is done."""
        self._say(type="reply", id=request_id, ok=True, **fields)

    def refuse(self, request_id: int, error: str, message: str) -> None:
        """Answer a request: it cannot be done, and nothing was changed."""
        self._say(type="reply", id=request_id, ok=False, error=error, message=message)

    def admit(self, proved: ValidProof, now: float) -> None:
        """Let the monitor in, unless it has said more that ended the connection."""
        if self.close_reason is not None:
            return
        self.state = MonitorState.AUTHENTICATED
        self.user = proved.user
        self._reader.max_bytes = MAX_BYTES_AFTER_LOGIN
        self._deadline = now + _IDLE_CHECK_S
        self.reply(proved.id, data=proved.message)

    def end_as_busy(self, message: str) -> None:
        """Say that there is no room, and end."""
        self._say(type="error", error="busy", message=message)
        self.end("errors")

    def send_frames(self, frames: Iterator[bytes]) -> None:
        """Send frames that are made only when they can be sent."""
        self._outbox.put_lazily(frames)

    def send_events(self, data: bytes, count: int) -> None:
        """Send the frames of `count` events, unless the monitor reads too slowly for them."""
        self._outbox.put_events(data, count)

    def _greet(self) -> None:
        self._say(
            type="hello",
            protocol=PROTOCOL,
            server=self._server,
            mechanisms=[MECHANISM],
            cookie_id=self._door.cookie_id,
            auth_timeout_s=AUTH_TIMEOUT_S,
        )

    def _say(self, **frame: object) -> None:
        self._outbox.put(encode(frame))

    def _take(self, frame: Frame, now: float, happenings: list[SessionEvent]) -> None:
        request_id, op = frame.get("id"), frame.get("op")
        if type(request_id) is not int or not isinstance(op, str):
            self._say(type="error", error=BAD_FRAME, message="an op has an id, a whole number, and an op, a string")
        elif op == "ping":
            self.reply(request_id)
        elif op == "auth":
            self._authenticate(request_id, frame, now, happenings)
        elif self.state is MonitorState.AUTHENTICATED:
            happenings.append(Request(request_id, op, frame))
        else:
            self.refuse(request_id, "not_authorized", "log in first")

    def _is_flood(self, now: float) -> bool:
        if now - self._ops_since >= 1.0:
            self._ops, self._ops_since = 0, now
        self._ops += 1
        return self._ops > OPS_PER_SECOND_MAX

    def _authenticate(self, request_id: int, frame: Frame, now: float, happenings: list[SessionEvent]) -> None:
        data, exchange = frame.get("data"), self._exchange
        if self.state is MonitorState.AUTHENTICATED:
            self.refuse(request_id, "bad_value", "you are logged in")
        elif not isinstance(data, str) or frame.get("mechanism", MECHANISM) != MECHANISM:
            self.refuse(request_id, "bad_value", f"mechanism must be {MECHANISM}, data a string")
        else:
            try:
                if exchange.state is ServerExchangeState.AWAITS_FIRST:
                    self._begin(request_id, exchange.first(data))
                else:
                    self._finish(request_id, data, now, happenings)
            except ScramError as error:
                self.refuse(request_id, "bad_value", str(error))
                self.end("errors")

    def _begin(self, request_id: int, server_first: str) -> None:
        wait_s = self._door.wait_s(self._exchange.user)
        if wait_s > 0:
            self.refuse(request_id, "rate", f"too many wrong words from your address; try again in {wait_s:.0f} s")
            self.end("errors")
        else:
            self.reply(request_id, data=server_first)

    def _finish(self, request_id: int, data: str, now: float, happenings: list[SessionEvent]) -> None:
        outcome = self._exchange.final(data)
        if outcome.ok:
            happenings.append(ValidProof(request_id, outcome.user, outcome.message))
            return
        self.state = MonitorState.REFUSED
        self._refused_id = request_id
        self._deadline = now + REFUSAL_DELAY_S
        if outcome.user == "magic":
            happenings.append(WrongMagicWord())
