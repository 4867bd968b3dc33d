"""The event stream: complete, without repeats, filtered, and from the number that was asked for."""

import itertools
import os
import threading

import pytest

from smtppseudo.events import Closed
from tests.clients import wait_until
from tests.conftest import MakeInside
from tests.load import Callers, play_noops
from tests.monitors import Frame, Monitors, Peer, line_of
from tests.running import Servers

STREAMED = int(os.environ.get("SMTPPSEUDO_TEST_EVENTS", "200000"))
"""How many events the longest stream has; a million is worth a try now and then."""
NOOPS = 450  # of a session, all of which are logged
EVENTS_OF_NOOPS = NOOPS + 3
"""Of a session of NOOPs: connected, QUIT and closed besides."""


def seqs(events: list[Frame]) -> list[int]:
    return [event["seq"] for event in events]


def assert_gapless(numbers: list[int]) -> None:
    strange = [(one, other) for one, other in itertools.pairwise(numbers) if other != one + 1]
    assert strange == []


def test_an_event_is_streamed_as_it_is_logged(inside: MakeInside, monitors: Monitors) -> None:
    server = inside(log_format="json")
    monitor = monitors.subscribed(server)
    client = server.greeted()
    client.say("HELO x", "250")
    client.say('MAIL FROM:<"\\\x1b">', "553")
    client.say("QUIT", "221")
    client.expect_end()
    events = monitor.events_until(event="closed")
    (path,) = server.log_dir.iterdir()
    logged = path.read_text().splitlines()[-len(events) :]
    for event, line in zip(events, logged, strict=True):
        assert line_of({name: event[name] for name in event if name not in ("type", "seq")}).decode() == line + "\n"
    assert [event["event"] for event in events] == ["connected", "command", "command", "command", "closed"]


def test_nothing_is_streamed_before_subscribe(inside: MakeInside, monitors: Monitors) -> None:
    server = inside()
    monitor = monitors.log_in(server)
    server.greeted().say("NOOP", "250")
    monitor.ok("ping")
    assert list(monitor.aside) == []
    monitor.ok("subscribe")
    assert [event["event"] for event in monitor.events_until(data="NOOP")] == ["connected", "command"]


def test_without_from_seq_a_stream_begins_after_the_snapshot(inside: MakeInside, monitors: Monitors) -> None:
    server = inside()
    before = monitors.subscribed(server, from_seq=1)
    server.greeted()
    monitor = monitors.log_in(server)
    old = before.events_until(event="monitor", port=monitor.port)
    assert (old[-1]["action"], old[-1]["seq"]) == ("login", monitor.snapshot["seq"])
    assert_gapless([0, *seqs(old)])
    server.greeted()
    monitor.ok("subscribe")
    assert monitor.next_event()["seq"] == monitor.snapshot["seq"] + 1


def test_a_snapshot_agrees_with_the_events_before_it_under_load(servers: Servers, monitors: Monitors) -> None:
    """The counters of a snapshot match the events streamed to another monitor up to its `seq`."""
    server = servers.start()
    observer = monitors.subscribed(server)
    newcomers: list[tuple[Frame, dict[int, Frame]]] = []
    with Callers(server, 3):
        for _ in range(30):
            monitor = monitors.log_in(server)
            monitor.ok("subscribe")
            events = [monitor.next_event() for _ in range(40)]
            assert_gapless([monitor.snapshot["seq"], *seqs(events)])
            newcomers.append((monitor.snapshot, {event["seq"]: event for event in events}))
            monitor.close()
    last = monitors.log_in(server)
    events = observer.events_until(event="monitor", port=last.port)
    assert_gapless(seqs(events))
    streamed = {event["seq"]: event for event in events}
    for snapshot, first in [*newcomers, (last.snapshot, {})]:
        seen = [event for event in events if event["seq"] <= snapshot["seq"]]
        assert first.items() <= streamed.items()
        assert counts(seen) == (snapshot["counters"]["connected"], snapshot["counters"]["slots_in_use"])
        assert open_sessions(seen) == {slot["session"] for slot in snapshot["slots"] if slot["state"] == "open"}


def counts(events: list[Frame]) -> tuple[int, int]:
    """Return the number of connections, and of those still open."""
    kinds = [event["event"] for event in events]
    return kinds.count("connected"), kinds.count("connected") - kinds.count("closed")


