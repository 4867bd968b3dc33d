"""SCRAM-SHA-256, both sides (RFC 5802, RFC 7677), also bound to a channel of TLS by the server's certificate.

Nonces, salts and messages come in as arguments; messages are `str`, as in the RFCs. The secret never leaves the
client; the server keeps only what `credentials.derive` returns.

A message that breaks the rules raises `ScramError`. Its text is one line of printable ASCII that repeats nothing of
the message, so it may be logged and sent. A wrong proof is not an error but `REFUSED`. Both end the exchange.

Secrets and user names are printable ASCII (0x20 to 0x7E). SASLprep (RFC 4013), which RFC 5802 section 2.2 requires,
does not change such text, so it is not implemented.
"""

import hashlib
import hmac
from collections.abc import Callable
from enum import Enum, auto

from smtppseudo.monitor.credentials import (
    HASH_BYTES,
    MIN_ITERATIONS,
    Credentials,
    checked_secret,
    derive_client_key,
    from_base64,
    is_printable,
    read_count,
    to_base64,
)

MIN_NONCE_CHARS = 16  # of our own nonce; 96 bits in base64
MAX_NONCE_CHARS = 256  # of one side's nonce; a security limit
MAX_MESSAGE_CHARS = 1_024  # a security limit, for either direction

REFUSED = "e=invalid-proof"  # for an unknown user too: RFC 5802 section 7 allows this

# The flags of a client that binds to the channel, of one that could, but was told that the server cannot, and of one
# that cannot (RFC 5802 section 6). The channel is the SHA-256 of the server's certificate, as in RFC 5929 section 4.
BINDS = "p=tls-server-end-point"
COULD_BIND = "y"
_CANNOT_BIND = "n"
_RESERVED = frozenset("anmrcsipve")  # RFC 5802 section 5.1: never the name of an extension


class ScramError(Exception):
    """A message broke the rules or came out of order. The text holds nothing of the message."""


class ExchangeState(Enum):
    """START → AWAITS_FIRST → AWAITS_FINAL → DONE, or FAILED at any step. A server begins with AWAITS_FIRST."""

    START = auto()
    AWAITS_FIRST = auto()
    AWAITS_FINAL = auto()
    DONE = auto()
    FAILED = auto()


class _Exchange:
    """The state of either side. An exchange allows one try."""

    def __init__(self, nonce: str, state: ExchangeState) -> None:
        if not _is_nonce(nonce) or not MIN_NONCE_CHARS <= len(nonce) <= MAX_NONCE_CHARS:
            raise ValueError(f"a nonce must be {MIN_NONCE_CHARS} to {MAX_NONCE_CHARS} of 0x21 to 0x7E without comma")
        self._nonce = nonce
        self.state = state

    def _begin(self, expected: ExchangeState) -> None:
        """Raise ScramError unless this step is next. The state is FAILED until the message proves valid."""
        state, self.state = self.state, ExchangeState.FAILED
        if state is not expected:
            raise ScramError("the message came out of order")


