"""A monitor's session, for any bytes: it never raises, and returns no request before login."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from smtppseudo.events import Monitor
from smtppseudo.monitor.codec import MAX_BYTES_AFTER_LOGIN, FrameReader
from smtppseudo.monitor.session import MonitorState, Request
from tests.monitors import Login, line_of
from tests.property.test_codec import cut, streams
from tests.unit.monitor_driver import OPS, WORD, WRONG, Driver

WRONG_WORD = Monitor("not_authorized", "magic")

ids = st.integers(-5, 5) | st.just(10**20) | st.booleans() | st.none() | st.text("12x", max_size=3)
ops = st.sampled_from([*OPS, "ping", "auth", "unknown", ""]) | st.none() | st.integers()
messages = st.sampled_from(
    [
        Login("magic", WORD).first,
        Login("magic", "x").first,
        "n,,n=nobody,r=abcdefghijklmnop",
        "c=biws,r=abc,p=" + "A" * 43 + "=",
        "",
    ]
) | st.text("cnr=,biws*", max_size=20)
frames = st.fixed_dictionaries(
    {"id": ids, "op": ops, "data": messages}, optional={"mechanism": st.sampled_from(["SCRAM-SHA-256", "PLAIN", ""])}
)
lines = st.lists(frames.map(line_of) | streams, max_size=8).map(b"".join)
places = st.lists(st.integers(0, 5_000), max_size=6)


@given(lines, places)
def test_no_request_is_returned_before_login(stream: bytes, places: list[int]) -> None:
    driver = Driver()
    for piece in cut(stream, places):
        said = driver.say(piece)
        assert all(frame["type"] in ("reply", "error") for frame in said)
        assert all(set(frame) <= {"type", "id", "ok", "data", "error", "message"} for frame in said)
        assert all(event == WRONG_WORD for event in driver.events)
        assert driver.session.state is not MonitorState.AUTHENTICATED
    while driver.session.close_reason is None:
        driver.tick()
    assert driver.session.closed("peer", driver.now) == []


@given(lines, places, st.booleans())
def test_a_refused_proof_stays_refused(stream: bytes, places: list[int], refusal_was_said: bool) -> None:
    driver = Driver()
    driver.say(driver.final(secret=WRONG))
    if refusal_was_said:
        driver.tick()
    for piece in cut(stream, places):
        assert driver.say(piece) == []
    assert driver.events == [WRONG_WORD]


@given(lines, places)
def test_after_login_each_op_is_returned_as_sent(stream: bytes, places: list[int]) -> None:
    driver = Driver()
    driver.log_in()
    for piece in cut(stream, places):
        driver.say(piece)
    sent: list[Any] = FrameReader(MAX_BYTES_AFTER_LOGIN).receive(stream)
    asked = [frame for frame in sent if type(frame) is dict and _is_op(frame) and frame["op"] not in ("ping", "auth")]
    assert driver.events == [Request(frame["id"], frame["op"], frame) for frame in asked]


@given(lines, places)
def test_chunks_do_not_change_the_replies(stream: bytes, places: list[int]) -> None:
    whole, cut_up = Driver(), Driver()
    said = [frame for piece in cut(stream, places) for frame in cut_up.say(piece)]
    assert said == whole.say(stream)


def _is_op(frame: dict[str, Any]) -> bool:
    return type(frame.get("id")) is int and isinstance(frame.get("op"), str)
