"""The messages to the service manager: over a real socket, with a clock that the test moves."""

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from smtppseudo.loop.clock import Clock
from smtppseudo.loop.reactor import Reactor
from smtppseudo.server.sd_notify import STATUS_EVERY_S, Heartbeat, Notifier
from tests.inside import FakeTime

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="needs local sockets")


class Manager:
    """The service manager's socket."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(address)
        self.sock.settimeout(0)

    @property
    def environ(self) -> dict[str, str]:
        return {"NOTIFY_SOCKET": self.address.replace("\0", "@")}

    def received(self) -> list[str]:
        """Return the messages received so far."""
        messages = []
        while True:
            try:
                messages.append(self.sock.recv(8192).decode())
            except BlockingIOError:
                return messages


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(str(tmp_path / "notify"))
    yield manager
    manager.sock.close()


MakeLoop = Callable[[dict[str, str]], "Loop"]


@pytest.fixture
def begin() -> Iterator[MakeLoop]:
    """Makes loops with an environment; closes them at the end."""
    with contextlib.ExitStack() as closing:

        def make(environ: dict[str, str]) -> Loop:
            loop = Loop(environ)
            closing.callback(loop.close)
            return loop

        yield make


class Loop:
    """A loop with a heartbeat."""

    def __init__(self, environ: dict[str, str]) -> None:
        self.time = FakeTime()
        self.reactor = Reactor(Clock(lambda: self.time.monotonic_s, lambda: self.time.wall_ns))
        self.text: str | None = "Online: 0 of 25 slots"
        self.faults: list[Exception] = []
        self.notifier = Notifier(environ)
        self.reactor.on_fault = self.faults.append
        self.heartbeat = Heartbeat(self.notifier, self.reactor, self.status)
        self.heartbeat.begin()

    def close(self) -> None:
        self.notifier.close()
        self.reactor.close()

    def status(self) -> str:
        if self.text is None:
            raise KeyError("a bug")
        return self.text

    def advance(self, seconds: float) -> None:
        self.time.advance(seconds)
        self.reactor.turn(0)


def test_every_message(manager: Manager) -> None:
    notifier = Notifier(manager.environ)
    assert notifier.has_manager
    notifier.ready("Online")
    notifier.status("two\nlines")
    notifier.alive()
    notifier.stopping()
    assert manager.received() == [
        "READY=1\nSTATUS=Online",
        "STATUS=two lines",
        "WATCHDOG=1",
        "STOPPING=1\nSTATUS=Stopping",
    ]
    notifier.reloading()
    (reloading,) = manager.received()
    first, second = reloading.split("\n")
    assert first == "RELOADING=1"
    assert int(second.removeprefix("MONOTONIC_USEC=")) > 0
    notifier.close()
    notifier.alive()
    assert manager.received() == []


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="abstract sockets are Linux's")
def test_an_abstract_socket_gets_messages() -> None:
    manager = Manager(f"\0smtppseudo-test-{os.getpid()}")
    notifier = Notifier(manager.environ)
    notifier.alive()
    notifier.close()
    assert manager.received() == ["WATCHDOG=1"]
    manager.sock.close()


def test_a_long_line_is_cut_to_what_systemd_takes(manager: Manager) -> None:
    notifier = Notifier(manager.environ)
    notifier.status("\u2028" * 10_000)
    notifier.close()
    (message,) = manager.received()
    assert 1000 < len(message.encode()) <= 4096


@pytest.mark.parametrize("name", ["", "relative", "vsock:2:1", "/no/such/socket", "@nobody-is-here", "/" + "x" * 200])
def test_without_a_reachable_manager_nothing_fails(begin: MakeLoop, name: str) -> None:
    environ = {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "200000"}
    loop = begin(environ)
    assert environ == {}
    loop.advance(60)
    assert loop.faults == []


def test_without_a_manager_nothing_is_scheduled(begin: MakeLoop) -> None:
    loop = begin({"WATCHDOG_USEC": "200000"})
    assert loop.reactor.wheel.next_due() is None


def test_a_changed_status_is_sent_at_most_every_3_s(begin: MakeLoop, manager: Manager) -> None:
    loop = begin(manager.environ)
    assert manager.received() == ["READY=1\nSTATUS=Online: 0 of 25 slots"]
    loop.advance(STATUS_EVERY_S + 1)
    assert manager.received() == []
    for text in ("Online: 1 of 25 slots", "Online: 2 of 25 slots"):
        loop.text = text
        loop.advance(0.5)
        assert manager.received() == []
    loop.advance(STATUS_EVERY_S)
    assert manager.received() == ["STATUS=Online: 2 of 25 slots"]
    loop.advance(STATUS_EVERY_S + 1)
    assert manager.received() == []


def test_a_status_that_could_not_be_sent_is_sent_later(begin: MakeLoop, manager: Manager) -> None:
    loop = begin(manager.environ)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as flood:
        flood.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                flood.sendto(b"", manager.address)
    loop.text = "Offline"
    loop.advance(STATUS_EVERY_S + 1)
    assert "STATUS=Offline" not in manager.received()
    loop.advance(STATUS_EVERY_S + 1)
    assert manager.received() == ["STATUS=Offline"]


def test_waiting_for_a_manager_whose_queue_is_full_takes_no_cpu(manager: Manager) -> None:
    notifier = Notifier(manager.environ)
    while notifier.status("x", wait=False):
        pass
    before_s = time.thread_time()
    assert not notifier.ready("y")
    assert time.thread_time() - before_s < 0.1  # of one second that it waits
    notifier.close()


def test_the_watchdog_is_reset_at_half_its_timeout(begin: MakeLoop, manager: Manager) -> None:
    loop = begin(manager.environ | {"WATCHDOG_USEC": "4000000", "WATCHDOG_PID": str(os.getpid())})
    manager.received()
    for _ in range(3):
        loop.advance(1.9)
        assert "WATCHDOG=1" not in manager.received()
        loop.advance(0.2)
        assert "WATCHDOG=1" in manager.received()


@pytest.mark.parametrize(
    ("usec", "pid"), [("4000000", "1"), ("", ""), ("0", ""), ("-1", ""), ("4e6", ""), ("\u0664", "")]
)
def test_an_invalid_watchdog_or_that_of_another_process_is_ignored(
    begin: MakeLoop, manager: Manager, usec: str, pid: str
) -> None:
    loop = begin(manager.environ | {"WATCHDOG_USEC": usec, "WATCHDOG_PID": pid})
    loop.advance(60)
    assert "WATCHDOG=1" not in manager.received()


def test_a_bug_in_the_status_does_not_stop_the_watchdog_messages(begin: MakeLoop, manager: Manager) -> None:
    loop = begin(manager.environ | {"WATCHDOG_USEC": "4000000"})
    manager.received()
    loop.text = None
    loop.advance(STATUS_EVERY_S + 1)
    assert [type(fault) for fault in loop.faults] == [KeyError]
    assert manager.received() == ["WATCHDOG=1"]
    loop.text = "mended"
    loop.advance(STATUS_EVERY_S + 1)
    assert "STATUS=mended" in manager.received()
