"""The keys that a SCRAM-SHA-256 server keeps instead of a secret (RFC 5802 section 3, RFC 7677).

Salts come in as arguments. No error text holds a secret, a salt or a key. Secrets are printable ASCII, as in `scram`.
"""

import binascii
import hashlib
import hmac
from collections.abc import Mapping
from typing import NamedTuple

MECHANISM = "SCRAM-SHA-256"
BOUND_MECHANISM = "SCRAM-SHA-256-PLUS"
HASH_BYTES = 32
MIN_ITERATIONS = 4_096  # RFC 7677 section 4
MAX_ITERATIONS = 10_000_000  # a security limit: a few seconds on one core
MIN_SALT_BYTES = 8
MAX_SALT_BYTES = 64

WORD_ITERATIONS = 600_000  # at least, for a magic word: about 0.2 s for each guess
WORD_SALT_BYTES = 16


class Credentials(NamedTuple):
    """The keys that a server keeps instead of a secret (RFC 5802 section 3).

    `salt` is 8 to 64 bytes, `iterations` 4,096 to 10,000,000, each key 32 bytes. With `stored_key` an attacker can
    guess the secret, with `server_key` imitate the server; so `repr` shows neither.
    """

    salt: bytes
    iterations: int
    stored_key: bytes
    server_key: bytes

    def __repr__(self) -> str:
        return f"Credentials(iterations={self.iterations}, [redacted])"

    def checked(self, min_iterations: int = MIN_ITERATIONS) -> "Credentials":
        """Return these credentials. Raises ValueError that names the field if one is out of bounds."""
        if not MIN_SALT_BYTES <= len(self.salt) <= MAX_SALT_BYTES:
            raise ValueError(f"salt must be {MIN_SALT_BYTES} to {MAX_SALT_BYTES} bytes")
        if not min_iterations <= self.iterations <= MAX_ITERATIONS:
            raise ValueError(f"iterations must be {min_iterations} to {MAX_ITERATIONS}")
        for name in ("stored_key", "server_key"):
            if len(getattr(self, name)) != HASH_BYTES:
                raise ValueError(f"{name} must be {HASH_BYTES} bytes")
        return self

    def to_fields(self) -> dict[str, str | int]:
        """Return the four fields for a JSON object, bytes as base64."""
        fields = self._asdict().items()
        return {name: to_base64(value) if isinstance(value, bytes) else value for name, value in fields}

    @classmethod
    def from_fields(cls, fields: Mapping[str, object], min_iterations: int = MIN_ITERATIONS) -> "Credentials":
        """Parse the fields of `to_fields`, which are not trusted. Raises ValueError with what is allowed."""
        iterations = fields.get("iterations")
        if type(iterations) is not int:  # a bool is an int, but not a count
            raise ValueError("iterations must be an integer")
        salt, *keys = (_bytes(name, fields.get(name)) for name in ("salt", "stored_key", "server_key"))
        return cls(salt, iterations, *keys).checked(min_iterations)

    def to_text(self) -> str:
        """Return one line for a file: `SCRAM-SHA-256$ITERATIONS:SALT$STOREDKEY:SERVERKEY` (RFC 5803)."""
        salt, stored_key, server_key = map(to_base64, (self.salt, self.stored_key, self.server_key))
        return f"{MECHANISM}${self.iterations}:{salt}${stored_key}:{server_key}"

    @classmethod
    def from_text(cls, text: str) -> "Credentials":
        """Parse the line of `to_text`, also with its end. Raises ValueError, which repeats nothing of the input."""
        scheme, _, rest = text.rstrip("\r\n").partition("$")
        if scheme != MECHANISM:
            raise ValueError(f"credentials must begin with {MECHANISM}$")
        if [mark for mark in rest if mark in "$:"] != [":", "$", ":"]:
            raise ValueError(f"credentials must be {MECHANISM}$ITERATIONS:SALT$STOREDKEY:SERVERKEY")
        iterations, *others = rest.replace("$", ":").split(":")
        fields = dict(zip(("salt", "stored_key", "server_key"), others, strict=True))
        return cls.from_fields({**fields, "iterations": read_count(iterations)})


def derive(secret: str, salt: bytes, iterations: int) -> Credentials:
    """Return the server's credentials for a secret, as `derive_client_key` does."""
    return derive_client_key(secret, salt, iterations, MIN_ITERATIONS)[1]


def decoy(server_secret: bytes, user: str, iterations: int) -> Credentials:
    """Return credentials that match no secret, always the same for the same user (RFC 5802 section 9).

    `iterations` must be that of real users, and `server_secret` (32 random bytes) must survive restarts: otherwise an
    attacker can tell an unknown user by its salt, which changes.
    """
    labels = (f"{label}={user}".encode() for label in ("salt", "stored", "server"))
    salt, stored_key, server_key = (hmac.digest(server_secret, label, "sha256") for label in labels)
    return Credentials(salt[:WORD_SALT_BYTES], iterations, stored_key, server_key).checked()


def derive_client_key(secret: str, salt: bytes, iterations: int, min_iterations: int) -> tuple[bytes, Credentials]:
    """Return ClientKey, which never leaves the client, and the server's credentials (RFC 5802 section 3, RFC 8018).

    600,000 iterations take about 0.2 s. The caller checks the length of the secret. Raises ValueError for a secret that
    is empty or not printable ASCII, and for a salt or an iteration count out of bounds.
    """
    unfinished = Credentials(salt, iterations, bytes(HASH_BYTES), bytes(HASH_BYTES)).checked(min_iterations)
    salted = hashlib.pbkdf2_hmac("sha256", checked_secret(secret).encode("ascii"), salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    stored_key, server_key = hashlib.sha256(client_key).digest(), hmac.digest(salted, b"Server Key", "sha256")
    return client_key, unfinished._replace(stored_key=stored_key, server_key=server_key)


def cookie_id(cookie: str) -> str:
    """Return the id of a cookie for the hello, so that a client sends no cookie to another server."""
    return hashlib.sha256(cookie.encode("ascii")).hexdigest()[:16]


def checked_secret(secret: str) -> str:
    """Return the secret. Raises ValueError, without the secret, if it is empty or not printable ASCII."""
    if not secret or not is_printable(secret):
        raise ValueError("the secret is empty or not all printable ASCII")
    return secret


def is_printable(text: str) -> bool:
    """Return whether `text` holds only 0x20 to 0x7E."""
    return text.isascii() and text.isprintable()


def read_count(text: str) -> int | None:
    """Parse a count as in RFC 5802 section 7: at most nine digits, no leading zero. Return None for anything else."""
    if not text.isascii() or not text.isdigit() or text[0] == "0" or len(text) > 9:
        return None
    return int(text)


def _bytes(name: str, value: object) -> bytes:
    data = from_base64(value) if isinstance(value, str) else None
    if data is None:
        raise ValueError(f"{name} must be base64")
    return data


def from_base64(text: str) -> bytes | None:
    """Return the bytes, or None unless `text` is canonical: exactly what `to_base64` returns for them."""
    if not text.isascii():
        return None
    try:
        data = binascii.a2b_base64(text)
    except binascii.Error:
        return None
    return data if to_base64(data) == text else None  # a2b_base64 ignores unknown characters and spare bits


def to_base64(data: bytes) -> str:
    """Return base64 with padding and without line ends (RFC 4648 section 4)."""
    return binascii.b2a_base64(data, newline=False).decode("ascii")
