"""The client's side of the monitor protocol: login, requests and replies, snapshot, events.

Pure: bytes in, bytes and values out. The nonce and the secrets are arguments. A server that breaks the protocol makes
the machine return a BadPeerError; the machine never raises because of received bytes.
"""

from collections.abc import Callable, Mapping
from enum import Enum
from typing import ClassVar, Final, NamedTuple, TypeAlias

from smtppseudo.link import errors, incoming
from smtppseudo.link.errors import LinkError
from smtppseudo.link.incoming import Dropped, Incoming, OpReply, Snapshot, ViolationError, get_field, get_message
from smtppseudo.monitor import codec
from smtppseudo.monitor.codec import Frame, FrameError
from smtppseudo.monitor.credentials import BOUND_MECHANISM, MECHANISM, WORD_ITERATIONS, cookie_id, is_printable
from smtppseudo.monitor.scram import BINDS, COULD_BIND, ClientExchange, ScramError

MIN_WORD_CHARS: Final = 8
MAX_WORD_CHARS: Final = 128
SLOTS_MAX: Final = 60_000  # in one list; a security limit
BYTES_MAX: Final = 1 << 28  # received before the next value: twice the longest list; a security limit


class Secrets(NamedTuple):
    """Secrets for a login: the cookies of this machine's servers, and the magic word."""

    cookies: tuple[str, ...] = ()
    magic_word: str | None = None

    def __repr__(self) -> str:
        return "Secrets([redacted])"


class ClientState(Enum):
    """The state of the connection."""

    AWAITS_HELLO = "the server speaks first"
    AWAITS_CHALLENGE = "the login has begun"
    AWAITS_SIGNATURE = "the client has proved itself, the server has not"
    AUTHENTICATED = "logged in"
    CLOSED = "the last value was returned; received bytes are ignored"


