"""Pins: the certificates that this user has accepted, one for each server, like the known hosts of SSH.

A pin is the certificate's fingerprint: the SHA-256 of its DER form, as openssl prints it. The file has one line for
each server, as in `mail.example.org:26 SHA256:0A:1B:...`; other lines are kept unchanged.
"""

import hashlib
import re
from typing import Final

PINS_FILE: Final = "monitor_pins"
PINNED: Final = f"its certificate is pinned (by --pin or a line in {PINS_FILE}), so clear text is not used"
SHOW_COMMAND: Final = "openssl x509 -noout -fingerprint -sha256 -in cert.pem"
PIN_LINE: Final = re.compile(r"(\S+) +(SHA256:(?:[0-9A-F]{2}:){31}[0-9A-F]{2})")


def name_of(host: str, port: int) -> str:
    """Return the name of a server in the file: `mail.example.org:26`, `[2001:db8::25]:26`."""
    return f"[{host}]:{port}" if ":" in host else f"{host.lower()}:{port}"


def fingerprint_of(certificate: bytes) -> str:
    """Return the fingerprint of a certificate (DER), as in `SHA256:0A:1B:...`."""
    return "SHA256:" + hashlib.sha256(certificate).digest().hex(":").upper()


def parse_fingerprint(text: str) -> str:
    """Parse a fingerprint that a person copied; openssl's whole line is allowed, too. Raises ValueError."""
    digits = re.sub(r"(?i)^\s*(sha256 fingerprint=|sha256:)?|[:\s]", "", text)
    if not re.fullmatch(r"[0-9A-Fa-f]{64}", digits):
        raise ValueError("a fingerprint is SHA256: and 64 hex digits, as in SHA256:0A:1B:...")
    return "SHA256:" + bytes.fromhex(digits).hex(":").upper()
