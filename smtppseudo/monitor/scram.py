"""SCRAM-SHA-256 without channel binding, both sides (RFC 5802, RFC 7677).

Pure: nonces, salts and messages come in as arguments, messages go out as values. The secret itself
never leaves the client; the server keeps what `credentials.derive` makes of it. Messages are `str`, as they stand
in the RFCs.

A message that breaks the rules raises `ScramError`, whose text is one line of printable ASCII that
repeats nothing of the message, so it may be logged and answered as it is. A wrong proof is no error
but an `Outcome`. After either the exchange is over.

Secrets and user names are printable ASCII (0x20 to 0x7E); on those SASLprep (RFC 4013), which RFC 5802
section 2.2 asks for, is the identity, so there is none here.
"""

import hashlib
import hmac
from collections.abc import Callable
from enum import Enum, auto
from typing import NamedTuple

from smtppseudo.monitor.credentials import (
    HASH_BYTES,
    MAX_ITERATIONS,
    MAX_SALT_BYTES,
    MIN_ITERATIONS,
    MIN_SALT_BYTES,
    Credentials,
    checked_secret,
    derive_client_key,
    from_base64,
    hmac_sha256,
    is_printable,
    read_count,
    to_base64,
)

MIN_NONCE_CHARS = 16  # of a nonce of our own; 96 bits in base64
MAX_NONCE_CHARS = 256  # of one side's nonce; a security limit
MAX_MESSAGE_CHARS = 1_024  # a security limit, for either direction

REFUSED = "e=invalid-proof"  # for an unknown user too: RFC 5802 section 7 allows this

_GS2_HEADER = "n,,"
_CHANNEL_BINDING = "biws"  # base64 of the header
_RESERVED = frozenset("anmrcsipve")  # RFC 5802 section 5.1: never the name of an extension


class ScramError(Exception):
    """A message broke the rules, or came out of order. The text holds nothing of the message."""


class Outcome(NamedTuple):
    """How an exchange ended: `message` is the server-final-message, `v=…` if `ok`, else `REFUSED`."""

    user: str
    ok: bool
    message: str


class ServerExchangeState(Enum):
    """AWAITS_FIRST → AWAITS_FINAL → AUTHENTICATED; from each but the last to FAILED. One try only."""

    AWAITS_FIRST = auto()
    AWAITS_FINAL = auto()
    AUTHENTICATED = auto()
    FAILED = auto()


class ServerExchange:
    """The server's side of one authentication.

    `lookup` gives a user's credentials, or None; `decoy_for` gives the credentials to go on with where
    there are none, by `credentials.decoy`. Both are called for every user, so that an unknown one takes as long as a
    known one, and is answered alike. `nonce` is 16 to 256 characters, random, new for every exchange: it
    alone makes a recorded client-final-message worthless. Raises ValueError for a nonce that cannot
    be sent.
    """

    __slots__ = (
        "_client_first_bare",
        "_credentials",
        "_decoy_for",
        "_known",
        "_lookup",
        "_nonce",
        "_server_first",
        "_state",
        "_user",
    )

    def __init__(
        self,
        lookup: Callable[[str], Credentials | None],
        decoy_for: Callable[[str], Credentials],
        nonce: str,
    ) -> None:
        self._lookup = lookup
        self._decoy_for = decoy_for
        self._nonce = _own_nonce(nonce)  # ours; from `first` on the client's and ours
        self._state = ServerExchangeState.AWAITS_FIRST
        self._user = ""
        self._known = False
        self._credentials = Credentials(b"", 0, b"", b"")
        self._client_first_bare = ""
        self._server_first = ""

    @property
    def state(self) -> ServerExchangeState:
        """Where the exchange stands."""
        return self._state

    @property
    def user(self) -> str:
        """The user that the client named; empty before `first`. A claim until `final` says ok."""
        return self._user

    def first(self, client_first: str) -> str:
        """Take the client-first-message, return the server-first-message. Raises ScramError."""
        self._begin(ServerExchangeState.AWAITS_FIRST)
        user, client_nonce, self._client_first_bare = _parse_client_first(client_first)
        stand_in = self._decoy_for(user)
        found = self._lookup(user)
        self._user = user
        self._known = found is not None
        self._credentials = stand_in if found is None else found
        self._nonce = client_nonce + self._nonce
        salt = to_base64(self._credentials.salt)
        self._server_first = f"r={self._nonce},s={salt},i={self._credentials.iterations}"
        self._state = ServerExchangeState.AWAITS_FINAL
        return self._server_first

    def final(self, client_final: str) -> Outcome:
        """Take the client-final-message, say whether its proof holds (RFC 5802 section 3).

        Raises ScramError for a message that is malformed, bound to a channel or carries another nonce,
        as one recorded from another exchange does.
        """
        self._begin(ServerExchangeState.AWAITS_FINAL)
        without_proof, nonce, proof = _parse_client_final(client_final)
        if not hmac.compare_digest(nonce.encode("ascii"), self._nonce.encode("ascii")):
            raise ScramError("the nonce is not the one of this exchange")
        auth_message = f"{self._client_first_bare},{self._server_first},{without_proof}".encode("ascii")
        client_key = _xor(proof, hmac_sha256(self._credentials.stored_key, auth_message))
        proven = hmac.compare_digest(hashlib.sha256(client_key).digest(), self._credentials.stored_key)
        signature = hmac_sha256(self._credentials.server_key, auth_message)
        if not (proven and self._known):
            return Outcome(self._user, ok=False, message=REFUSED)
        self._state = ServerExchangeState.AUTHENTICATED
        return Outcome(self._user, ok=True, message=f"v={to_base64(signature)}")

    def _begin(self, expected: ServerExchangeState) -> None:
        state, self._state = self._state, ServerExchangeState.FAILED  # until the message has proved good
        if state is not expected:
            raise ScramError("the message came out of order")


