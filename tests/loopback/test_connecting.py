"""Connecting to a monitor port: addresses, time-outs, and servers that refuse."""

import errno
import os
import socket

import pytest

from smtppseudo.link import wire
from smtppseudo.link.errors import (
    BadPeerError,
    ConnectionLostError,
    LinkError,
    NeedsMagicWordError,
    NotAuthorizedError,
    RefusedError,
    UnreachableError,
)
from smtppseudo.link.link import MonitorLink
from smtppseudo.link.machine import Secrets
from smtppseudo.net import addresses
from tests.clients import LIMIT_S
from tests.loopback.scripted import SECRETS, SHORT_S, STEP_S, Conversation, Script, Scripted
from tests.unit.monitor_peer import OTHER_COOKIE, WORD, hello


def failing(script: Script, secrets: Secrets = SECRETS, timeout_s: float = LIMIT_S) -> LinkError:
    """Return the error of connecting to a server with this script."""
    with Scripted(script) as server, pytest.raises(LinkError) as caught:
        MonitorLink.connect("127.0.0.1", server.port, secrets, timeout_s=timeout_s)
    assert str(server.port) in str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value


def test_machine_without_ipv6_uses_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    def script(it: Conversation) -> None:
        it.log_in()
        it.wait_for_end()

    class Ipv4Alone(socket.socket):
        def __init__(self, family: int = -1, kind: int = -1, proto: int = -1, fileno: int | None = None) -> None:
            if family == socket.AF_INET6:
                raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
            super().__init__(family, kind, proto, fileno)

    monkeypatch.setattr(wire, "THIS_MACHINE", ("::1", "127.0.0.1"))
    with Scripted(script) as server:
        monkeypatch.setattr(socket, "socket", Ipv4Alone)
        with MonitorLink.connect(None, server.port, SECRETS) as link:
            monkeypatch.undo()
            assert link.address == "127.0.0.1"


def test_closed_port_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(
        UnreachableError, match=rf"^cannot reach 127.0.0.1 port {port}: Connection refused; is the server"
    ):
        MonitorLink.connect("127.0.0.1", port, SECRETS)


@pytest.mark.parametrize("host", ["x" * 70 + ".invalid", "no\0name", "a..b", "::1::"])
def test_invalid_host_name_is_unreachable(host: str) -> None:
    with pytest.raises(UnreachableError, match=r"^cannot find "):
        MonitorLink.connect(host, 26, SECRETS)


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Make names resolve to addresses of the test's choice."""
    names: dict[str, list[str]] = {}
    resolve = socket.getaddrinfo

    def getaddrinfo(host: str, port: int, *more: int) -> list[object]:
        return [info for address in names[host] for info in resolve(address, port, *more)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return names


def test_next_address_of_a_name_is_tried(resolver: dict[str, list[str]]) -> None:
    def script(it: Conversation) -> None:
        it.log_in()
        it.wait_for_end()

    resolver["some.test"] = ["127.0.0.2", "127.0.0.1"]
    with Scripted(script) as server, MonitorLink.connect("some.test", server.port, SECRETS) as link:
        assert link.address == "127.0.0.1"


@pytest.mark.parametrize(
    ("address", "is_loopback"),
    [
        ("127.0.0.1", True),
        ("127.255.255.254", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:192.0.2.1", False),
        ("128.0.0.1", False),
        ("fe80::1%lo", False),
        ("::", False),
    ],
)
def test_loopback_addresses_are_recognized(address: str, is_loopback: bool) -> None:
    assert addresses.is_loopback(address) is is_loopback


def test_server_without_a_hello_times_out() -> None:
    error = failing(lambda it: it.wait_for_end(), timeout_s=SHORT_S)
    assert isinstance(error, UnreachableError)
    assert "no hello" in str(error)


def test_server_that_stops_in_the_login_times_out() -> None:
    def script(it: Conversation) -> None:
        it.say(hello())
        it.take()
        it.wait_for_end()

    error = failing(script, timeout_s=STEP_S)
    assert isinstance(error, UnreachableError)
    assert "no reply to the login" in str(error)


def test_login_sent_byte_by_byte_times_out() -> None:
    def script(it: Conversation) -> None:
        try:
            while True:
                it.sock.sendall(b" " if it.peer.received else b"{")
                it.peer.received.append({})
        except OSError:
            pass

    assert isinstance(failing(script, timeout_s=SHORT_S), UnreachableError | BadPeerError)


def test_server_that_closes_at_once() -> None:
    error = failing(lambda it: None)
    assert isinstance(error, ConnectionLostError)
    assert "without a hello" in str(error)


def test_server_that_closes_during_the_login() -> None:
    def script(it: Conversation) -> None:
        it.say(hello())
        it.take()

    assert isinstance(failing(script), ConnectionLostError)


def test_bye_after_the_snapshot_is_reported_later() -> None:
    def script(it: Conversation) -> None:
        it.log_in()
        it.say({"type": "bye", "reason": "shutdown"})

    with (
        Scripted(script) as server,
        MonitorLink.connect("127.0.0.1", server.port, SECRETS) as link,
        pytest.raises(ConnectionLostError, match="shutdown"),
    ):
        link.next_events()


@pytest.mark.parametrize(
    ("code", "kind"), [("busy", RefusedError), ("rate", RefusedError), ("not_authorized", NotAuthorizedError)]
)
def test_refusal_before_the_login_has_its_own_error(code: str, kind: type[LinkError]) -> None:
    error = failing(lambda it: it.say({"type": "error", "error": code, "message": "words"}))
    assert type(error) is kind
    assert getattr(error, "code", "not_authorized") == code
    assert code == "not_authorized" or "words" in str(error)


def test_smtp_server_is_not_a_monitor_port() -> None:
    error = failing(lambda it: it.sock.sendall(b"220 Welcome!\r\n"))
    assert isinstance(error, BadPeerError)


def test_wrong_word_is_not_authorized() -> None:
    error = failing(lambda it: it.log_in(), Secrets(magic_word="another word"))
    assert isinstance(error, NotAuthorizedError)
    assert "another word" not in str(error)


def test_missing_secret_needs_the_magic_word() -> None:
    def script(it: Conversation) -> None:
        it.say(hello())
        it.wait_for_end()

    assert isinstance(failing(script, Secrets((OTHER_COOKIE,))), NeedsMagicWordError)


def test_invalid_word_is_an_error_before_connecting() -> None:
    with pytest.raises(ValueError, match="8 to 128"):
        MonitorLink.connect("127.0.0.1", 1, Secrets(magic_word="short"))
    assert len(WORD) >= 8