def open_sessions(events: list[Frame]) -> set[int]:
    connected = {event["session"] for event in events if event["event"] == "connected"}
    return connected - {event["session"] for event in events if event["event"] == "closed"}


def test_a_stream_resumes_where_it_ended(servers: Servers, monitors: Monitors) -> None:
    server = servers.start()
    seen: list[int] = []
    with Callers(server, 2) as callers:
        for _ in range(20):
            monitor = monitors.log_in(server)
            oldest = monitor.ok("subscribe", from_seq=seen[-1] + 1 if seen else 1)["oldest_seq"]
            assert oldest == 1 or monitor.snapshot["seq"] - oldest >= 900
            seen += [monitor.next_event()["seq"] for _ in range(50)]
            monitor.close()
            if len(seen) > 500:
                break
        assert callers.sessions > 0
    assert_gapless([0, *seen])


def test_oldest_seq_shows_which_events_are_not_kept(inside: MakeInside, monitors: Monitors) -> None:
    server = inside()
    for number in range(1_500):
        server.server.recorder.error(f"event {number}")
        server.server.recorder.flush()
    monitor = monitors.log_in(server)
    oldest = monitor.ok("subscribe", from_seq=1)["oldest_seq"]
    replayed = monitor.events_until(event="monitor")
    assert replayed[0]["seq"] == oldest
    assert_gapless(seqs(replayed))
    assert len(replayed) == 1_000


def test_from_seq_in_the_future_is_refused(inside: MakeInside, monitors: Monitors) -> None:
    monitor = monitors.log_in(inside())
    next_seq = monitor.snapshot["seq"] + 1
    assert monitor.refused("subscribe", "bad_value", from_seq=next_seq + 1) == f"from_seq must be at most {next_seq}"
    monitor.ok("subscribe", from_seq=next_seq)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("from_seq", -1, "from_seq must be a whole number"),
        ("from_seq", "1", "from_seq must be a whole number"),
        ("events", [], "events must be a list of some of block, closed, command, connected, "),
        ("events", ["logins"], "events must be a list of some of block, closed, command, connected, "),
        ("ip", "192.0.2.1/33", "ip must be an address or a network such as 192.0.2.0/24"),
        ("ip", "localhost", "ip must be an address or a network such as 192.0.2.0/24"),
    ],
)
def test_a_refused_subscribe_keeps_the_present_stream(
    inside: MakeInside, monitors: Monitors, field: str, value: object, message: str
) -> None:
    server = inside()
    monitor = monitors.subscribed(server, events=["connected"])
    assert monitor.refused("subscribe", "bad_value", **{field: value}).startswith(message)
    client = server.greeted()
    assert (monitor.next_event()["port"], list(monitor.aside)) == (client.port, [])


def test_a_filter_by_kind(inside: MakeInside, monitors: Monitors) -> None:
    server = inside()
    monitor = monitors.subscribed(server, events=["closed", "connected"])
    for _ in range(3):
        client = server.greeted()
        client.say("HELO x", "250")
        client.say("QUIT", "221")
        client.expect_end()
    assert [monitor.next_event()["event"] for _ in range(6)] == ["connected", "closed"] * 3
    monitor.ok("ping")
    assert list(monitor.aside) == []


@pytest.mark.parametrize(
    ("ip", "seen"),
    [
        ("127.0.3.1", ["127.0.3.1"]),
        ("127.0.3.0/24", ["127.0.3.1", "127.0.3.2"]),
        ("127.0.3.99/24", ["127.0.3.1", "127.0.3.2"]),
        ("127.0.0.0/8", ["127.0.3.1", "127.0.4.1", "127.0.3.2"]),
        ("::/0", []),
    ],
)
def test_a_filter_by_address(inside: MakeInside, monitors: Monitors, ip: str, seen: list[str]) -> None:
    server = inside()
    monitor = monitors.subscribed(server, ip=ip, events=["connected"])
    everything = monitors.subscribed(server)
    for source in ("127.0.3.1", "127.0.4.1", "127.0.3.2"):
        server.greeted(source)
    everything.events_until(ip="127.0.3.2")
    monitor.ok("ping")
    assert [event["ip"] for event in monitor.aside] == seen