class ServerExchange(_Exchange):
    """The server's side of one login.

    `lookup` returns a user's credentials or None, `decoy_for` the credentials to use instead of None (see
    `credentials.decoy`). Both are called for every user, so that unknown users take the same time and get the same
    kind of reply. `nonce` is 16 to 256 characters, random and new for every exchange: it is the only protection
    against a replayed client-final-message. Raises ValueError for an invalid nonce.

    With a `channel`, clients that can must bind to it, so that no server between can use their login.
    """

    def __init__(
        self, lookup: Callable[[str], Credentials | None], decoy_for: Callable[[str], Credentials], nonce: str
    ) -> None:
        super().__init__(nonce, ExchangeState.AWAITS_FIRST)
        self._lookup = lookup
        self._decoy_for = decoy_for
        self.channel = b""
        self.user = ""  # as the client claims in its first message; not proved before the state is DONE
        self._known = False
        self._credentials = Credentials(b"", 0, b"", b"")
        self._binding = ""
        self._first_messages = ""  # the beginning of AuthMessage

    def first(self, client_first: str) -> str:
        """Process the client-first-message, return the server-first-message (RFC 5802 section 7). Raises ScramError."""
        self._begin(ExchangeState.AWAITS_FIRST)
        flag, _, rest = _checked_message(client_first).partition(",")
        authzid, comma, bare = rest.partition(",")
        if flag.startswith("p=") and flag != BINDS:
            raise ScramError("this kind of channel binding is not supported")
        if flag not in (BINDS, COULD_BIND, _CANNOT_BIND) or not comma:
            raise ScramError("the message does not begin with n,, or y,,")
        if authzid:
            raise ScramError("an authorization identity is not supported")
        name, nonce = _values(bare, "nr")
        if name.count("=") != name.count("=2C") + name.count("=3D"):  # its only escapes (RFC 5802 section 5.1)
            raise ScramError("the user name holds a bare =")
        self.user = name.replace("=2C", ",").replace("=3D", "=")
        self._nonce = _nonce(nonce, MAX_NONCE_CHARS) + self._nonce
        if flag == BINDS and not self.channel:
            raise ScramError("channel binding is not supported")
        if flag == COULD_BIND and self.channel:
            raise ScramError("the server supports channel binding; another one between may have hidden that")
        self._binding = _binding(flag, self.channel if flag == BINDS else b"")
        decoy, found = self._decoy_for(self.user), self._lookup(self.user)
        self._known, self._credentials = found is not None, found or decoy
        server_first = f"r={self._nonce},s={to_base64(self._credentials.salt)},i={self._credentials.iterations}"
        self._first_messages = f"{bare},{server_first}"
        self.state = ExchangeState.AWAITS_FINAL
        return server_first

    def final(self, client_final: str) -> str:
        """Process the client-final-message, return the server-final-message, `REFUSED` for a wrong proof.

        Raises ScramError, also for the channel binding or the nonce of another exchange, as in a replayed message.
        """
        self._begin(ExchangeState.AWAITS_FINAL)
        without_proof, comma, proof = _checked_message(client_final).rpartition(",p=")
        if not comma:
            raise ScramError("the message does not end with a proof")
        binding, nonce = _values(without_proof, "cr")
        if binding != self._binding:
            raise ScramError("the login is bound to another certificate than that of this server")
        if not hmac.compare_digest(_nonce(nonce, MAX_MESSAGE_CHARS).encode("ascii"), self._nonce.encode("ascii")):
            raise ScramError("the nonce is not the one of this exchange")
        auth_message = f"{self._first_messages},{without_proof}".encode("ascii")
        client_key = _xor(_hash(proof, "the proof"), hmac.digest(self._credentials.stored_key, auth_message, "sha256"))
        proven = hmac.compare_digest(hashlib.sha256(client_key).digest(), self._credentials.stored_key)
        signature = hmac.digest(self._credentials.server_key, auth_message, "sha256")
        if not (proven and self._known):
            return REFUSED
        self.state = ExchangeState.DONE
        return f"v={to_base64(signature)}"


