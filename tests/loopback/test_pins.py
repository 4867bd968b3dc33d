"""The user accepts a server's certificate once; a server with another certificate receives nothing."""

import contextlib
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from smtppseudo.link.keyring import Keyring
from smtppseudo.link.pins import PINS_FILE
from tests import ON_WINDOWS
from tests.certificates import Certificate, trusting
from tests.clients import wait_until
from tests.loopback.commands import Terminal, outcome
from tests.monitors import monitor_port, state_dir
from tests.running import Running, Servers, command, environment, has_mode, not_on_windows, run

NO_FILE = "Permission denied" if ON_WINDOWS else "Is a directory"


@pytest.fixture(scope="module")
def server(lasting_servers: Servers, certificate: Certificate) -> Running:
    """A server that no test changes."""
    return lasting_servers.start(certificate.settings("monitor_"), monitor_listen=["0.0.0.0"])


class Middle:
    """A man in the middle: relays bytes, and reads them if it has a certificate of its own.

    `heard` is what clients said to it under its own certificate, `handshakes` how many took that.
    """

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.certificate: Certificate | None = None
        self.heard = bytearray()
        self.handshakes = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):  # on Windows, only `close` wakes `accept`
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            near = stack.enter_context(client)
            far = stack.enter_context(socket.create_connection(("127.0.0.1", self._to)))
            if self.certificate is not None:
                near = stack.enter_context(self.certificate.server_context().wrap_socket(near, server_side=True))
                self.handshakes += 1
                far = stack.enter_context(trusting().wrap_socket(far))
            back = threading.Thread(target=self._pass, args=(far, near), daemon=True)
            back.start()
            self._pass(near, far, keeps=self.certificate is not None)
            far.shutdown(socket.SHUT_RDWR)
            back.join()

    def _pass(self, source: socket.socket, sink: socket.socket, *, keeps: bool = False) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                if keeps:
                    self.heard += data
                sink.sendall(data)


@pytest.fixture
def middle(server: Running) -> Iterator[Middle]:
    with Middle(monitor_port(server)) as middle:
        yield middle


def words(server: Running, name: str, *more: str, port: int | None = None) -> list[str]:
    """Return a command for the server over TLS."""
    place = ["--tls", "--monitor-port", str(port or monitor_port(server)), "--state-dir", str(state_dir(server))]
    return [name, *more, *place]


def pin(server: Running, tmp_path: Path, port: int, fingerprint: str) -> None:
    """Accept a certificate with --pin."""
    outcome(run(*words(server, "status", "--pin", fingerprint, port=port), XDG_CONFIG_HOME=str(tmp_path)), 0)


# The first connection


def test_user_is_asked_at_the_first_connection(server: Running, certificate: Certificate, tmp_path: Path) -> None:
    pins = tmp_path / "smtppseudo" / PINS_FILE
    port = monitor_port(server)
    with Terminal(*words(server, "status"), XDG_CONFIG_HOME=str(tmp_path)) as terminal:
        terminal.type_at("Trust it from now on? [y/N] ", "")
        status, shown = terminal.end()
    assert status == 1
    assert f"The server at 127.0.0.1 port {port} shows a certificate with the fingerprint" in shown
    assert certificate.fingerprint in shown
    assert "openssl x509 -noout -fingerprint -sha256 -in" in shown
    assert "is not trusted" in shown
    assert not pins.exists()
    with Terminal(*words(server, "status"), XDG_CONFIG_HOME=str(tmp_path)) as terminal:
        terminal.type_at("Trust it from now on? [y/N] ", "y")
        status, shown = terminal.end()
    assert (status, "online" in shown) == (0, True), shown
    assert pins.read_text() == f"127.0.0.1:{port} {certificate.fingerprint}\n"
    assert has_mode(pins, 0o600)
    said = outcome(run(*words(server, "status"), XDG_CONFIG_HOME=str(tmp_path)), 0)
    assert "online" in said


def test_without_a_terminal_the_error_names_the_pin_option(
    server: Running, certificate: Certificate, tmp_path: Path
) -> None:
    line = outcome(run(*words(server, "status"), XDG_CONFIG_HOME=str(tmp_path)), 69)
    assert f"give --pin {certificate.fingerprint}" in line
    assert "openssl x509" in line
    openssl_form = certificate.fingerprint.replace("SHA256:", "sha256 Fingerprint=")
    for more in (["--pin", openssl_form], []):  # from then on it is known
        assert "online" in outcome(run(*words(server, "status", *more), XDG_CONFIG_HOME=str(tmp_path)), 0)


