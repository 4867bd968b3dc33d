"""Pins: the certificates that this user has accepted, by server, as SSH keeps the hosts it knows.

A server's certificate is known by its fingerprint, the SHA-256 of its DER form, written as openssl writes it. One
line a server, as in `mail.example.org:26 SHA256:0A:1B:...`; other lines are left alone.
"""

import hashlib
import re
from typing import Final, Protocol

FILE: Final = "monitor_pins"
SHOW_COMMAND: Final = "openssl x509 -noout -fingerprint -sha256 -in cert.pem"

_PREFIX: Final = "SHA256:"
_LINE: Final = re.compile(r"(\S+) +(SHA256:(?:[0-9A-F]{2}:){31}[0-9A-F]{2})")


class Store(Protocol):
    """A directory of this user's. What is written can be read by nobody else."""

    def read(self, name: str) -> str | None:
        """Return a file's text; None if there is none. Raises OSError."""
        ...

    def write(self, name: str, text: str) -> None:
        """Replace a file. Raises OSError."""
        ...


class Pins:
    """The pins, read and written at each use: other programs of this user keep theirs there, too.

    Every method raises OSError: where the pins cannot be read, a certificate must not pass for a first one.
    """

    __slots__ = ("_store",)

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, host: str, port: int) -> str | None:
        """Return the fingerprint that was accepted for a server, or None."""
        name = name_of(host, port)
        matches = [_LINE.fullmatch(line) for line in self._lines()]
        return next((match[2] for match in matches if match and match[1] == name), None)

    def accept(self, host: str, port: int, fingerprint: str) -> None:
        """Trust a certificate from now on, and none but that."""
        name = name_of(host, port)
        others = [line for line in self._lines() if line.partition(" ")[0] != name]
        self._store.write(FILE, "".join(f"{line}\n" for line in (*others, f"{name} {fingerprint}")))

    def _lines(self) -> list[str]:
        return (self._store.read(FILE) or "").splitlines()


def name_of(host: str, port: int) -> str:
    """Return what a server is called there: `mail.example.org:26`, `[2001:db8::25]:26`."""
    return f"[{host}]:{port}" if ":" in host else f"{host.lower()}:{port}"


def fingerprint_of(certificate: bytes) -> str:
    """Return the fingerprint of a certificate (DER), as in `SHA256:0A:1B:...`."""
    return _PREFIX + hashlib.sha256(certificate).digest().hex(":").upper()


def parse_fingerprint(text: str) -> str:
    """Read a fingerprint as a person may copy it, openssl's whole line included. Raises ValueError."""
    digits = re.sub(r"(?i)^\s*(sha256 fingerprint=|sha256:)?|[:\s]", "", text)
    if not re.fullmatch(r"[0-9A-Fa-f]{64}", digits):
        raise ValueError("a fingerprint is SHA256: and 64 hex digits, as in SHA256:0A:1B:...")
    return _PREFIX + bytes.fromhex(digits).hex(":").upper()
