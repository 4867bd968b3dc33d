"""Monitors that read slowly or not at all, or send too many ops: they disturb neither the server nor others."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from smtppseudo.events import Monitor
from tests.clients import wait_until
from tests.conftest import MakeInside
from tests.load import Callers, play_noops, resident
from tests.monitors import Frame, Monitors, Peer, line_of
from tests.running import Running, Servers

SMALL_BUFFER_BYTES = 4_096
GROWTH_MAX = 2 << 20
PONG_MAX_S = 1.0
FLOOD = 60_000
"""More events than fit into any buffer between the server and a monitor."""


@contextmanager
def flooded(server: Running, events: int) -> Iterator[None]:
    """Make about this many events while the block runs, and wait for them at its end."""
    thread = threading.Thread(target=play_noops, args=(server, 950, events // 953))
    thread.start()
    try:
        yield
    finally:
        thread.join()


def pong_s(monitor: Peer) -> float:
    """Return how long the reply to a ping takes."""
    began_at = time.monotonic()
    monitor.ok("ping")
    return time.monotonic() - began_at


def until_pong(monitor: Peer) -> tuple[int, int]:
    """Read all that waits; return the number of events and the number reported as dropped."""
    monitor.ok("ping")
    frames = list(monitor.aside)
    monitor.aside.clear()
    check_gaps_reported(frames)
    events = [frame for frame in frames if frame["type"] == "event"]
    dropped = [frame for frame in frames if frame["type"] == "dropped"]
    assert len(events) + len(dropped) == len(frames)
    return len(events), sum(frame["count"] for frame in dropped)


def check_gaps_reported(frames: list[Frame]) -> None:
    """Check that no event is repeated, and that each gap was reported as dropped events."""
    last, dropped = 0, 0
    for frame in frames:
        if frame["type"] == "dropped":
            dropped += frame["count"]
        else:
            missing = frame["seq"] - last - 1 if last else 0
            assert missing == 0 or missing == dropped, (last, frame["seq"], dropped)
            dropped -= missing
            last = frame["seq"]


def warmed_up(servers: Servers, monitors: Monitors) -> tuple[Running, Peer]:
    """Return a server that has reached its usual memory, and a monitor."""
    server = servers.start()
    monitor = monitors.log_in(server)
    play_noops(server, 950, sessions=3)
    monitor.ok("slots")
    monitor.ok("get")
    return server, monitor


def test_a_monitor_that_never_reads(servers: Servers, monitors: Monitors) -> None:
    server, other = warmed_up(servers, monitors)
    asleep = monitors.subscribed(server)
    before, slowest = resident(server), 0.0
    with flooded(server, FLOOD), Callers(server) as callers:
        wait_until(lambda: asleep_is_behind(other, asleep, FLOOD // 2), "half of the events")
        slowest = max(pong_s(other) for _ in range(20))
        assert resident(server) - before < GROWTH_MAX
        wait_until(lambda: callers.sessions > 50, "callers served")
    assert slowest < PONG_MAX_S
    assert resident(server) - before < GROWTH_MAX
    last_seq = monitors.log_in(server).snapshot["seq"]
    received, dropped = until_pong(asleep)
    assert dropped > 0
    assert received + dropped == last_seq - asleep.snapshot["seq"]
    server.play("NOOP awake")
    assert asleep.events_until(data="NOOP awake")


def asleep_is_behind(other: Peer, asleep: Peer, events: int) -> bool:
    """Return whether this many events have happened since a monitor logged in."""
    counters = other.ok("status")["counters"]
    return bool(counters["connected"] * 953 > asleep.snapshot["counters"]["connected"] * 953 + events)


def test_several_monitors_that_never_read_share_the_waiting_events(servers: Servers, monitors: Monitors) -> None:
    """The same bytes objects wait for all of them."""
    server, other = warmed_up(servers, monitors)
    asleep = [monitors.subscribed(server) for _ in range(4)]
    before = resident(server)
    with flooded(server, FLOOD):
        assert pong_s(other) < PONG_MAX_S
    assert resident(server) - before < 2 * GROWTH_MAX
    last_seq = monitors.log_in(server).snapshot["seq"]
    for monitor in asleep:
        received, dropped = until_pong(monitor)
        assert received + dropped == last_seq - monitor.snapshot["seq"]


def test_a_monitor_that_reads_a_byte_a_second(inside: MakeInside, monitors: Monitors) -> None:
    """It delays nobody, and is closed after 30 s without progress in sending."""
    server = inside(quiet_timeout_s=0)
    slow = monitors.log_in(server, receive_buffer_bytes=SMALL_BUFFER_BYTES)
    other = monitors.log_in(server)
    slow.ok("subscribe")
    client = server.greeted()
    seconds = 0
    while other.ok("status")["monitors"] == 2:
        for number in range(20):
            server.server.recorder.error(f"{number} {'x' * 10_000}")
        server.advance(1)
        assert len(slow.sock.recv(1)) == 1
        client.say("RSET", "250")
        seconds += 1
        assert seconds < 120
    assert seconds > 30
    assert server.events(Monitor)[-1] == Monitor("logout", "cookie")


def test_a_monitor_that_stalls_is_closed_after_30_s(inside: MakeInside, monitors: Monitors) -> None:
    server = inside(quiet_timeout_s=0)
    asleep = monitors.log_in(server, receive_buffer_bytes=SMALL_BUFFER_BYTES)
    other = monitors.log_in(server)
    asleep.ok("subscribe")
    for _ in range(100):
        server.server.recorder.error("x" * 60_000)
        server.turn()
    server.advance(29.9)
    assert other.ok("status")["monitors"] == 2
    server.advance(0.2)
    assert other.ok("status")["monitors"] == 1
    assert asleep.is_over()


def test_a_stream_continues_when_the_monitor_reads_again(inside: MakeInside, monitors: Monitors) -> None:
    """The stream is several times as long as the kernel's buffers."""
    server = inside(quiet_timeout_s=0)
    monitor = monitors.subscribed(server)
    for _ in range(3):
        for _ in range(100):
            server.server.recorder.error("x" * 60_000)
            server.turn()
        until_pong(monitor)
    assert monitor.ok("status")["state"] == "online"