class ClientExchange(_Exchange):
    """The client's side of one login.

    `user` and `secret` are printable ASCII; `nonce` is 16 to 256 characters, random and new for every exchange. With
    fewer than `min_iterations`, a false server could guess the secret fast. `final` discards the secret. Raises
    ValueError; its text does not hold the secret.
    """

    def __init__(self, user: str, secret: str, nonce: str, min_iterations: int = MIN_ITERATIONS) -> None:
        if not user or not is_printable(user):
            raise ValueError("the user name must be printable ASCII")
        self._secret = checked_secret(secret)
        self._min_iterations = min_iterations
        super().__init__(nonce, ExchangeState.START)
        self._first_bare = f"n={user.replace('=', '=3D').replace(',', '=2C')},r={nonce}"
        self._signature = b""
        self._binding = ""

    def first(self, flag: str = _CANNOT_BIND, channel: bytes = b"") -> str:
        """Return the client-first-message, with the channel for BINDS. Raises ScramError for a second call."""
        self._begin(ExchangeState.START)
        self._binding = _binding(flag, channel)
        self.state = ExchangeState.AWAITS_FIRST
        return f"{flag},,{self._first_bare}"

    def final(self, server_first: str) -> str:
        """Process the server-first-message, return the client-final-message. Raises ScramError.

        The time it takes depends on the server's iteration count: more than 10,000,000 are an error for that reason.
        """
        self._begin(ExchangeState.AWAITS_FIRST)
        secret, self._secret = self._secret, ""
        nonce, salt, iterations = _values(_not_refused(server_first), "rsi")
        if not _nonce(nonce, MAX_MESSAGE_CHARS).startswith(self._nonce) or len(nonce) == len(self._nonce):
            raise ScramError("the server's nonce does not extend ours")
        try:
            salt_bytes, count = from_base64(salt) or b"", read_count(iterations) or 0
            client_key, credentials = derive_client_key(secret, salt_bytes, count, self._min_iterations)
        except ValueError as error:
            raise ScramError(str(error)) from None
        without_proof = f"c={self._binding},r={nonce}"
        auth_message = f"{self._first_bare},{server_first},{without_proof}".encode("ascii")
        proof = _xor(client_key, hmac.digest(credentials.stored_key, auth_message, "sha256"))
        self._signature = hmac.digest(credentials.server_key, auth_message, "sha256")
        self.state = ExchangeState.AWAITS_FINAL
        return f"{without_proof},p={to_base64(proof)}"

    def verify(self, server_final: str) -> None:
        """Process the server-final-message. Raises ScramError if it does not prove that the peer has the credentials.

        The client must not trust anything that such a peer sends.
        """
        self._begin(ExchangeState.AWAITS_FINAL)
        (signature,) = _values(_not_refused(server_final), "v")
        if not hmac.compare_digest(_hash(signature, "the server's signature"), self._signature):
            raise ScramError("the server's signature is wrong")
        self.state = ExchangeState.DONE


def _binding(flag: str, channel: bytes) -> str:
    """Return the value of c=."""
    return to_base64(f"{flag},,".encode("ascii") + channel)


def _not_refused(message: str) -> str:
    if message.startswith("e="):
        raise ScramError("the server refused")
    return _checked_message(message)


def _checked_message(message: str) -> str:
    if len(message) > MAX_MESSAGE_CHARS:
        raise ScramError(f"the message is longer than {MAX_MESSAGE_CHARS} characters")
    if not is_printable(message):
        raise ScramError("the message is not all printable ASCII")
    return message


def _values(text: str, names: str) -> list[str]:
    """Return the values of the attributes `names`, which come first, in this order; ignore extensions behind them."""
    seen = ""
    values = []
    for attribute in text.split(","):
        name, value = attribute[:1], attribute[2:]
        if not name.isalpha() or attribute[1:2] != "=" or not value:
            raise ScramError("the message is not a list of attributes")
        if name == "m":  # RFC 5802 section 5.1
            raise ScramError("a mandatory extension is not supported")
        if name in seen or (len(seen) >= len(names) and name in _RESERVED):
            raise ScramError("an attribute occurs where it must not")
        seen += name
        values.append(value)
    if not seen.startswith(names):
        raise ScramError("an attribute is missing or out of order")
    return values[: len(names)]


def _nonce(nonce: str, max_chars: int) -> str:
    if not _is_nonce(nonce) or len(nonce) > max_chars:
        raise ScramError(f"the nonce is longer than {max_chars} characters or holds a space")
    return nonce


def _is_nonce(text: str) -> bool:
    return is_printable(text) and " " not in text and "," not in text


def _hash(text: str, name: str) -> bytes:
    data = from_base64(text)
    if data is None or len(data) != HASH_BYTES:
        raise ScramError(f"{name} is not {HASH_BYTES} bytes in base64")
    return data


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))
