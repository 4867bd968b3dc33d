"""The monitor protocol from a monitor's side: login, then ops out and replies, snapshots and events in.

Pure: bytes in, bytes and values out; the nonce and the secrets come in as arguments. A server that does
not keep to the protocol is a value, `BadPeer`, never an exception.
"""

from collections.abc import Callable, Mapping
from enum import Enum
from typing import ClassVar, Final, NamedTuple, TypeAlias

from smtppseudo.link.incoming import (
    BadPeer,
    Bye,
    Dropped,
    Ending,
    Incoming,
    LoggedIn,
    Lost,
    NeedsMagicWord,
    NotAuthorized,
    Refused,
    Reply,
    ReplyRefused,
    Snapshot,
    ViolationError,
    checked_slot,
    number,
    object_of,
    plain,
    streamed,
    text,
    words,
)
from smtppseudo.monitor.codec import (
    MAX_BYTES_AFTER_LOGIN,
    MAX_BYTES_TO_CLIENT,
    PROTOCOL,
    TOO_BIG,
    Frame,
    FrameError,
    FrameReader,
    encode,
)
from smtppseudo.monitor.credentials import MECHANISM, cookie_id, is_printable
from smtppseudo.monitor.scram import ClientExchange, ScramError

MIN_WORD_CHARS: Final = 8
MAX_WORD_CHARS: Final = 128
WORD_ALLOWED: Final = f"a magic word is {MIN_WORD_CHARS} to {MAX_WORD_CHARS} printable ASCII characters"
SLOTS_MAX: Final = 60_000  # in one list; a security limit


class Secrets(NamedTuple):
    """What a login may be done with: cookies, one for each server that may be meant, and the magic word."""

    cookies: tuple[str, ...] = ()
    magic_word: str | None = None

    def __repr__(self) -> str:
        return "Secrets([redacted])"


class ClientState(Enum):
    """Where the connection stands."""

    AWAITS_HELLO = "the server has the first word"
    AWAITS_CHALLENGE = "the login has begun"
    AWAITS_SIGNATURE = "our proof is sent; the server's is to come"
    AUTHENTICATED = "logged in"
    CLOSED = "the last value is given out; what arrives is ignored"