class MonitorClient:
    """The machine. The caller's obligations, in this order:

    - pass received bytes to `receive`, and the end of the stream to `end_of_stream`; use the values they return;
    - after that, and after `request`, send the bytes that `data_to_send` returns;
    - close the connection when the state is CLOSED.

    `nonce` is 16 to 256 random characters, new for each connection; `place` names the server in errors. Set `channel`
    to the SHA-256 of the certificate that the server has shown, so that it cannot use the login at another server. The
    machine keeps at most one line of 64 KiB and, for each request, a list of 60,000 slots; each frame of a list has a
    slot. A login has three frames before the snapshot; a snapshot or reply comes within 256 MiB. Values hold only
    printable characters. Raises ValueError, which holds no secret, for an invalid magic word or nonce.
    """

    def __init__(self, secrets: Secrets, nonce: str, place: str) -> None:
        word = secrets.magic_word
        self.place = place
        self.state = ClientState.AWAITS_HELLO
        self.server = ""  # program and version, from the hello
        self.channel = b""
        self.user = ""  # `cookie` or `magic`; the hello decides which
        self._by_cookie = {cookie_id(cookie): ClientExchange("cookie", cookie, nonce) for cookie in secrets.cookies}
        self._by_word = None if word is None else ClientExchange("magic", checked_word(word), nonce, WORD_ITERATIONS)
        self._exchange: ClientExchange  # one of these, once the hello has come
        self._reader = codec.FrameReader(codec.MAX_BYTES_TO_CLIENT)
        self._id = 0
        self._pending: set[int] = set()
        self._slots: dict[int, list[Frame]] = {0: []}  # incomplete lists by request; 0 is the snapshot
        self._to_send = b""
        self._bytes = 0  # received since the last value

    def receive(self, data: bytes) -> list[Incoming]:
        """Parse received bytes, in pieces of any size. If the connection is over, the last value is a LinkError.

        One call may take as long as the key derivation that the server requests: usually 0.2 s, at most some seconds.
        """
        found: list[Incoming] = []
        self._bytes += len(data)
        for frame in self._reader.receive(data):
            if self.state is ClientState.CLOSED:
                break
            try:
                value = self._process(frame)
            except ViolationError as violation:
                value = errors.BadPeerError(f"{self.place}: {violation}")
            if isinstance(value, LinkError):
                self._close()
            if value is not None:
                found.append(value)
                self._bytes = 0
        if self._bytes > BYTES_MAX and self.state is not ClientState.CLOSED:
            self._close()
            why = f"the server sent {BYTES_MAX:,} bytes without a whole reply"
            found.append(errors.BadPeerError(f"{self.place}: {why}"))
        return found

    def end_of_stream(self, reason: str = "") -> list[Incoming]:
        """Close after the server did, or after a socket error, which `reason` describes; return the LinkError."""
        if self.state is ClientState.CLOSED:
            return []
        reason = reason or _END_IN.get(self.state, "the server closed the connection during the login")
        self._close()
        return [errors.ConnectionLostError(f"{self.place}: {reason}")]

    def data_to_send(self) -> bytes:
        """Return the bytes to send, once."""
        data, self._to_send = self._to_send, b""
        return data

    def request(self, op: str, **fields: object) -> int:
        """Queue a request; return the `id` of its reply. Raises ValueError before the login, and above 16 KiB."""
        if self.state is not ClientState.AUTHENTICATED:
            raise ValueError("not logged in")
        return self._send(op=op, **fields)

    def _send(self, **frame: object) -> int:
        line = codec.encode({"id": self._id + 1, **frame})
        if len(line) > codec.MAX_BYTES_AFTER_LOGIN:
            raise ValueError(f"a request is at most {codec.MAX_BYTES_AFTER_LOGIN:,} bytes")
        self._id += 1
        self._pending.add(self._id)
        self._to_send += line
        return self._id

    def _close(self) -> None:
        self.state = ClientState.CLOSED
        self._by_cookie, self._by_word = {}, None
        self._slots.clear()

    def _process(self, frame: Frame | FrameError) -> Incoming | None:
        if isinstance(frame, FrameError):
            if self.state is ClientState.AWAITS_HELLO and frame.code != codec.TOO_BIG:
                raise ViolationError("this is not a monitor port; is it an SMTP port?")
            raise ViolationError(f"the server sent an invalid frame: {frame.message}")
        frame = incoming.sanitize(frame)
        kind = get_field(frame, "type", str)
        if frame.get("more") is True and not frame.get("slots"):
            raise ViolationError("the server sent an empty part of a list")
        method = self._METHODS[self.state].get(kind)
        if method is not None:
            return method(self, frame)
        if self.state is ClientState.AUTHENTICATED:
            return None  # from a later version of the same protocol
        raise ViolationError(f"the server sent {kind[:40]!r} before the login was done")

    def _hello(self, frame: Frame) -> Incoming | None:
        protocol = get_field(frame, "protocol", int)
        if protocol != codec.PROTOCOL:
            raise ViolationError(
                f"the server speaks version {protocol} of the monitor protocol, this program version {codec.PROTOCOL};"
                " use the same smtppseudo on both sides"
            )
        mechanisms = frame.get("mechanisms")
        if not isinstance(mechanisms, list) or MECHANISM not in mechanisms:
            raise ViolationError(f"the server does not offer {MECHANISM}")
        self.server = get_message(frame, "server")
        by_cookie = self._by_cookie.get(get_message(frame, "cookie_id"))
        if by_cookie is not None:
            self.user, self._exchange = "cookie", by_cookie
        elif self._by_word is not None:
            self.user, self._exchange = "magic", self._by_word
        else:
            return errors.NeedsMagicWordError(self.place)
        self._by_cookie, self._by_word = {}, None
        if self.channel and BOUND_MECHANISM in mechanisms:
            self._send(op="auth", mechanism=BOUND_MECHANISM, data=self._exchange.first(BINDS, self.channel))
        else:
            self._send(op="auth", mechanism=MECHANISM, data=self._exchange.first(COULD_BIND))
        self.state = ClientState.AWAITS_CHALLENGE
        return None

    def _challenge(self, frame: Frame) -> Incoming | None:
        if not self._match(frame)[1]:
            return self._refusal(frame)
        try:
            proof = self._exchange.final(get_field(frame, "data", str))
        except ScramError as error:
            raise ViolationError(f"the login failed: {error}") from None
        self._send(op="auth", data=proof)
        self.state = ClientState.AWAITS_SIGNATURE
        return None

    def _signature(self, frame: Frame) -> Incoming | None:
        if not self._match(frame)[1]:
            return self._refusal(frame)
        try:
            self._exchange.verify(get_field(frame, "data", str))
        except ScramError as error:
            raise ViolationError(f"the login failed: {error}; do not trust this server") from None
        self.state = ClientState.AUTHENTICATED
        return None

    def _refusal(self, frame: Frame) -> LinkError:
        """Return the error for a server that refuses the login, or the connection."""
        code, message = get_field(frame, "error", str), get_message(frame, "message")
        if code == "not_authorized":
            why = "The login failed or took too long; try again"
            if frame["type"] == "reply" and self.user == "magic":
                why = "The magic word is wrong; on the server, `smtppseudo magic-word` sets a new one"
            return errors.NotAuthorizedError(f"{self.place}: Not Authorized! {why}", code)
        if code == "busy":
            return errors.RefusedError(f"{self.place} is busy: {message}; close one, or try again later", code)
        return errors.RefusedError(f"{self.place} refuses the connection: {message or code}", code)

    def _match(self, frame: Frame) -> tuple[int, bool]:
        """Return the number of the request that a reply belongs to, and whether the request was done."""
        request_id, ok = get_field(frame, "id", int), get_field(frame, "ok", bool)
        if request_id not in self._pending:
            raise ViolationError("the server replied to a request that was not sent")
        if not (ok and frame.get("more") is True):
            self._pending.remove(request_id)
        return request_id, ok

    def _reply(self, frame: Frame) -> Incoming | None:
        request_id, ok = self._match(frame)
        if not ok:
            self._slots.pop(request_id, None)
            code = get_field(frame, "error", str)
            return OpReply(request_id, {}, errors.OpRefusedError(get_message(frame, "message") or code, code))
        if "slots" in frame and not self._collect(request_id, frame):
            return None
        return OpReply(request_id, {name: value for name, value in frame.items() if name not in _ENVELOPE})

    def _snapshot(self, frame: Frame) -> Incoming | None:
        if 0 not in self._slots:
            raise ViolationError("the server sent a second snapshot")
        if not self._collect(0, frame):
            return None
        return Snapshot(
            get_field(frame, "seq", int),
            get_field(frame, "state", str),
            get_field(frame, "started_at", str),
            get_field(frame, "slots", list),
            get_field(frame, "settings", dict),
            get_field(frame, "counters", dict),
        )

    def _collect(self, request_id: int, frame: Frame) -> bool:
        """Append the slots of a frame to the request's list; return whether it is complete, and in the frame."""
        slots = self._slots.setdefault(request_id, [])
        slots += [incoming.parse_slot(slot) for slot in get_field(frame, "slots", list)]
        if len(slots) > SLOTS_MAX:
            raise ViolationError(f"the server sent more than {SLOTS_MAX:,} slots")
        if frame.get("more") is True:
            return False
        frame["slots"] = self._slots.pop(request_id)
        return True

    def _bye(self, frame: Frame) -> Incoming:
        reason = get_message(frame, "reason")
        return errors.ConnectionLostError(f"{self.place}: the server ended the connection ({reason})")

    # The frame types that each state allows.
    _ANY_TIME: ClassVar[Mapping[str, "_Method"]] = {"error": _refusal, "bye": _bye}
    _METHODS: ClassVar[Mapping[ClientState, Mapping[str, "_Method"]]] = {
        ClientState.AWAITS_HELLO: {**_ANY_TIME, "hello": _hello},
        ClientState.AWAITS_CHALLENGE: {**_ANY_TIME, "reply": _challenge},
        ClientState.AWAITS_SIGNATURE: {**_ANY_TIME, "reply": _signature},
        ClientState.AUTHENTICATED: {
            **_ANY_TIME,
            "reply": _reply,
            "snapshot": _snapshot,
            "event": lambda _, frame: incoming.parse_event(frame),
            "dropped": lambda _, frame: Dropped(get_field(frame, "count", int)),
        },
    }


_Method: TypeAlias = Callable[[MonitorClient, Frame], Incoming | None]

_END_IN: Final = {
    ClientState.AWAITS_HELLO: "the server closed the connection without a hello",
    ClientState.AUTHENTICATED: "the server closed the connection",
}
_ENVELOPE: Final = ("type", "id", "ok", "more")  # fields of every reply


def checked_word(word: str) -> str:
    """Return the magic word. Raises ValueError, whose text does not contain the word, if it is invalid."""
    if not (MIN_WORD_CHARS <= len(word) <= MAX_WORD_CHARS and is_printable(word)):
        raise ValueError(f"a magic word is {MIN_WORD_CHARS} to {MAX_WORD_CHARS} printable ASCII characters")
    return word
