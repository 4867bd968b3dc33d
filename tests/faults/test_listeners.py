"""Listeners that fail: accepted sockets that cannot be closed, ports that suspend or resume only in part."""

import errno
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from smtppseudo.events import Error, Offline, Online, TurnedAway
from smtppseudo.loop import listener
from smtppseudo.loop.listener import ListenError
from tests.clients import connect
from tests.conftest import MakeInside
from tests.faults.layer import Fault, Layer
from tests.faults.standard_run import InFaults
from tests.monitors import Monitors

MakeBehind = Callable[..., InFaults]

ADDRESSES = ["127.0.0.1", "127.0.0.2"]


@pytest.fixture
def behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeBehind]:
    """Make a server behind a layer. At the end the fault must have happened, and caused no bug."""
    made: list[InFaults] = []

    def make(fault: Fault, **settings: Any) -> InFaults:
        layer = Layer(fault)
        layer.install(monkeypatch)
        made.append(InFaults(tmp_path, layer, settings))
        return made[-1]

    yield make
    for server in made:
        server.stop()
        assert server.layer.has_failed
        assert server.server.reception.counters.faults == 0


def answers(server: InFaults, address: str) -> bool:
    """Return whether the server serves an address; otherwise it must refuse the connection."""
    with socket.socket() as probe:
        refused = probe.connect_ex((address, server.port)) == errno.ECONNREFUSED
    if not refused:
        with connect(address, server.port, None, server.turn) as client:
            client.expect("220")
            client.say("QUIT", "221")
    return not refused


def test_without_ipv6_it_listens_on_ipv4(inside: MakeInside, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as in a container: the kernel then knows no IPv6 sockets."""

    def no_socket() -> socket.socket:
        raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))

    monkeypatch.setattr(listener, "_Socket6", no_socket)
    server = inside(listen=["127.0.0.1", "::"])
    assert [address for address, _ in server.server.smtp_port.places] == ["127.0.0.1"]
    server.greeted()


def test_a_failing_close_of_a_caller_turned_away_is_no_error(behind: MakeBehind) -> None:
    server = behind(Fault("close of a socket", errno.EIO, 0), slots=1)
    resident = server.greeted()
    refused = server.connect()
    refused.expect("421 Too many connections")
    refused.expect_end()
    assert server.server.reception.counters.turned_away == {"slots": 1, "client": 0, "proxy": 0, "blocked": 0}
    resident.say("QUIT", "221")
    server.greeted()
    assert (server.events(TurnedAway), server.events(Error)) == ([TurnedAway("slots", 1)], [])


def test_a_failing_close_of_a_monitor_that_makes_room_is_no_error(behind: MakeBehind, monitors: Monitors) -> None:
    server = behind(Fault("close of a socket", errno.EIO, 0))
    oldest, _, _ = (monitors.greeted(server) for _ in range(3))
    assert [frame["error"] for frame in oldest.rest()] == ["busy"]
    monitors.log_in(server)
    assert server.events(Error) == []


def test_a_stop_that_fails_for_one_address_leaves_the_port_open(behind: MakeBehind, monitors: Monitors) -> None:
    server = behind(Fault("shutdown", errno.ENOBUFS, 1), listen=ADDRESSES)
    monitor = monitors.log_in(server)
    resident = server.greeted()
    assert monitor.refused("stop", "io").endswith("No buffer space available; nothing was changed")
    assert server.server.state == "online"
    assert [answers(server, address) for address in ADDRESSES] == [True, True]
    resident.say("NOOP", "250")
    assert monitor.ok("stop")["state"] == "offline"
    assert [answers(server, address) for address in ADDRESSES] == [False, False]
    assert [event.by for event in server.events(Offline)] == ["monitor"]


def test_a_stop_that_cannot_be_undone_is_reported(behind: MakeBehind, monkeypatch: pytest.MonkeyPatch) -> None:
    server = behind(Fault("shutdown", errno.ENOBUFS, 1), listen=ADDRESSES)
    layer = Layer(Fault("listen", errno.EADDRINUSE, 0))
    layer.install(monkeypatch)
    with layer.active(), pytest.raises(OSError, match="No buffer space available"):
        server.carry_out(lambda: server.server.go_offline("test"))
    assert server.server.state == "online"
    assert [answers(server, address) for address in ADDRESSES] == [False, True]
    (error,) = server.events(Error)
    assert error.message == f"127.0.0.1 port {server.port} is not as the other addresses: Address already in use"
    server.server.go_offline("test")
    server.server.go_online("test")
    assert [answers(server, address) for address in ADDRESSES] == [True, True]


def test_start_resumes_an_address_that_a_failed_stop_left_closed(
    behind: MakeBehind, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = behind(Fault("shutdown", errno.ENOBUFS, 1), listen=ADDRESSES)
    layer = Layer(Fault("listen", errno.EADDRINUSE, 0))
    layer.install(monkeypatch)
    with layer.active(), pytest.raises(OSError, match="No buffer space available"):
        server.carry_out(lambda: server.server.go_offline("test"))
    server.server.go_online("test")
    assert server.server.state == "online"
    assert [answers(server, address) for address in ADDRESSES] == [True, True]
    server.server.go_online("test")  # nothing is left to do
    assert [event.by for event in server.events(Online)] == ["start", "test"]


def test_a_start_that_fails_for_one_address_leaves_the_port_closed(behind: MakeBehind) -> None:
    server = behind(Fault("listen", errno.EADDRINUSE, 1), listen=ADDRESSES)
    server.server.go_offline("test")
    with pytest.raises(ListenError, match=f"127.0.0.2 port {server.port}: Address already in use"):
        server.carry_out(lambda: server.server.go_online("test"))
    assert server.server.state == "offline"
    assert [answers(server, address) for address in ADDRESSES] == [False, False]
    server.server.go_online("test")
    assert [answers(server, address) for address in ADDRESSES] == [True, True]
    assert [event.by for event in server.events(Online)] == ["start", "test"]
