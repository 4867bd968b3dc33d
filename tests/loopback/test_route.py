"""The route to a server: ports, addresses and secrets that are tried."""

import os
import socket
from pathlib import Path
from typing import Final

import pytest

from smtppseudo.link.errors import NotPrivateError, UnreachableError
from smtppseudo.link.keyring import Keyring
from smtppseudo.link.route import Target, connect
from tests.certificates import Certificate
from tests.monitors import monitor_port, state_dir
from tests.running import Servers

NO_PINS: Final = Path(os.devnull)
FINGERPRINT: Final = "SHA256:" + ":".join(["0A"] * 32)


def own_other_address() -> str:
    """Return an address of this machine that is not loopback, or skip."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(("192.0.2.1", 9))  # nothing is sent
        except OSError:
            pytest.skip("this machine has no other address than loopback")
        address: str = sock.getsockname()[0]
    return address


def test_own_address_falls_back_to_loopback(servers: Servers) -> None:
    server = servers.start()
    address = own_other_address()
    route = connect(Target(address, monitor_port(server)), Keyring([state_dir(server)], NO_PINS))
    route.link.close()
    assert route.is_own
    assert (
        route.note == f"{address} is this machine, but its server accepts monitors at 127.0.0.1 only; connected there"
    )


def test_error_names_what_was_tried() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    with pytest.raises(UnreachableError, match=rf"127\.0\.0\.1 port {port}: Connection refused; is the server running"):
        connect(Target(None, port), Keyring([], NO_PINS))
    with pytest.raises(UnreachableError, match=r"127\.0\.0\.1 was tried as well"):
        connect(Target(own_other_address(), port), Keyring([], NO_PINS))


def test_clear_text_is_used_to_an_own_address_without_tls(servers: Servers, tmp_path: Path) -> None:
    address = own_other_address()
    server = servers.start({"monitor_cleartext": True}, monitor_listen=[address])
    route = connect(Target(address, monitor_port(server)), Keyring([state_dir(server)], tmp_path))
    with route.link as link:
        assert (route.is_own, route.note, link.is_encrypted, link.address) == (True, "", False, address)


def test_clear_text_never_replaces_the_tls_that_the_user_asked_for(servers: Servers, tmp_path: Path) -> None:
    """Neither `--tls`, `--pin` nor an accepted certificate is given up because the address is this machine's own."""
    address = own_other_address()
    server = servers.start({"monitor_cleartext": True}, monitor_listen=[address])
    port = monitor_port(server)
    state_dirs = [state_dir(server)]
    accepted = Keyring([], tmp_path / "accepted")
    accepted.accept(address, port, FINGERPRINT)
    for target, keyring in (
        (Target(address, port, tls="on"), Keyring(state_dirs, tmp_path)),
        (Target(address, port), Keyring(state_dirs, tmp_path, FINGERPRINT)),
        (Target(address, port), Keyring(state_dirs, tmp_path / "accepted")),
    ):
        with pytest.raises(NotPrivateError, match="does not speak TLS"):
            connect(target, keyring)


@pytest.mark.parametrize("by_option", [True, False])
def test_a_pinned_address_of_this_machine_does_not_mean_loopback(
    servers: Servers, tmp_path: Path, *, by_option: bool
) -> None:
    server, address = servers.start(), own_other_address()
    port = monitor_port(server)
    if not by_option:
        Keyring([], tmp_path).accept(address, port, FINGERPRINT)
    keyring = Keyring([state_dir(server)], tmp_path, FINGERPRINT if by_option else None)
    with pytest.raises(UnreachableError, match=rf"^cannot reach {address} port {port}: Connection refused"):
        connect(Target(address, port), keyring)


def test_port_of_a_killed_server_is_skipped(servers: Servers, tmp_path: Path) -> None:
    (tmp_path / "monitor_port").write_text("1\n")
    route = connect(Target(), Keyring([tmp_path, state_dir(servers.start())], NO_PINS))
    route.link.close()
    assert route.is_own


def test_cookie_that_appears_during_the_login_is_used(servers: Servers) -> None:
    """A server that starts opens its port before it writes its cookie."""

    class Late(Keyring):
        calls = 0

        def cookies(self) -> tuple[str, ...]:
            self.calls += 1
            return super().cookies() if self.calls > 1 else ()

    keyring = Late([state_dir(servers.start())], NO_PINS)
    with connect(Target(), keyring).link as link:
        assert (link.user, keyring.calls) == ("cookie", 2)


def test_pin_is_saved_after_a_login_over_tls(servers: Servers, certificate: Certificate, tmp_path: Path) -> None:
    server = servers.start(certificate.settings("monitor_"), monitor_listen=["0.0.0.0"])
    keyring = Keyring([state_dir(server)], tmp_path, certificate.fingerprint)
    port = monitor_port(server)
    connect(Target("127.0.0.1", port, tls="on"), keyring).link.close()
    assert Keyring([], tmp_path).pin_for("127.0.0.1", port) == certificate.fingerprint
    assert keyring.pin is None
