"""The history of events: what is kept and replayed, subscriptions, and events as frames."""

import json
from ipaddress import ip_network
from itertools import count
from typing import Any

import pytest

from smtppseudo.events import NAMES, Batch, Event, split_origin
from smtppseudo.monitor.codec import MAX_BYTES_TO_CLIENT, FrameReader
from smtppseudo.monitor.history import (
    CHUNK_BYTES,
    CHUNK_EVENTS,
    KEPT_BYTES,
    KEPT_EVENTS,
    History,
    Subscription,
    chunks,
    event_frames,
    parse_subscription,
)
from tests.records import Stamped, batch_of, command, render_json
from tests.unit.test_records import KINDS

TIME = "2026-01-31T23:59:59.999Z"
OF_EACH_KIND: list[Event] = [next(event for event, _, _ in KINDS if type(event) is kind) for kind in NAMES]


def stamped(seq: int, event: Event = OF_EACH_KIND[0], ip: str = "192.0.2.1") -> Stamped:
    return Stamped(seq, TIME, 1, 7, ip, 50_000, event)


def batch(first_seq: int, size: int) -> Batch:
    return batch_of(stamped(seq) for seq in range(first_seq, first_seq + size))


def only_events(chosen: Batch) -> list[Event]:
    return [event for _, _, events in chosen.entries for event in events]


def history_of(*sizes: int, data: int = 1) -> History:
    """Return a history with batches of these sizes, each with this many bytes of log lines."""
    history, seq = History(), 1
    for size in sizes:
        history.add(batch(seq, size), data)
        seq += size
    return history


def replayed(history: History, from_seq: int = 0, **wishes: Any) -> list[int]:
    return [seq for part in history.replay(Subscription(from_seq, **wishes)) for seq in part.seqs]


def test_a_subscription_without_fields_is_for_all_coming_events() -> None:
    assert parse_subscription(17, {}) == Subscription(17, None, None)


@pytest.mark.parametrize(
    ("fields", "subscription"),
    [
        ({"from_seq": 0}, Subscription(0)),
        ({"from_seq": 9_000}, Subscription(9_000)),
        ({"events": ["closed", "connected"]}, Subscription(5, frozenset({"connected", "closed"}))),
        ({"ip": "192.0.2.1"}, Subscription(5, None, ip_network("192.0.2.1/32"))),
        ({"ip": "192.0.2.99/24"}, Subscription(5, None, ip_network("192.0.2.0/24"))),
        ({"ip": "2001:db8::/32"}, Subscription(5, None, ip_network("2001:db8::/32"))),
        ({"id": 1, "op": "subscribe", "unknown": [1]}, Subscription(5)),
    ],
)
def test_the_fields_of_a_subscription(fields: dict[str, object], subscription: Subscription) -> None:
    assert parse_subscription(5, fields) == subscription


@pytest.mark.parametrize("from_seq", [-1, 1.0, "1", True, None, [], {}])
def test_a_bad_from_seq(from_seq: object) -> None:
    with pytest.raises(ValueError, match=r"^from_seq must be a whole number$"):
        parse_subscription(1, {"from_seq": from_seq})


@pytest.mark.parametrize("events", [[], "connected", ["Connected"], [["connected"]], [1], [{}], {"connected": 1}, True])
def test_bad_events(events: object) -> None:
    with pytest.raises(ValueError, match=r"^events must be a list of some of block, closed, command, connected, "):
        parse_subscription(1, {"events": events})


@pytest.mark.parametrize("ip", ["", "example.org", "192.0.2.1/33", "192.0.2.1/24/24", "::1%lo/zzz", 5, None, [], True])
def test_a_bad_address(ip: object) -> None:
    with pytest.raises(ValueError, match=r"^ip must be an address or a network such as 192.0.2.0/24$"):
        parse_subscription(1, {"ip": ip})


