"""Certificates, made by the guide's openssl command, and TLS for clients."""

import itertools
import os
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.clients import LIMIT_S, Client, wait_until
from tests.documents import TEXTS

PREPARED = os.environ.get("SMTPPSEUDO_TEST_CERTIFICATES", "")
"""A directory that `prepare_certificates` has filled, for tests where there is no openssl."""
_DEFAULT_KIND = "rsa:2048"  # the guide's
_prepared_count = itertools.count()


class Certificate(NamedTuple):
    """The files of a certificate, and its fingerprint as openssl prints it."""

    cert: Path
    key: Path
    fingerprint: str

    def settings(self, prefix: str = "") -> dict[str, str]:
        """Return the settings that name it."""
        return {f"{prefix}tls_cert": str(self.cert), f"{prefix}tls_key": str(self.key)}

    def server_context(self) -> ssl.SSLContext:
        """Return the TLS context of a server with this certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.cert, self.key)
        return context


def prepare_certificates(directory: Path) -> None:
    """Make certificates for PREPARED, more than one test needs."""
    for kind, count in ((_DEFAULT_KIND, 4), ("rsa:3072", 1)):
        for number in range(count):
            place = _prepared(directory, kind) / str(number)
            (place / "fingerprint").write_text(make_certificate(place, kind).fingerprint)


def _prepared(directory: Path | str, kind: str) -> Path:
    return Path(directory, kind.replace(":", "-"))


def make_certificate(directory: Path, kind: str = _DEFAULT_KIND) -> Certificate:
    """Make a certificate by the guide's command, or with another kind of key (`rsa:3072`)."""
    if PREPARED:
        made = sorted(_prepared(PREPARED, kind).glob("*")) or pytest.skip(f"no {kind} certificate is prepared")
        directory.mkdir(parents=True, exist_ok=True)
        for path in made[next(_prepared_count) % len(made)].iterdir():  # shutil needs CopyFile2, which Wine 8 lacks
            (directory / path.name).write_bytes(path.read_bytes())
        return Certificate(directory / "cert.pem", directory / "key.pem", (directory / "fingerprint").read_text())
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    directory.mkdir(parents=True, exist_ok=True)
    (line,) = re.findall(r"^openssl req -x509 .*$", TEXTS["monitor"], re.MULTILINE)
    line = line.replace(f"-newkey {_DEFAULT_KIND}", f"-newkey {kind}")
    subprocess.run(line, shell=True, cwd=directory, check=True, capture_output=True, timeout=LIMIT_S)
    show = ["openssl", "x509", "-noout", "-fingerprint", "-sha256", "-in", "cert.pem"]
    shown = subprocess.run(show, cwd=directory, check=True, capture_output=True, text=True, timeout=LIMIT_S).stdout
    return Certificate(directory / "cert.pem", directory / "key.pem", "SHA256:" + shown.strip().partition("=")[2])


class _Socket(ssl.SSLSocket):
    """Raises BlockingIOError like other sockets."""

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        try:
            return super().recv(buflen, flags)
        except ssl.SSLWantReadError:
            raise BlockingIOError from None


def trusting(version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    """Return the TLS context of a client that accepts any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.sslsocket_class = _Socket
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context


def shake_hands(
    sock: socket.socket, pump: Callable[[], object] | None = None, version: ssl.TLSVersion | None = None
) -> Any:
    """Put a connected socket under TLS. If the server runs in this thread, `pump` runs its turns."""
    # An end without a close_notify must be an error.
    tls = trusting(version).wrap_socket(sock, do_handshake_on_connect=False, suppress_ragged_eofs=False)
    tls.settimeout(LIMIT_S if pump is None else 0)

    def step() -> bool:
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            assert pump is not None
            pump()
            return False
        return True

    wait_until(step, "the TLS handshake", poll_s=0)
    tls.settimeout(LIMIT_S)
    return tls


def start_tls(client: Client, version: ssl.TLSVersion | None = None) -> Client:
    """Send STARTTLS and do the handshake; the client continues under TLS."""
    client.say("STARTTLS", "220 Ready to start TLS")
    client.sock = shake_hands(client.sock, client._pump, version)
    client.sock.settimeout(LIMIT_S)
    return client


def client_hello(version: ssl.TLSVersion | None = None) -> bytes:
    """Return the first message of a client."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = trusting(version)
    tls.sslobject_class = ssl.SSLObject
    with pytest.raises(ssl.SSLWantReadError):
        tls.wrap_bio(incoming, outgoing).do_handshake()
    return outgoing.read()
