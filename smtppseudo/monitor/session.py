"""A monitor's connection as a pure machine: the login, then ops in, replies and events out."""

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Final, NamedTuple, TypeAlias

from smtppseudo.events import CloseReason, Event, Monitor
from smtppseudo.monitor import codec
from smtppseudo.monitor.codec import Frame, FrameError, FrameReader, encode
from smtppseudo.monitor.credentials import BOUND_MECHANISM, MECHANISM, Credentials
from smtppseudo.monitor.history import Subscription
from smtppseudo.monitor.outbox import Outbox
from smtppseudo.monitor.scram import REFUSED, ExchangeState, ScramError, ServerExchange

AUTH_TIMEOUT_S: Final = 30
REFUSAL_DELAY_S: Final = 1.0
OPS_PER_SECOND_MAX: Final = 500
_NEVER: Final = float("inf")
_IDLE_CHECK_S: Final = 3600.0  # the timer wheel cannot hold "never"

NOT_AUTHORIZED: Final = ("not_authorized", "Not Authorized!")


class Request(NamedTuple):
    """An op for the server to carry out; the server must call `reply` or `refuse`."""

    id: int
    op: str
    fields: Mapping[str, object]


class ValidProof(NamedTuple):
    """The client proved that it knows the secret of `user`; the server must call `admit` or `fail`."""

    id: int
    user: str
    message: str


SessionEvent: TypeAlias = Request | ValidProof | Event


class Backend(NamedTuple):
    """The server behind a session: its names and cookie id for the hello, and its part in the login of a user."""

    server: str
    server_name: str
    cookie_id: str
    credentials_of: Callable[[str], Credentials | None]
    decoy_for: Callable[[str], Credentials]  # to use instead of None
    wait_s: Callable[[str], float]  # for how many seconds this source must not try to log in
    channel: bytes = b""  # the SHA-256 of its certificate, for connections by TLS


class MonitorState(Enum):
    """The state of the connection."""

    LOGGING_IN = "no user is logged in"
    REFUSED = "a wrong proof came; its refusal is sent a second later"
    AUTHENTICATED = "a user is logged in"
    CLOSING = "the last frame is queued; further input is ignored"