def test_a_subscription_to_everything_selects_the_batch_itself() -> None:
    """The identity of the batch shows that it can be rendered once for all such monitors."""
    events = batch(5, 3)
    assert Subscription(5).select(events) is events
    assert Subscription(1).select(events) is events
    assert Subscription(6).select(events) == batch(6, 2)
    assert Subscription(8).select(events) == Batch([], [])


@pytest.mark.parametrize("event", OF_EACH_KIND, ids=NAMES.values())
def test_events_selects_by_name(event: Event) -> None:
    events = batch_of(stamped(seq, each) for seq, each in enumerate(OF_EACH_KIND, 1))
    chosen = Subscription(0, frozenset({NAMES[type(event)]})).select(events)
    assert only_events(chosen) == [event]
    assert chosen.seqs == [OF_EACH_KIND.index(event) + 1]


@pytest.mark.parametrize(
    ("network", "addresses"),
    [
        ("192.0.2.1/32", ["192.0.2.1"]),
        ("192.0.2.0/24", ["192.0.2.1", "192.0.2.255"]),
        ("0.0.0.0/0", ["192.0.2.1", "192.0.2.255", "198.51.100.1"]),
        ("2001:db8::/32", ["2001:db8::1"]),
        ("::/0", ["2001:db8::1", "::1"]),
        ("203.0.113.0/24", []),
    ],
)
def test_ip_selects_by_network(network: str, addresses: list[str]) -> None:
    """An event without an address is in no network."""
    all_addresses = ["192.0.2.1", "192.0.2.255", "198.51.100.1", "2001:db8::1", "::1", ""]
    events = batch_of(stamped(seq, ip=ip) for seq, ip in enumerate(all_addresses, 1))
    chosen = Subscription(0, None, ip_network(network)).select(events)
    assert [split_origin(origin)[2] for _, origin, _ in chosen.entries] == addresses


def test_an_empty_history() -> None:
    history = History()
    assert (history.oldest_seq, history.next_seq) == (1, 1)
    assert replayed(history) == []


def test_kept_events_are_replayed_in_order() -> None:
    history = history_of(1, 2, 3)
    assert (history.oldest_seq, history.next_seq) == (1, 7)
    assert replayed(history) == [1, 2, 3, 4, 5, 6]
    assert replayed(history, 4) == [4, 5, 6]
    assert replayed(history, 7) == []
    assert replayed(history, network=ip_network("192.0.2.2/32")) == []