def test_wrong_pin_is_not_saved(server: Running, other: Certificate, tmp_path: Path) -> None:
    line = outcome(run(*words(server, "status", "--pin", other.fingerprint), XDG_CONFIG_HOME=str(tmp_path)), 69)
    assert "shows another certificate" in line
    assert not (tmp_path / "smtppseudo" / PINS_FILE).exists()
    assert run(*words(server, "status", "--pin", "SHA256:12")).returncode == 2


def test_unreadable_pins_trust_no_certificate(server: Running, tmp_path: Path) -> None:
    (tmp_path / "smtppseudo" / PINS_FILE).mkdir(parents=True)
    line = outcome(run(*words(server, "status"), XDG_CONFIG_HOME=str(tmp_path)), 69)
    assert NO_FILE in line
    assert "--pin" in line


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_server_with_a_pin_gets_no_clear_text(
    servers: Servers, other: Certificate, tmp_path: Path, host: str
) -> None:
    server = servers.start()
    port, env = monitor_port(server), {"XDG_CONFIG_HOME": str(tmp_path)}
    place = [host, "--state-dir", str(state_dir(server)), "--monitor-port", str(port)]
    by_option = outcome(run("status", *place, "--pin", other.fingerprint, **env), 69)
    assert list(tmp_path.glob("smtppseudo")) == []
    assert "online" in outcome(run("status", *place, **env), 0)
    Keyring([], tmp_path / "smtppseudo").accept(host, port, other.fingerprint)
    for line in (by_option, outcome(run("status", *place, **env), 69)):
        assert "does not speak TLS, but its certificate is pinned" in line
    line = outcome(run("status", *place, "--cleartext", **env), 69)
    assert "its certificate is pinned" in line
    assert "leave out --cleartext" in line
    assert server.log_text.count("action=login") == 1


def test_pins_that_cannot_be_read_allow_no_clear_text(servers: Servers, tmp_path: Path) -> None:
    (tmp_path / "smtppseudo" / PINS_FILE).mkdir(parents=True)
    place = ["--state-dir", str(state_dir(servers.start()))]
    assert NO_FILE in outcome(run("status", *place, XDG_CONFIG_HOME=str(tmp_path)), 69)


def test_pin_that_cannot_be_saved_is_a_warning(server: Running, certificate: Certificate, tmp_path: Path) -> None:
    (tmp_path / "smtppseudo").touch()
    done = run(*words(server, "status", "--pin", certificate.fingerprint), XDG_CONFIG_HOME=str(tmp_path / "smtppseudo"))
    assert (done.returncode, "online" in done.stdout) == (0, True), done
    assert "the next time asks again" in done.stderr


# Commands over TLS


def test_all_commands_work_over_tls(servers: Servers, certificate: Certificate, tmp_path: Path) -> None:
    server = servers.start(certificate.settings("monitor_"), monitor_listen=["0.0.0.0"])
    env = {"XDG_CONFIG_HOME": str(tmp_path)}
    pin(server, tmp_path, monitor_port(server), certificate.fingerprint)
    assert 'greeting = "Salve!"' in outcome(run(*words(server, "set", "greeting=Salve!"), **env), 0)
    with subprocess.Popen(
        command(*words(server, "watch", "--from-seq", "1", "--event", "settings")),
        env=environment(**env),
        stdout=subprocess.PIPE,
        text=True,
    ) as watch:
        assert watch.stdout is not None
        assert "keys=greeting by=monitor" in watch.stdout.readline()
        watch.terminate()
    word = outcome(run(*words(server, "magic-word", "--generate"), **env), 0)
    magic = tmp_path / "magic"
    magic.write_text(word)
    magic.chmod(0o600)
    by_word = ["status", "--tls", "--monitor-port", str(monitor_port(server)), "--state-dir", str(tmp_path)]
    assert "online" in outcome(run(*by_word, "--magic-file", str(magic), **env), 0)


# A man in the middle


