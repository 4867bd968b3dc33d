"""Pins: the certificates that this user has accepted, one for each server, like the known hosts of SSH.

A pin is the certificate's fingerprint: the SHA-256 of its DER form, as openssl prints it. The file has one line for
each server, as in `mail.example.org:26 SHA256:0A:1B:...`; other lines are kept unchanged.
"""

import hashlib
import re
from pathlib import Path
from typing import Final

from smtppseudo.files import StateDir

PINS_FILE: Final = "monitor_pins"
PINNED: Final = f"its certificate is pinned (by --pin or a line in {PINS_FILE}), so clear text is not used"
SHOW_COMMAND: Final = "openssl x509 -noout -fingerprint -sha256 -in cert.pem"

_PREFIX: Final = "SHA256:"
_LINE: Final = re.compile(r"(\S+) +(SHA256:(?:[0-9A-F]{2}:){31}[0-9A-F]{2})")


class Pins:
    """The file of pins in a directory. Other programs of this user change it, too, so each call reads it.

    Every method raises OSError: an unreadable file must not look like a server without a pin.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / PINS_FILE
        self._directory = StateDir(directory)

    def get(self, host: str, port: int) -> str | None:
        """Return the fingerprint that was accepted for a server, or None."""
        name = name_of(host, port)
        matches = [_LINE.fullmatch(line) for line in self._lines()]
        return next((match[2] for match in matches if match and match[1] == name), None)

    def accept(self, host: str, port: int, fingerprint: str) -> None:
        """Accept a certificate for a server, in place of the earlier one. Only this user can read the file."""
        name = name_of(host, port)
        others = [line for line in self._lines() if line.partition(" ")[0] != name]
        self._directory.write(PINS_FILE, "".join(f"{line}\n" for line in (*others, f"{name} {fingerprint}")))

    def _lines(self) -> list[str]:
        return (self._directory.read(PINS_FILE) or "").splitlines()


def name_of(host: str, port: int) -> str:
    """Return the name of a server in the file: `mail.example.org:26`, `[2001:db8::25]:26`."""
    return f"[{host}]:{port}" if ":" in host else f"{host.lower()}:{port}"


def fingerprint_of(certificate: bytes) -> str:
    """Return the fingerprint of a certificate (DER), as in `SHA256:0A:1B:...`."""
    return _PREFIX + hashlib.sha256(certificate).digest().hex(":").upper()


def parse_fingerprint(text: str) -> str:
    """Parse a fingerprint that a person copied; openssl's whole line is allowed, too. Raises ValueError."""
    digits = re.sub(r"(?i)^\s*(sha256 fingerprint=|sha256:)?|[:\s]", "", text)
    if not re.fullmatch(r"[0-9A-Fa-f]{64}", digits):
        raise ValueError("a fingerprint is SHA256: and 64 hex digits, as in SHA256:0A:1B:...")
    return _PREFIX + bytes.fromhex(digits).hex(":").upper()