class ClientExchangeState(Enum):
    """START → AWAITS_FIRST → AWAITS_FINAL → VERIFIED; from each but the last to FAILED."""

    START = auto()
    AWAITS_FIRST = auto()
    AWAITS_FINAL = auto()
    VERIFIED = auto()
    FAILED = auto()


class ClientExchange:
    """The client's side of one authentication.

    `user` and `secret` are printable ASCII; `nonce` is 16 to 256 characters, random, new for every
    exchange. The secret is kept no longer than `final` needs it. Raises ValueError, whose text does
    not hold the secret.
    """

    __slots__ = ("_first_bare", "_nonce", "_secret", "_signature", "_state")

    def __init__(self, user: str, secret: str, nonce: str) -> None:
        if not user or not is_printable(user):
            raise ValueError("the user name must be printable ASCII")
        self._secret = checked_secret(secret)
        self._nonce = _own_nonce(nonce)
        self._first_bare = f"n={user.replace('=', '=3D').replace(',', '=2C')},r={nonce}"
        self._signature = b""
        self._state = ClientExchangeState.START

    @property
    def state(self) -> ClientExchangeState:
        """Where the exchange stands."""
        return self._state

    def first(self) -> str:
        """Return the client-first-message. Raises ScramError when called again."""
        self._begin(ClientExchangeState.START)
        self._state = ClientExchangeState.AWAITS_FIRST
        return _GS2_HEADER + self._first_bare

    def final(self, server_first: str) -> str:
        """Take the server-first-message, return the client-final-message.

        Takes the time that the server's iteration count asks for (see `credentials.derive`). Raises ScramError for a
        malformed message, a nonce that does not extend ours, fewer than 4,096 iterations, which
        would let a false server guess fast, and more than 10,000,000, which would keep us busy.
        """
        self._begin(ClientExchangeState.AWAITS_FIRST)
        secret, self._secret = self._secret, ""
        nonce, salt, iterations = _parse_server_first(server_first)
        if not nonce.startswith(self._nonce) or len(nonce) == len(self._nonce):
            raise ScramError("the server's nonce does not extend ours")
        client_key, credentials = derive_client_key(secret, salt, iterations)
        without_proof = f"c={_CHANNEL_BINDING},r={nonce}"
        auth_message = f"{self._first_bare},{server_first},{without_proof}".encode("ascii")
        proof = _xor(client_key, hmac_sha256(credentials.stored_key, auth_message))
        self._signature = hmac_sha256(credentials.server_key, auth_message)
        self._state = ClientExchangeState.AWAITS_FINAL
        return f"{without_proof},p={to_base64(proof)}"

    def verify(self, server_final: str) -> None:
        """Take the server-final-message; return only if the server proved that it knows us.

        Raises ScramError for a refusal (`e=`), a malformed message, or a signature that does not hold:
        whoever sent that has not got the credentials, and is not to be trusted with anything.
        """
        self._begin(ClientExchangeState.AWAITS_FINAL)
        if not hmac.compare_digest(_parse_server_final(server_final), self._signature):
            raise ScramError("the server's signature does not hold")
        self._state = ClientExchangeState.VERIFIED

    def _begin(self, expected: ClientExchangeState) -> None:
        state, self._state = self._state, ClientExchangeState.FAILED  # until the message has proved good
        if state is not expected:
            raise ScramError("the message came out of order")


