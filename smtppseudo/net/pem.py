"""PEM: a server's certificate and key, read from files."""

import hashlib
import os
import ssl
from pathlib import Path
from typing import Final

from smtppseudo.config.settings import SettingsError

CREDENTIALS: Final = "%d/"  # a path that begins with this is one of systemd's credentials

_BEGIN: Final = b"-----BEGIN CERTIFICATE-----"
_END: Final = b"-----END CERTIFICATE-----"
_NOT_ITS_KEY: Final = frozenset({"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"})


def load(prefix: str, cert: str, key: str) -> tuple[ssl.SSLContext | None, bytes]:
    """Read a certificate, with its chain, and its key from files in PEM; return also the chain as read.

    If `cert` is empty, return None and b"". Raises SettingsError, which names the settings with their `prefix`:
    `monitor_` or nothing.
    """
    if not cert:
        return None, b""
    cert_name, key_name = f"{prefix}tls_cert", f"{prefix}tls_key"
    names = f"{cert_name}, {key_name}"
    cert_path, key_path = _path(cert_name, cert), _path(key_name, key)
    chain = _read_pem(cert_name, cert_path, _BEGIN, "certificate")
    _read_pem(key_name, key_path, b"PRIVATE KEY-----", "private key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.num_tickets = 0  # peers rarely come back soon enough to resume a session
    try:
        context.load_cert_chain(cert_path, key_path, password=_refuse_password)
    except _EncryptedError:
        raise SettingsError(f"{key_name}: {key_path} asks for a password; give a key without one") from None
    except ssl.SSLError as error:
        if error.reason in _NOT_ITS_KEY:
            raise SettingsError(f"{key_name}: {key_path} is not the key of the certificate in {cert_path}") from None
        why = error.reason.lower().replace("_", " ") if error.reason else "not valid PEM"
        raise SettingsError(f"{names}: {cert_path} and {key_path} cannot be used: {why}") from None
    except OSError as error:
        raise SettingsError(f"{names}: {error.strerror}; the server must be able to read both") from None
    return context, chain


def fingerprint_in(chain: bytes) -> bytes:
    """Return the SHA-256 of the first certificate in PEM; b"" if it is damaged."""
    begin, end = chain.find(_BEGIN), chain.find(_END)
    try:
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(chain[begin : end + len(_END)].decode("ascii"))).digest()
    except ValueError:
        return b""


class _EncryptedError(Exception):
    """A key file asks for a password."""


def _refuse_password() -> str:
    raise _EncryptedError


def _path(name: str, path: str) -> Path:
    if not path.startswith(CREDENTIALS):
        return Path(path)
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    if not directory:
        problem = "%d is systemd's $CREDENTIALS_DIRECTORY, which is not set; LoadCredential= in the unit sets it"
        raise SettingsError(f"{name}: {problem}")
    return Path(directory, path.removeprefix(CREDENTIALS))


def _read_pem(name: str, path: Path, mark: bytes, what: str) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{name}: {path}: {error.strerror}; the server must be able to read it") from None
    if mark not in data:
        raise SettingsError(f"{name}: {path} holds no {what} in PEM")
    return data