class MonitorClient:
    """The machine. Its owner's duties, in this order:

    - give what arrives to `receive`, and the end of the stream to `end_of_stream`; see to what they return;
    - send all that `data_to_send` gives, after that as after `request`;
    - close the connection when the state is CLOSED.

    `nonce` is 16 to 256 characters, random, new for each connection. Of the server's bytes at most a line of
    64 KiB is kept, and a list of 60,000 slots. No character that could harm a terminal is left in a value.
    Raises ValueError, which holds no secret, for a magic word or a nonce that cannot be.
    """

    __slots__ = (
        "_by_cookie",
        "_by_word",
        "_exchange",
        "_id",
        "_pending",
        "_reader",
        "_slots",
        "_to_send",
        "server",
        "state",
        "user",
    )

    def __init__(self, secrets: Secrets, nonce: str) -> None:
        word = secrets.magic_word
        self.state = ClientState.AWAITS_HELLO
        self.server = ""  # what the hello says it is
        self.user = ""  # `cookie` or `magic`, once the hello has decided that
        self._by_cookie = {cookie_id(cookie): ClientExchange("cookie", cookie, nonce) for cookie in secrets.cookies}
        self._by_word = None if word is None else ClientExchange("magic", checked_word(word), nonce)
        self._exchange: ClientExchange  # the one of them that the hello decides upon
        self._reader = FrameReader(MAX_BYTES_TO_CLIENT)
        self._id = 0
        self._pending: set[int] = set()
        self._slots: dict[int, list[Frame]] = {}  # lists that are not whole, by request; the snapshot's as 0
        self._to_send = b""

    def receive(self, data: bytes) -> list[Incoming]:
        """Take what the server sent, in any pieces; return what it means, an `Ending` last if it is the end.

        One call takes the time of the key derivation that the server asks for: a fifth of a second is usual,
        some seconds are the most that is allowed.
        """
        found: list[Incoming] = []
        for frame in self._reader.receive(data):
            if self.state is ClientState.CLOSED:
                break
            try:
                incoming = self._take(frame)
            except ViolationError as violation:
                incoming = BadPeer(str(violation))
            if isinstance(incoming, Ending):
                self._close()
            if incoming is not None:
                found.append(incoming)
        return found

    def end_of_stream(self) -> list[Incoming]:
        """Say that the server closed the connection; return what that means."""
        if self.state is ClientState.CLOSED:
            return []
        message = _LOST_IN[self.state]
        self._close()
        return [Lost(message)]

    def data_to_send(self) -> bytes:
        """Give the bytes to send, once."""
        data, self._to_send = self._to_send, b""
        return data

    def request(self, op: str, **fields: object) -> int:
        """Ask for an op; the reply has the number returned. Raises ValueError before login and for over 16 KiB."""
        if self.state is not ClientState.AUTHENTICATED:
            raise ValueError("not logged in")
        return self._say(op=op, **fields)

    def _say(self, **frame: object) -> int:
        line = encode({"id": self._id + 1, **frame})
        if len(line) > MAX_BYTES_AFTER_LOGIN:
            raise ValueError(f"a request is at most {MAX_BYTES_AFTER_LOGIN:,} bytes")
        self._id += 1
        self._pending.add(self._id)
        self._to_send += line
        return self._id

    def _close(self) -> None:
        self.state = ClientState.CLOSED
        self._forget()
        self._slots.clear()

    def _forget(self) -> None:
        """Let go of secrets that are not needed any more."""
        self._by_cookie = {}
        self._by_word = None

    def _take(self, frame: Frame | FrameError) -> Incoming | None:
        if isinstance(frame, FrameError):
            if self.state is ClientState.AWAITS_HELLO and frame.code != TOO_BIG:
                raise ViolationError("what answers there is not a monitor port; is it an SMTP port?")
            raise ViolationError(f"the server sent what is not a frame: {frame.message}")
        frame = plain(frame)
        kind = text(frame, "type")
        take = self._TAKES[self.state].get(kind)
        if take is not None:
            return take(self, frame)
        if self.state is ClientState.AUTHENTICATED:
            return None  # from a later version of the same protocol
        raise ViolationError(f"the server sent {kind[:40]!r} before the login was done")

    def _hello(self, frame: Frame) -> Incoming | None:
        protocol = number(frame, "protocol")
        if protocol != PROTOCOL:
            raise ViolationError(
                f"the server speaks version {protocol} of the monitor protocol, this program version {PROTOCOL};"
                " use the same smtppseudo on both sides"
            )
        mechanisms = frame.get("mechanisms")
        if not isinstance(mechanisms, list) or MECHANISM not in mechanisms:
            raise ViolationError(f"the server does not offer {MECHANISM}")
        self.server = words(frame, "server")
        by_cookie = self._by_cookie.get(words(frame, "cookie_id"))
        if by_cookie is not None:
            self.user, self._exchange = "cookie", by_cookie
        elif self._by_word is not None:
            self.user, self._exchange = "magic", self._by_word
        else:
            return NeedsMagicWord()
        self._forget()
        self._say(op="auth", mechanism=MECHANISM, data=self._exchange.first())
        self.state = ClientState.AWAITS_CHALLENGE
        return None

    def _challenge(self, frame: Frame) -> Incoming | None:
        refusal = self._login_refusal(frame)
        if refusal is not None:
            return refusal
        try:
            proof = self._exchange.final(text(frame, "data"))
        except ScramError as error:
            raise ViolationError(f"the login failed: {error}") from None
        self._say(op="auth", data=proof)
        self.state = ClientState.AWAITS_SIGNATURE
        return None

    def _signature(self, frame: Frame) -> Incoming | None:
        refusal = self._login_refusal(frame)
        if refusal is not None:
            return refusal
        try:
            self._exchange.verify(text(frame, "data"))
        except ScramError as error:
            raise ViolationError(f"the login failed: {error}; do not trust what answers there") from None
        self.state = ClientState.AUTHENTICATED
        return LoggedIn(self.user)

    def _login_refusal(self, frame: Frame) -> Incoming | None:
        if self._answered(frame)[1]:
            return None
        code, message = text(frame, "error"), words(frame, "message")
        return NotAuthorized(self.user, message) if code == "not_authorized" else Refused(code, message)

    def _answered(self, frame: Frame) -> tuple[int, bool]:
        """Return which request a reply answers, and whether it was carried out."""
        request_id, ok = number(frame, "id"), frame.get("ok")
        if request_id not in self._pending:
            raise ViolationError("the server answered what was not asked")
        if not isinstance(ok, bool):
            raise ViolationError("a frame lacks ok, or it is neither true nor false")
        if not (ok and frame.get("more") is True):
            self._pending.remove(request_id)
        return request_id, ok

    def _reply(self, frame: Frame) -> Incoming | None:
        request_id, ok = self._answered(frame)
        if not ok:
            self._slots.pop(request_id, None)
            return ReplyRefused(request_id, text(frame, "error"), words(frame, "message"))
        if "slots" in frame:
            slots = self._collect(request_id, frame)
            if slots is None:
                return None
            frame["slots"] = slots
        return Reply(request_id, {name: value for name, value in frame.items() if name not in _OF_REPLIES})

    def _snapshot(self, frame: Frame) -> Incoming | None:
        slots = self._collect(0, frame)
        if slots is None:
            return None
        return Snapshot(
            number(frame, "seq"),
            text(frame, "state"),
            text(frame, "started_at"),
            slots,
            object_of(frame, "settings"),
            object_of(frame, "counters"),
        )

    def _collect(self, request_id: int, frame: Frame) -> list[Frame] | None:
        """Add a frame's slots to those before it; return all when they are whole."""
        slots = self._slots.setdefault(request_id, [])
        part = frame.get("slots")
        if not isinstance(part, list):
            raise ViolationError("a frame lacks slots, or they are not a list")
        slots += [checked_slot(slot) for slot in part]
        if len(slots) > SLOTS_MAX:
            raise ViolationError(f"the server sent more than {SLOTS_MAX:,} slots")
        return None if frame.get("more") is True else self._slots.pop(request_id)

    def _event(self, frame: Frame) -> Incoming:
        return streamed(frame)

    def _dropped(self, frame: Frame) -> Incoming:
        return Dropped(number(frame, "count"))

    def _error(self, frame: Frame) -> Incoming:
        return Refused(text(frame, "error"), words(frame, "message"))

    def _bye(self, frame: Frame) -> Incoming:
        return Bye(words(frame, "reason"))

    # What each state takes of the server, by the frame's type.
    _ANY_TIME: ClassVar[Mapping[str, "_Take"]] = {"error": _error, "bye": _bye}
    _TAKES: ClassVar[Mapping[ClientState, Mapping[str, "_Take"]]] = {
        ClientState.AWAITS_HELLO: {**_ANY_TIME, "hello": _hello},
        ClientState.AWAITS_CHALLENGE: {**_ANY_TIME, "reply": _challenge},
        ClientState.AWAITS_SIGNATURE: {**_ANY_TIME, "reply": _signature},
        ClientState.AUTHENTICATED: {
            **_ANY_TIME,
            "reply": _reply,
            "snapshot": _snapshot,
            "event": _event,
            "dropped": _dropped,
        },
    }


_Take: TypeAlias = Callable[[MonitorClient, Frame], Incoming | None]

_LOST_IN: Final = {
    ClientState.AWAITS_HELLO: "the server closed the connection without a word",
    ClientState.AWAITS_CHALLENGE: "the server closed the connection during the login",
    ClientState.AWAITS_SIGNATURE: "the server closed the connection during the login",
    ClientState.AUTHENTICATED: "the server closed the connection",
}
_OF_REPLIES: Final = ("type", "id", "ok", "more")  # fields that are no reply's own


def checked_word(word: str) -> str:
    """Return a magic word; raise ValueError, which says what is allowed and not the word, if it cannot be one."""
    if not (MIN_WORD_CHARS <= len(word) <= MAX_WORD_CHARS and is_printable(word)):
        raise ValueError(WORD_ALLOWED)
    return word
