"""Certificates in the settings: mistakes are reported at the start, and a bad reload changes nothing."""

import shutil
import subprocess
from pathlib import Path

import pytest

from smtppseudo.events import Error, SettingsChanged
from tests.certificates import Certificate, make_certificate, start_tls
from tests.clients import LIMIT_S
from tests.running import BASE, NotStartedError, Running, Servers


def refusal(servers: Servers, settings: dict[str, str], **env: str) -> str:
    """Return the error of a server that does not start."""
    with pytest.raises(NotStartedError) as caught:
        servers.start(settings, env=env)
    assert caught.value.status == 78
    (line,) = caught.value.stderr.splitlines()
    return line.removeprefix("smtppseudo: ")


@pytest.mark.parametrize("prefix", ["", "monitor_"])
@pytest.mark.parametrize("part", ["cert", "key"])
def test_a_certificate_and_its_key_need_each_other(
    servers: Servers, certificate: Certificate, prefix: str, part: str
) -> None:
    name = f"{prefix}tls_{part}"
    line = refusal(servers, {name: certificate.settings(prefix)[name]})
    assert line == f"{prefix}tls_cert and {prefix}tls_key go together; only one of them is set"


@pytest.mark.parametrize("prefix", ["", "monitor_"])
def test_unusable_files(servers: Servers, certificate: Certificate, tmp_path: Path, prefix: str) -> None:
    cert, key = certificate.settings(prefix)
    good = certificate.settings(prefix)
    other = make_certificate(tmp_path / "other")
    empty, cut, locked = tmp_path / "empty", tmp_path / "cut", tmp_path / "locked"
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    empty.touch()
    cut.write_text("".join(certificate.cert.read_text().splitlines(keepends=True)[:3]))
    must = "; the server must be able to read it"
    lock = ["openssl", "ec", "-aes128", "-passout", "pass:x", "-in", str(certificate.key), "-out", str(locked)]
    subprocess.run(lock, check=True, capture_output=True, timeout=LIMIT_S)
    assert refusal(servers, {**good, cert: "/nowhere/c"}) == f"{cert}: /nowhere/c: No such file or directory{must}"
    for path in ("/a\0b", "%d/a\0b"):
        assert f"{cert} must be a path without control characters" in refusal(servers, {**good, cert: path})
    assert refusal(servers, {**good, key: str(tmp_path)}) == f"{key}: {tmp_path}: Is a directory{must}"
    assert refusal(servers, {**good, cert: str(empty)}) == f"{cert}: {empty} holds no certificate in PEM"
    assert refusal(servers, {**good, key: str(empty)}) == f"{key}: {empty} holds no private key in PEM"
    assert refusal(servers, {**good, key: good[cert]}) == f"{key}: {good[cert]} holds no private key in PEM"
    line = refusal(servers, {**good, key: str(other.key)})
    assert line == f"{key}: {other.key} is not the key of the certificate in {good[cert]}"
    assert refusal(servers, {**good, cert: str(cut)}).startswith(f"{cert}, {key}: {cut} and {good[key]} cannot be used")
    assert refusal(servers, {**good, key: str(locked)}) == (
        f"{key}: {locked} asks for a password; give a key without one"
    )


def test_systemds_credentials(servers: Servers, certificate: Certificate) -> None:
    settings = {"tls_cert": f"%d/{certificate.cert.name}", "tls_key": f"%d/{certificate.key.name}"}
    assert "CREDENTIALS_DIRECTORY" in refusal(servers, settings)
    server = servers.start(settings, env={"CREDENTIALS_DIRECTORY": str(certificate.cert.parent)})
    greet_by_tls(server)


def greet_by_tls(server: Running) -> bytes:
    with server.connect() as client:
        client.expect("220")
        start_tls(client).say("QUIT", "221")
        shown: bytes = client.sock.getpeercert(True)  # type: ignore[attr-defined]
        return shown


def test_sighup_reads_renewed_files(servers: Servers, tmp_path: Path) -> None:
    first = make_certificate(tmp_path / "first")
    server = servers.start(first.settings())
    before = greet_by_tls(server)
    second = make_certificate(tmp_path / "second", "rsa:3072")
    second.cert.replace(first.cert)
    assert greet_by_tls(server) == before
    server.reload(first.settings())  # the new key is not there yet
    server.wait_for_event(Error)
    assert f"settings not changed: tls_key: {first.key} is not the key" in server.stderr
    assert greet_by_tls(server) == before
    second.key.replace(first.key)
    server.reload({**first.settings(), "greeting": "New"})
    server.wait_for_event(SettingsChanged, keys="greeting")
    assert greet_by_tls(server) != before


def test_sighup_adds_and_removes_tls(servers: Servers, certificate: Certificate) -> None:
    server = servers.start()
    server.reload(certificate.settings())
    server.wait_for_event(SettingsChanged, keys="tls_cert,tls_key")
    greet_by_tls(server)
    server.reload(BASE)
    server.wait_for_event(SettingsChanged, 2, keys="tls_cert,tls_key")
    with server.connect() as client:
        client.expect("220")
        client.say("STARTTLS", "502")


def test_a_bad_reload_changes_nothing(servers: Servers, certificate: Certificate) -> None:
    server = servers.start(certificate.settings())
    server.reload({"tls_cert": "/nowhere", "tls_key": "/nowhere", "greeting": "New"})
    server.wait_for_event(Error)
    greet_by_tls(server)
    with server.connect() as client:
        assert "Welcome!" in client.expect("220")
    assert server.events(SettingsChanged) == []