@pytest.mark.parametrize("size", [1, 7, 100])
def test_a_thousand_events_are_kept(size: int) -> None:
    history = history_of(*[size] * (3 * KEPT_EVENTS // size))
    kept = history.next_seq - history.oldest_seq
    assert KEPT_EVENTS <= kept < KEPT_EVENTS + size
    assert replayed(history) == list(range(history.oldest_seq, history.next_seq))


def test_one_mebibyte_is_kept() -> None:
    history = history_of(*[1] * 100, data=KEPT_BYTES // 10)
    assert (history.oldest_seq, history.next_seq) == (91, 101)


def test_the_limits_are_exact() -> None:
    assert (KEPT_EVENTS, KEPT_BYTES, CHUNK_EVENTS, CHUNK_BYTES) == (1_000, 1_048_576, 100, 65_536)
    history = history_of(1, 1, data=KEPT_BYTES // 2)
    assert history.oldest_seq == 1
    history.add(batch(3, 1), 1)
    assert history.oldest_seq == 2


def test_a_batch_of_more_than_a_thousand_events_is_kept_whole() -> None:
    history = history_of(5, 3 * KEPT_EVENTS)
    assert (history.oldest_seq, history.next_seq) == (6, 6 + 3 * KEPT_EVENTS)


@pytest.mark.parametrize("before", [0, 5])
def test_a_batch_of_more_than_one_mebibyte_is_not_kept(before: int) -> None:
    """One turn of the loop may bring that much; the numbers continue."""
    history = history_of(*[1] * before)
    history.add(batch(before + 1, 2), KEPT_BYTES + 1)
    assert history.next_seq == before + 3
    assert replayed(history) in ([], [before + 1, before + 2])
    history.add(batch(before + 3, 1), 1)
    assert replayed(history)[-1] == before + 3
    assert replayed(history) == list(range(history.oldest_seq, history.next_seq))


def test_a_replay_holds_the_events_kept_when_it_was_requested() -> None:
    """A later event is sent when it happens; in the replay it would be a duplicate."""
    history = history_of(1, 1)
    replay = history.replay(Subscription(0))
    history.add(batch(3, 1), 1)
    assert [seq for part in replay for seq in part.seqs] == [1, 2]


def test_a_running_replay_is_not_cut_short() -> None:
    history = history_of(1, 1)
    replay = history.replay(Subscription(0))
    first = next(replay)
    for seq in range(3, 2 * KEPT_EVENTS):
        history.add(batch(seq, 1), 1)
    assert [seq for part in [first, *replay] for seq in part.seqs] == [1, 2]


@pytest.mark.parametrize("event", OF_EACH_KIND, ids=NAMES.values())
def test_a_frame_is_the_json_record_with_type_and_seq(event: Event) -> None:
    one = stamped(9_121, event)
    (frame,) = event_frames(batch_of([one]))
    (record,) = render_json([one])
    assert list(json.loads(frame).items()) == [("type", "event"), ("seq", 9_121), *json.loads(record).items()]
    assert frame.endswith(b"}\n")


@pytest.mark.parametrize(
    ("sizes", "counts"),
    [
        ([], []),
        ([10] * 100, [100]),
        ([10] * 250, [100, 100, 50]),
        ([CHUNK_BYTES] * 3, [1, 1, 1]),
        ([CHUNK_BYTES - 1] * 4, [2, 2]),
        ([CHUNK_BYTES, *[10] * 150], [1, 100, 50]),
        ([10] * 99 + [CHUNK_BYTES] + [10] * 5, [100, 5]),
    ],
)
def test_frames_are_joined_into_chunks(sizes: list[int], counts: list[int]) -> None:
    """At most a hundred frames and not much more than 64 KiB: no chunk exceeds the outbox."""
    frames = [bytes([place % 251]) * size for place, size in enumerate(sizes)]
    pieces = list(chunks(frames))
    assert [count for _, count in pieces] == counts
    assert b"".join(data for data, _ in pieces) == b"".join(frames)


def test_the_biggest_event_fits_into_a_frame() -> None:
    """The longest line with the longest reply, all bytes escaped."""
    event = command(b"\xff" * 2_048, b"553 " + b"\\" * 506, eol_lf=True, pipelined=True, truncated_bytes=10**9)
    one = Stamped(10**12, TIME, 60_000, 10**12, "2001:db8:" + "ffff:" * 5 + "ffff", 65_535, event)
    (frame,) = event_frames(batch_of([one]))
    assert len(frame) <= MAX_BYTES_TO_CLIENT
    (read,) = FrameReader(MAX_BYTES_TO_CLIENT).receive(frame)
    assert isinstance(read, dict)
    assert read["data"] == "\\xff" * 2_048


def test_no_peer_can_forge_a_frame() -> None:
    forgery = b'x","seq":1}\r\n{"type":"bye"}\n\x1b[31m\\\xff'
    (frame,) = event_frames(batch_of([stamped(1, command(forgery, b"500 " + forgery))]))
    assert frame.count(b"\n") == 1
    assert all(0x20 <= byte <= 0x7E for byte in frame[:-1])
    assert json.loads(frame)["data"] == r'x","seq":1}\x0d\x0a{"type":"bye"}\x0a\x1b[31m\\\xff'


def test_frames_keep_their_order() -> None:
    frames = event_frames(batch_of(stamped(seq, event) for seq, event in zip(count(1), OF_EACH_KIND, strict=False)))
    assert [json.loads(frame)["event"] for frame in frames] == [NAMES[type(event)] for event in OF_EACH_KIND]