@pytest.mark.parametrize(
    "line", ["status", "set greeting=Ha", "magic-word --generate", "watch", "stop"], ids=lambda line: line.split()[0]
)
def test_man_in_the_middle_receives_nothing(
    server: Running, certificate: Certificate, other: Certificate, middle: Middle, tmp_path: Path, line: str
) -> None:
    pin(server, tmp_path, middle.port, certificate.fingerprint)  # through it, while it only passes on
    middle.certificate = other
    name, *more = line.split()
    said = outcome(run(*words(server, name, *more, port=middle.port), XDG_CONFIG_HOME=str(tmp_path)), 69)
    assert f"127.0.0.1 port {middle.port} shows another certificate than the accepted one" in said
    assert f"{other.fingerprint} instead of {certificate.fingerprint}" in said
    assert "somebody on the network path pretends to be the server" in said
    assert "openssl x509" in said
    assert f"remove the line of 127.0.0.1:{middle.port} in {tmp_path / 'smtppseudo' / PINS_FILE}" in said
    assert f"--pin {other.fingerprint}" in said
    wait_until(lambda: middle.handshakes, "its handshake")
    assert middle.heard == b""
    middle.certificate = None
    assert "online" in outcome(run(*words(server, "status", port=middle.port), XDG_CONFIG_HOME=str(tmp_path)), 0)


def test_man_in_the_middle_receives_a_login_once_trusted_but_cannot_use_it(
    server: Running, other: Certificate, middle: Middle, tmp_path: Path
) -> None:
    """This shows that the test above can fail."""
    middle.certificate = other
    status = words(server, "status", "--pin", other.fingerprint, port=middle.port)
    said = outcome(run(*status, XDG_CONFIG_HOME=str(tmp_path)), 69)
    assert "bound to another certificate" in said
    assert b'"op":"auth"' in middle.heard


@not_on_windows("a reload there is a command, which does not know this certificate")
def test_renewed_certificate_is_accepted_with_the_offered_option(
    servers: Servers, certificate: Certificate, other: Certificate, tmp_path: Path
) -> None:
    server = servers.start(certificate.settings("monitor_"), monitor_listen=["0.0.0.0"])
    pin(server, tmp_path, monitor_port(server), certificate.fingerprint)
    server.reload(other.settings("monitor_"))
    server.wait_for(lambda _: "settings" in server.log_text, "the reload")
    status = words(server, "status")
    said = outcome(run(*status, XDG_CONFIG_HOME=str(tmp_path)), 69)
    (offered,) = re.findall(r"--pin (\S+)$", said)
    assert offered == other.fingerprint
    assert "online" in outcome(run(*status, "--pin", offered, XDG_CONFIG_HOME=str(tmp_path)), 0)
    assert "online" in outcome(run(*status, XDG_CONFIG_HOME=str(tmp_path)), 0)
    (tmp_path / "smtppseudo" / PINS_FILE).write_text("")  # its line is removed
    assert "this user has not accepted" in outcome(run(*status, XDG_CONFIG_HOME=str(tmp_path)), 69)


# From another machine


@pytest.fixture
def namespace() -> Iterator[list[str]]:
    """Create a network namespace with the address 192.0.2.1; return the argv prefix that runs a command in it."""
    if not all(map(shutil.which, ("unshare", "nsenter", "ip"))):
        pytest.skip("unshare, nsenter or ip is not installed")
    script = "ip link set lo up && ip addr add 192.0.2.1/32 dev lo && echo ready && exec sleep 300"
    holder = subprocess.Popen(
        ["unshare", "-n", "sh", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        if holder.stdout.readline() != "ready\n":
            pytest.skip("a network namespace cannot be made here")
        yield ["nsenter", f"--target={holder.pid}", "--net"]
    finally:
        holder.kill()
        holder.communicate()


def test_tls_is_the_default_to_other_addresses(
    servers: Servers, certificate: Certificate, tmp_path: Path, namespace: list[str]
) -> None:
    both = ["192.0.2.1", "127.0.0.1"]
    server = servers.start(certificate.settings("monitor_"), monitor_listen=both, prefix=namespace)
    place = ["--monitor-port", str(monitor_port(server)), "--state-dir", str(state_dir(server))]
    env = {"XDG_CONFIG_HOME": str(tmp_path)}
    line = outcome(run("status", "192.0.2.1", *place, prefix=namespace, **env), 69)
    assert f"--pin {certificate.fingerprint}" in line
    known = ["--pin", certificate.fingerprint]
    assert "online" in outcome(run("status", "192.0.2.1", *known, *place, prefix=namespace, **env), 0)
    for name in (["set", "greeting=Salve!"], ["magic-word", "--generate"], ["stop"]):
        outcome(run(*name, "--host", "192.0.2.1", *place, prefix=namespace, **env), 0)
    assert "offline" in outcome(run("status", "127.0.0.1", *place, prefix=namespace, **env), 1)  # in clear
    assert server.wait_for(lambda records: [r for r in records if r.ip == "192.0.2.1"], "who it was")