def send_without_reading(peer: Peer, data: bytes) -> None:
    """Send all, or as much as the server reads before it closes or pauses."""
    peer.sock.settimeout(0.2)
    try:
        peer.sock.sendall(data)
    except (TimeoutError, BrokenPipeError, ConnectionResetError):
        pass


@pytest.mark.parametrize("op", ["ping", "get", "slots"])
def test_a_flood_of_ops(servers: Servers, monitors: Monitors, op: str) -> None:
    server, other = warmed_up(servers, monitors)
    before = resident(server)
    flood = line_of({"id": 1, "op": op}) * 20_000
    peers = [monitors.log_in(server) for _ in range(4)]
    threads = [threading.Thread(target=send_without_reading, args=(peer, flood)) for peer in peers]
    for thread in threads:
        thread.start()
    slowest = max(pong_s(other) for _ in range(20))
    server.play("HELO x")
    for thread in threads:
        thread.join()
    assert slowest < PONG_MAX_S
    assert resident(server) - before < GROWTH_MAX
    wait_until(lambda: other.ok("status")["monitors"] <= 1 + 4, "still answering")


def reading(peer: Peer, data: bytes) -> list[Frame]:
    """Send bytes, and read until the server closes."""
    peer.send_bytes(data)
    return peer.rest()


@pytest.mark.parametrize("log_in", [Monitors.log_in, Monitors.greeted], ids=["logged in", "newcomer"])
def test_a_flood_of_ops_gets_the_error_rate(
    servers: Servers, monitors: Monitors, log_in: Callable[[Monitors, Running], Peer]
) -> None:
    server = servers.start()
    frames = reading(log_in(monitors, server), line_of({"id": 1, "op": "ping"}) * 600)
    assert frames[-1] == {"type": "error", "error": "rate", "message": "more than 500 ops in a second"}
    pongs = frames[:-1]
    assert pongs == [{"type": "reply", "id": 1, "ok": True}] * len(pongs)
    assert len(pongs) in (498, 500)  # the two messages of a login count, too