def test_a_filter_applies_to_the_replay(inside: MakeInside, monitors: Monitors) -> None:
    server = inside()
    for source in ("127.0.3.1", "127.0.4.1", "127.0.3.1"):
        server.greeted(source).say("NOOP", "250")
    monitor = monitors.log_in(server)
    monitor.ok("subscribe", from_seq=1, ip="127.0.3.0/24", events=["command"])
    monitor.ok("ping")
    assert [(event["ip"], event["event"]) for event in monitor.aside] == [("127.0.3.1", "command")] * 2


def test_subscribe_after_a_long_list_repeats_nothing(inside: MakeInside, monitors: Monitors) -> None:
    """All ops arrive at once: the replay waits until the lists are sent, while new events happen."""
    server = inside(slots=300)
    clients = [server.greeted() for _ in range(300)]
    monitor = monitors.log_in(server)
    asked = [901, 902, 903]
    lists = [line_of({"id": number, "op": "slots"}) for number in asked]
    monitor.send_bytes(b"".join([*lists, line_of({"id": 999, "op": "subscribe"})]))
    for number, client in enumerate(clients):
        client.say(f"NOOP {number}", "250")
    for number in asked:
        assert monitor.reply_to(number)["ok"]
    assert monitor.reply_to(999)["ok"]
    monitor.ok("ping")
    assert_gapless([monitor.snapshot["seq"], *seqs(list(monitor.aside))])
    assert len(monitor.aside) == 300


def test_a_turn_with_more_than_a_mebibyte_of_events(inside: MakeInside, monitors: Monitors) -> None:
    """25 callers send 2 KiB of commands each at the same moment."""
    server = inside()
    clients = [server.greeted() for _ in range(25)]
    for client in clients:
        client.sock.sendall(b"NOOP\n" * 409)
    for _ in range(5):
        server.turn()
    for client in clients:
        for _ in range(409):
            client.expect("250 OK")
    monitor = monitors.subscribed(server)
    clients[0].say("NOOP last", "250")
    assert len(monitor.events_until(data="NOOP last")) == 1


def test_many_long_events_in_one_turn_are_not_dropped(inside: MakeInside, monitors: Monitors) -> None:
    """A hundred of the longest events exceed the limit of waiting bytes, but the monitor reads: none waits."""
    server = inside(slots=110)
    clients = [server.greeted("127.100.100.100") for _ in range(110)]
    monitor = monitors.subscribed(server)
    for number in range(10_000):
        server.server.recorder.error(str(number))  # so that the numbers are long, too
        server.server.recorder.flush()
    monitor.events_until(message="9999")
    line = b"\xff" * 2_046 + b"\r\n"
    for client in clients:
        client.sock.sendall(line)
    for client in clients:
        client.expect("500")
    monitor.ok("ping")
    assert [frame for frame in monitor.aside if frame["type"] != "event"] == []
    assert len(monitor.aside) == 110


@pytest.mark.timeout(60 + STREAMED // 5_000)
def test_a_monitor_that_reads_loses_no_event(servers: Servers, monitors: Monitors) -> None:
    server = servers.start()
    monitor = monitors.subscribed(server)
    sessions = -(-STREAMED // EVENTS_OF_NOOPS)
    thread = threading.Thread(target=play_noops, args=(server, NOOPS, sessions))
    thread.start()
    try:
        first, count = monitor.snapshot["seq"] + 1, sessions * EVENTS_OF_NOOPS
        assert read_gapless(monitor, first, count) == first + count
    finally:
        thread.join()
    server.wait_for_event(Closed, count=sessions, reason="quit")


def read_gapless(monitor: Peer, seq: int, count: int) -> int:
    """Read `count` event frames fast; return the next `seq`."""
    part = b""
    end = seq + count
    while seq < end:
        data = monitor.sock.recv(1 << 20)
        assert data
        *lines, part = (part + data).split(b"\n")
        for line in lines:
            assert line.startswith(b'{"type":"event","seq":%d,' % seq), line[:80]
            seq += 1
    assert part == b""
    return seq


def test_eight_monitors_get_the_same_events(servers: Servers, monitors: Monitors) -> None:
    server = servers.start()
    all_eight = [monitors.subscribed(server) for _ in range(8)]
    with Callers(server, 2) as callers:
        wait_until(lambda: callers.sessions > 60, "some callers")
    streams = []
    for monitor in all_eight:
        monitor.ok("ping")
        streams.append([event for event in monitor.aside if event["seq"] > all_eight[-1].snapshot["seq"]])
    assert streams == [streams[0]] * 8
    assert_gapless(seqs(streams[0]))
    assert len(streams[0]) > 60 * 5