def _parse_client_first(message: str) -> tuple[str, str, str]:
    """Return user, client nonce and client-first-message-bare (RFC 5802 section 7)."""
    flag, _, rest = _checked_message(message).partition(",")
    authzid, comma, bare = rest.partition(",")
    if flag == "y" or flag.startswith("p="):
        raise ScramError("channel binding is not supported")
    if flag != "n" or not comma:
        raise ScramError("the message does not begin with n,,")
    if authzid:
        raise ScramError("an authorization identity is not supported")
    name, nonce = _values(bare, "nr")
    return _user(name), _nonce(nonce, MAX_NONCE_CHARS), bare


def _parse_client_final(message: str) -> tuple[str, str, bytes]:
    """Return client-final-message-without-proof, nonce and proof (RFC 5802 section 7)."""
    without_proof, comma, proof = _checked_message(message).rpartition(",p=")
    if not comma:
        raise ScramError("the message does not end with a proof")
    binding, nonce = _values(without_proof, "cr")
    if binding != _CHANNEL_BINDING:
        raise ScramError("the channel binding is not that of n,,")
    return without_proof, _nonce(nonce, MAX_MESSAGE_CHARS), _hash(proof, "the proof")


def _parse_server_first(message: str) -> tuple[str, bytes, int]:
    """Return nonce, salt and iteration count (RFC 5802 section 7)."""
    nonce, salt_text, iterations_text = _values(_not_refused(message), "rsi")
    salt = from_base64(salt_text)
    if salt is None or not MIN_SALT_BYTES <= len(salt) <= MAX_SALT_BYTES:
        raise ScramError(f"the salt is not {MIN_SALT_BYTES} to {MAX_SALT_BYTES} bytes in base64")
    iterations = read_count(iterations_text)
    if iterations is None or not MIN_ITERATIONS <= iterations <= MAX_ITERATIONS:
        raise ScramError(f"the iteration count is not {MIN_ITERATIONS} to {MAX_ITERATIONS}")
    return _nonce(nonce, MAX_MESSAGE_CHARS), salt, iterations


def _parse_server_final(message: str) -> bytes:
    """Return the server's signature (RFC 5802 section 7)."""
    (signature,) = _values(_not_refused(message), "v")
    return _hash(signature, "the server's signature")


def _not_refused(message: str) -> str:
    if message.startswith("e="):
        raise ScramError("the server refused")
    return _checked_message(message)


def _checked_message(message: str) -> str:
    if len(message) > MAX_MESSAGE_CHARS:
        raise ScramError(f"the message is longer than {MAX_MESSAGE_CHARS} characters")
    if not is_printable(message):
        raise ScramError("the message holds something other than printable ASCII")
    return message


def _values(text: str, names: str) -> list[str]:
    """Return the values of the attributes `names`, which come first and in this order.

    What follows them are extensions, which RFC 5802 section 5.1 has us ignore unless they are mandatory.
    """
    seen = ""
    values = []
    for attribute in text.split(","):
        name, value = attribute[:1], attribute[2:]
        if not name.isalpha() or attribute[1:2] != "=" or not value:
            raise ScramError("the message is not a list of attributes")
        if name == "m":
            raise ScramError("a mandatory extension is not supported")
        if name in seen or (len(seen) >= len(names) and name in _RESERVED):
            raise ScramError("an attribute occurs where it must not")
        seen += name
        values.append(value)
    if not seen.startswith(names):
        raise ScramError("an attribute is missing or out of order")
    return values[: len(names)]


def _user(name: str) -> str:
    """Undo the escapes of a saslname: `=2C` and `=3D`, and no other (RFC 5802 section 5.1)."""
    if name.count("=") != name.count("=2C") + name.count("=3D"):
        raise ScramError("the user name holds a bare =")
    return name.replace("=2C", ",").replace("=3D", "=")


def _nonce(nonce: str, max_chars: int) -> str:
    if not _is_nonce(nonce) or len(nonce) > max_chars:
        raise ScramError(f"the nonce is longer than {max_chars} characters or holds a space")
    return nonce


def _own_nonce(nonce: str) -> str:
    if not _is_nonce(nonce) or not MIN_NONCE_CHARS <= len(nonce) <= MAX_NONCE_CHARS:
        raise ValueError(
            f"a nonce must be {MIN_NONCE_CHARS} to {MAX_NONCE_CHARS} printable ASCII characters, "
            "without space and comma"
        )
    return nonce


def _is_nonce(text: str) -> bool:
    return is_printable(text) and " " not in text and "," not in text


def _hash(text: str, what: str) -> bytes:
    data = from_base64(text)
    if data is None or len(data) != HASH_BYTES:
        raise ScramError(f"{what} is not {HASH_BYTES} bytes in base64")
    return data


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))
