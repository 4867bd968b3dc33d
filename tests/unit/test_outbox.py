"""The outbox: order, limits, and an exact count of dropped events."""

import json
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from smtppseudo.monitor.outbox import BYTES_MAX, EVENTS_MAX, TAKE_BYTES, Outbox


def event(number: int) -> bytes:
    return f"event {number}\n".encode()


def drain(outbox: Outbox) -> list[str]:
    """Take everything; return the lines."""
    taken = b""
    while outbox:
        taken += outbox.take()
    return taken.decode().splitlines()


def dropped(count: int) -> str:
    return json.dumps({"type": "dropped", "count": count}, separators=(",", ":"))


def counted(frames: list[bytes], made: list[bytes]) -> Iterator[bytes]:
    """Yield frames; record each when it is rendered."""
    for frame in frames:
        made.append(frame)
        yield frame


def test_an_empty_outbox_returns_nothing() -> None:
    outbox = Outbox()
    assert not outbox
    assert outbox.take() == b""


def test_frames_are_taken_in_order() -> None:
    outbox = Outbox()
    outbox.put(b"hello\n")
    outbox.put_events(event(1) + event(2), 2)
    outbox.put(b"reply\n")
    outbox.put_lazily(iter([b"slots 1\n", b"slots 2\n"]))
    outbox.put_events(event(3), 1)
    assert outbox
    assert drain(outbox) == ["hello", "event 1", "event 2", "reply", "slots 1", "slots 2", "event 3"]
    assert not outbox


def test_take_ends_with_the_frame_that_reaches_64_kib() -> None:
    assert TAKE_BYTES == 65_536
    outbox = Outbox()
    for frame in (b"x" * (TAKE_BYTES - 1), b"y", b"z"):
        outbox.put(frame)
    assert outbox.take() == b"x" * (TAKE_BYTES - 1) + b"y"
    assert outbox.take() == b"z"


def test_the_limits_are_those_of_the_protocol() -> None:
    assert (EVENTS_MAX, BYTES_MAX) == (1_000, 1_048_576)
    outbox = Outbox()
    for number in range(EVENTS_MAX):
        outbox.put_events(event(number), 1)
    assert drain(outbox) == [f"event {number}" for number in range(EVENTS_MAX)]
    for number in range(EVENTS_MAX + 1):
        outbox.put_events(event(number), 1)
    assert drain(outbox) == [dropped(1), *(f"event {number}" for number in range(1, EVENTS_MAX + 1))]


def test_over_the_event_limit_the_oldest_are_dropped() -> None:
    outbox = Outbox(events_max=3)
    for number in range(1, 6):
        outbox.put_events(event(number), 1)
    assert drain(outbox) == [dropped(2), "event 3", "event 4", "event 5"]


def test_over_the_byte_limit_the_oldest_are_dropped() -> None:
    outbox = Outbox(bytes_max=3 * len(event(1)))
    for number in range(1, 6):
        outbox.put_events(event(number), 1)
    assert drain(outbox) == [dropped(2), "event 3", "event 4", "event 5"]


def test_events_put_together_are_dropped_together() -> None:
    outbox = Outbox(events_max=3)
    outbox.put_events(event(1) + event(2), 2)
    outbox.put_events(event(3) + event(4), 2)
    assert drain(outbox) == [dropped(2), "event 3", "event 4"]


def test_replies_are_never_dropped() -> None:
    outbox = Outbox(events_max=1, bytes_max=10)
    for number in range(50):
        outbox.put(f"reply {number}\n".encode())
        outbox.put_events(event(number), 1)
    assert drain(outbox) == [dropped(49), *(f"reply {number}" for number in range(50)), "event 49"]


def test_lazy_frames_are_never_dropped() -> None:
    outbox = Outbox(events_max=1)
    outbox.put_events(event(1), 1)
    outbox.put_lazily(iter([b"slots 1\n", b"slots 2\n"]))
    outbox.put_events(event(2), 1)
    outbox.put_events(event(3), 1)
    assert drain(outbox) == [dropped(2), "slots 1", "slots 2", "event 3"]


def test_a_drop_is_reported_once() -> None:
    outbox = Outbox(events_max=1)
    for number in (1, 2):
        outbox.put_events(event(number), 1)
    assert drain(outbox) == [dropped(1), "event 2"]
    outbox.put_events(event(3), 1)
    assert drain(outbox) == ["event 3"]
    for number in (4, 5, 6):
        outbox.put_events(event(number), 1)
    assert drain(outbox) == [dropped(2), "event 6"]


def test_a_drop_of_everything_is_reported() -> None:
    outbox = Outbox(bytes_max=3)
    outbox.put_events(event(1), 1)
    assert outbox
    assert drain(outbox) == [dropped(1)]


def test_taken_events_do_not_count_for_the_limits() -> None:
    outbox = Outbox(events_max=2)
    for number in (1, 2):
        outbox.put_events(event(number), 1)
    assert outbox.take() == event(1) + event(2)
    for number in (3, 4):
        outbox.put_events(event(number), 1)
    assert drain(outbox) == ["event 3", "event 4"]


def test_take_stops_after_64_kib() -> None:
    outbox = Outbox()
    frames = [bytes([letter]) * 40_000 for letter in b"abcde"]
    for frame in frames:
        outbox.put(frame)
    assert outbox.take() == frames[0] + frames[1]
    assert outbox.take() == frames[2] + frames[3]
    assert outbox.take() == frames[4]
    assert not outbox


def test_lazy_frames_are_rendered_only_when_taken() -> None:
    outbox = Outbox()
    made: list[bytes] = []
    frames = [bytes([letter]) * TAKE_BYTES for letter in b"abc"]
    outbox.put_lazily(counted(frames, made))
    assert made == []
    for count in (1, 2, 3):
        assert outbox.take() == frames[count - 1]
        assert made == frames[:count]
    assert drain(outbox) == []


def test_an_empty_iterator_of_lazy_frames_is_skipped() -> None:
    outbox = Outbox()
    outbox.put_lazily(iter([]))
    outbox.put(b"after\n")
    assert drain(outbox) == ["after"]


steps = st.lists(st.sampled_from(["reply", "late", "take"]) | st.integers(1, 4), max_size=60)


@given(steps)
def test_every_event_is_sent_or_counted(steps: list[str | int]) -> None:
    """Numbers put that many events; everything put comes out in order, except the gaps that are reported."""
    outbox = Outbox(events_max=6)
    lines: list[str] = []
    put: list[str] = []
    for place, step in enumerate(steps):
        if step == "take":
            lines += outbox.take().decode().splitlines()
        elif step == "reply":
            put.append(f"reply {place}")
            outbox.put(f"reply {place}\n".encode())
        elif step == "late":
            put.append(f"late {place}")
            outbox.put_lazily(iter([f"late {place}\n".encode()]))
        else:
            count = int(step)
            names = [f"event {place}.{number}" for number in range(count)]
            put += names
            outbox.put_events("".join(f"{name}\n" for name in names).encode(), count)
    lines += drain(outbox)
    told = sum(json.loads(line)["count"] for line in lines if line.startswith("{"))
    sent = [line for line in lines if not line.startswith("{")]
    assert sent == [line for line in put if line in set(sent)]
    missing = [line for line in put if line not in set(sent)]
    assert len(missing) == told
    assert all(line.startswith("event") for line in missing)