class MonitorSession:
    """The machine. Its owner's duties are those of `SmtpSession`; `receive` may also return requests and proofs.

    The owner also puts events and lists of slots into `outbox`, and notes the `subscription`. A session keeps at most
    1 KiB of a line before login, 16 KiB after. `nonce` must be new for each connection. With `awaits_tls`, the hello is
    queued by `secured`.
    """

    def __init__(
        self, backend: Backend, nonce: str, ip: str, port: int, now: float, *, awaits_tls: bool = False
    ) -> None:
        self.ip = ip
        self.port = port
        self.state = MonitorState.LOGGING_IN
        self.user = ""
        self.close_reason: CloseReason | None = "tls" if awaits_tls else None
        self.awaits_tls = awaits_tls
        self.is_secured = False
        self.outbox = Outbox()
        self.deadline = now + AUTH_TIMEOUT_S  # when `tick` is due
        self.subscription: Subscription | None = None
        self.snapshot_seq = 0  # of the last event before the snapshot
        self._backend = backend
        self._exchange = ServerExchange(backend.credentials_of, backend.decoy_for, nonce)
        self._exchange.channel = backend.channel
        self._mechanisms = [MECHANISM, BOUND_MECHANISM] if backend.channel else [MECHANISM]
        self._reader = FrameReader(codec.MAX_BYTES_BEFORE_LOGIN)
        self._refused_id = 0
        self._ops = 0
        self._ops_since = now
        if not awaits_tls:
            self._greet()

    def secured(self, now: float) -> None:  # noqa: ARG002
        """Begin after the TLS handshake."""
        self.awaits_tls = False
        self.is_secured = True
        self.close_reason = None
        self._greet()

    def receive(self, data: bytes, now: float) -> list[SessionEvent]:
        """Process bytes from the monitor, in chunks of any size; return the events for the server to handle."""
        events: list[SessionEvent] = []
        for frame in self._reader.receive(data):
            if self.state not in (MonitorState.LOGGING_IN, MonitorState.AUTHENTICATED):
                break
            if now - self._ops_since >= 1.0:
                self._ops, self._ops_since = 0, now
            self._ops += 1
            if isinstance(frame, FrameError):
                self.fail(frame.code, frame.message)
            elif self._ops > OPS_PER_SECOND_MAX:
                self.fail("rate", f"more than {OPS_PER_SECOND_MAX} ops in a second")
            else:
                self._process(frame, now, events)
        return events

    def data_to_send(self, now: float) -> bytes:  # noqa: ARG002
        """Return some of the queued bytes, at least 64 KiB if there are that many."""
        return self.outbox.take()

    @property
    def has_more(self) -> bool:
        """Whether `data_to_send` would return more."""
        return bool(self.outbox)

    def flushed(self, now: float) -> None:
        """Do nothing: no deadline depends on when the kernel accepts the bytes."""

    @property
    def claim(self) -> int:
        """Which one leaves first if too many are not logged in: 0 = has failed, 1 = silent, 2 = has begun its login."""
        has_begun = self._exchange.state is not ExchangeState.AWAITS_FIRST
        return 1 + has_begun if self.state is MonitorState.LOGGING_IN else 0

    @property
    def expires_at(self) -> float:
        """When the login must be done; a monitor that is logged in may stay."""
        return _NEVER if self.state is MonitorState.AUTHENTICATED else self.deadline

    def tick(self, now: float) -> tuple[()]:
        """Send the delayed refusal, or end a login that takes too long."""
        if self.state is MonitorState.REFUSED:
            self.refuse(self._refused_id, *NOT_AUTHORIZED)
            self.end("errors")
        elif self.state is MonitorState.LOGGING_IN:
            self.fail(*NOT_AUTHORIZED, reason="idle")
        else:
            self.deadline = now + _IDLE_CHECK_S
        return ()

    def end(self, reason: CloseReason) -> None:
        """End the connection; a monitor that is logged in gets `bye` at a shutdown or logout."""
        self.awaits_tls = False
        if self.close_reason is None:
            if reason in ("shutdown", "disconnected") and self.state is MonitorState.AUTHENTICATED:
                self._send(type="bye", reason=reason)
            self.close_reason = reason
        self.state = MonitorState.CLOSING

    def closed(self, reason: CloseReason, now: float, unsent_bytes: int = 0) -> list[SessionEvent]:  # noqa: ARG002
        """Return the last event, once the connection is closed."""
        self.close_reason = self.close_reason or reason
        self.state = MonitorState.CLOSING
        return [Monitor("logout", self.user)] if self.user else []

    def reply(self, request_id: int, **fields: object) -> None:
        """Reply to a request that was carried out."""
        self._send(type="reply", id=request_id, ok=True, **fields)

    def refuse(self, request_id: int, error: str, message: str) -> None:
        """Reply to a request that cannot be carried out; nothing was changed."""
        self._send(type="reply", id=request_id, ok=False, error=error, message=message)

    def admit(self, proof: ValidProof, now: float) -> None:
        """Log the monitor in, unless a later frame has ended the connection."""
        if self.close_reason is not None:
            return
        self.state = MonitorState.AUTHENTICATED
        self.user = proof.user
        self._reader.max_bytes = codec.MAX_BYTES_AFTER_LOGIN
        self.deadline = now + _IDLE_CHECK_S
        self.reply(proof.id, data=proof.message)

    def fail(self, error: str, message: str, reason: CloseReason = "errors") -> None:
        """Send an error, and end the connection."""
        self._send(type="error", error=error, message=message)
        self.end(reason)

    def _greet(self) -> None:
        self._send(
            type="hello",
            protocol=codec.PROTOCOL,
            server=self._backend.server,
            server_name=self._backend.server_name,
            mechanisms=self._mechanisms,
            cookie_id=self._backend.cookie_id,
            auth_timeout_s=AUTH_TIMEOUT_S,
        )

    def _send(self, **frame: object) -> None:
        self.outbox.put(encode(frame))

    def _process(self, frame: Frame, now: float, events: list[SessionEvent]) -> None:
        request_id, op = frame.get("id"), frame.get("op")
        if type(request_id) is not int or not isinstance(op, str):
            message = "an op has an id, a whole number, and an op, a string"
            self._send(type="error", error=codec.BAD_FRAME, message=message)
        elif op == "ping":
            self.reply(request_id)
        elif op == "auth":
            self._authenticate(request_id, frame, now, events)
        elif self.state is MonitorState.AUTHENTICATED:
            events.append(Request(request_id, op, frame))
        else:
            self.refuse(request_id, "not_authorized", "log in first")

    def _authenticate(self, request_id: int, frame: Frame, now: float, events: list[SessionEvent]) -> None:
        data, exchange = frame.get("data"), self._exchange
        if self.state is MonitorState.AUTHENTICATED:
            self.refuse(request_id, "bad_value", "you are logged in")
            return
        if not isinstance(data, str) or frame.get("mechanism", MECHANISM) not in self._mechanisms:
            self.refuse(request_id, "bad_value", f"mechanism must be {' or '.join(self._mechanisms)}, data a string")
            return
        try:
            challenge = exchange.first(data) if exchange.state is ExchangeState.AWAITS_FIRST else ""
            # Checked before the proof, too: other connections of this source may have tried since this one began.
            wait_s = self._backend.wait_s(exchange.user)
            if wait_s > 0:
                self.refuse(request_id, "rate", f"too many wrong words from your address; try again in {wait_s:.0f} s")
                self.end("errors")
            elif challenge:
                self.reply(request_id, data=challenge)
            elif (message := exchange.final(data)) != REFUSED:
                events.append(ValidProof(request_id, exchange.user, message))
            else:
                self.state, self.deadline, self._refused_id = MonitorState.REFUSED, now + REFUSAL_DELAY_S, request_id
                if exchange.user == "magic":
                    events.append(Monitor("not_authorized", "magic"))
        except ScramError as error:
            self.refuse(request_id, "bad_value", str(error))
            self.end("errors")
