"""Thousands of slots: complete lists in frames of limited size, without delay for others."""

import time
from collections.abc import Iterator

import pytest

from smtppseudo.monitor.rows import LAST_CHARS
from tests import SELECTOR
from tests.clients import Client
from tests.load import resident
from tests.monitors import Frame, Monitors, line_of
from tests.running import Running, Servers

SLOTS = 10_000
USED = 1_000
PATIENT = {"slots": SLOTS, "evict_after_s": 86_400, "idle_timeout_s": 86_400, "quiet_timeout_s": 0}
LONG_LINE = b"\xff" * 2_046 + b"\r\n"


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """Raise the limit of open files for this process and the server."""
    if SELECTOR == "select":
        pytest.skip("select(2) watches at most 1,024 descriptors")
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = SLOTS + 100
    if hard != resource.RLIM_INFINITY and hard < needed:
        pytest.skip(f"needs {needed} open files, and the hard limit is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def assert_whole(slots: list[Frame], used: int) -> None:
    assert [slot["slot"] for slot in slots] == list(range(1, SLOTS + 1))
    states = [slot["state"] for slot in slots]
    assert states == ["open"] * used + ["free"] * (SLOTS - used)


def test_few_used_slots_of_many(servers: Servers, monitors: Monitors, many_descriptors: None) -> None:
    server = servers.start(PATIENT)
    with server.connect() as client:
        client.say("HELO few.test", "220")
        monitor = monitors.log_in(server)
        for slots in (monitor.snapshot["slots"], monitor.ok("slots")["slots"]):
            assert_whole(slots, 1)
            assert slots[0]["helo"] == "few.test"
    frames = bytes(monitor.wire).count(b'"more":')
    assert frames == 2 * SLOTS / 100


@pytest.fixture
def full(servers: Servers, many_descriptors: None) -> Iterator[Running]:
    """Yield a server with many slots in use, each with the longest last line, every byte escaped."""
    server = servers.start(PATIENT)
    clients: list[Client] = []
    try:
        for _ in range(USED):
            clients.append(server.connect())
            clients[-1].sock.sendall(LONG_LINE)
        for client in clients:
            client.expect("220")
            client.expect("500")
        yield server
    finally:
        for client in clients:
            client.close()


def test_many_slots_with_long_lines(full: Running, monitors: Monitors) -> None:
    monitor = monitors.log_in(full)
    for slots in (monitor.snapshot["slots"], monitor.ok("slots")["slots"]):
        assert_whole(slots, USED)
        assert {slot.get("last") for slot in slots[:USED]} == {("\\xff" * 2_046)[:LAST_CHARS]}
    assert len(monitor.wire) > 2 * USED * LAST_CHARS


def test_a_long_list_delays_nobody(full: Running, monitors: Monitors) -> None:
    """Other monitors get replies between the frames of the list."""
    on_session_events, peer = monitors.log_in(full), monitors.log_in(full)
    peer.send("slots")
    slowest = 0.0
    for _ in range(50):
        began_at = time.monotonic()
        on_session_events.ok("ping")
        slowest = max(slowest, time.monotonic() - began_at)
    assert slowest < 1
    assert_whole(peer.reply_to(peer._id)["slots"], USED)


def test_unread_lists_take_no_memory(full: Running, monitors: Monitors) -> None:
    """Only the list that is being sent takes memory, however many were requested."""
    on_session_events, peer = monitors.log_in(full), monitors.log_in(full)
    on_session_events.ok("slots")
    before = resident(full)
    peer.send_bytes(line_of({"id": 1, "op": "slots"}) * 90)
    assert peer.frame()["type"] == "reply"  # the server has begun
    on_session_events.ok("ping")
    assert resident(full) - before < 6 << 20
