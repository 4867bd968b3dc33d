"""A monitor's session as the server sees it: who gets in and how, and what nobody is told before."""

from collections.abc import Callable
from typing import Any

import pytest

from smtppseudo.events import CloseReason, Monitor
from smtppseudo.monitor.codec import MAX_BYTES_AFTER_LOGIN, MAX_BYTES_BEFORE_LOGIN
from smtppseudo.monitor.session import (
    AUTH_TIMEOUT_S,
    OPS_PER_SECOND_MAX,
    MonitorState,
    Request,
)
from tests.monitors import Frame, Login, line_of
from tests.unit.monitor_door import OPS, START, WORD, WRONG, Desk

LOG_IN_FIRST: Frame = {"type": "reply", "id": 7, "ok": False, "error": "not_authorized", "message": "log in first"}

FIELDS: dict[str, Frame] = {
    "set": {"changes": {"greeting": "x"}},
    "unset": {"keys": ["greeting"]},
    "subscribe": {"from_seq": 0},
    "disconnect": {"slot": 1},
    "magic_word": {"salt": "c2FsdCBzYWx0IHNhbHQ=", "iterations": 4_096, "stored_key": "", "server_key": ""},
}


def fresh(desk: Desk) -> None:
    """Nothing was said yet."""


def challenged(desk: Desk) -> None:
    """The first message of a login was answered."""
    desk.challenge()


def pinged(desk: Desk) -> None:
    """A ping was answered, and a frame that is no op."""
    desk.ask("ping")
    desk.say(b"{}\n")


def refused(desk: Desk) -> None:
    """A wrong proof came."""
    desk.say(desk.final(secret=WRONG))


def closing(desk: Desk) -> None:
    """The refusal was said."""
    refused(desk)
    desk.tick()


OPEN_STATES: list[Callable[[Desk], None]] = [fresh, challenged, pinged]
SHUT_STATES: list[Callable[[Desk], None]] = [refused, closing]


def test_the_hello_and_nothing_else() -> None:
    desk = Desk()
    assert desk.hello == {
        "type": "hello",
        "protocol": 1,
        "server": "smtppseudo 0.0",
        "mechanisms": ["SCRAM-SHA-256"],
        "cookie_id": "0123456789abcdef",
        "auth_timeout_s": 30,
    }
    assert desk.session.state is MonitorState.CHALLENGED
    assert desk.asked_for == []


@pytest.mark.parametrize("op", [*OPS, "unknown", "", "Status", "auth ", "AUTH"])
@pytest.mark.parametrize("bring", OPEN_STATES)
@pytest.mark.parametrize("size", [0, 1, 7])
def test_no_op_is_carried_out_before_login(op: str, bring: Callable[[Desk], None], size: int) -> None:
    desk = Desk()
    bring(desk)
    asked_for = list(desk.asked_for)
    frame = line_of({"id": 7, "op": op, **FIELDS.get(op, {})})
    assert desk.say(frame, size) == [LOG_IN_FIRST]
    assert (desk.happened, desk.asked_for) == ([], asked_for)
    assert desk.session.state is MonitorState.CHALLENGED


@pytest.mark.parametrize("op", [*OPS, "unknown", "ping", "auth"])
@pytest.mark.parametrize("bring", SHUT_STATES)
def test_nothing_is_answered_after_a_wrong_proof(op: str, bring: Callable[[Desk], None]) -> None:
    desk = Desk()
    bring(desk)
    desk.happened.clear()
    assert desk.ask(op, 7, **FIELDS.get(op, {}), data=Login("magic", WORD).first) == []
    assert desk.happened == []


@pytest.mark.parametrize("bring", OPEN_STATES)
def test_a_ping_is_answered_before_login_and_tells_nothing(bring: Callable[[Desk], None]) -> None:
    desk = Desk()
    bring(desk)
    assert desk.ask("ping", 7) == [{"type": "reply", "id": 7, "ok": True}]
    assert desk.happened == []


@pytest.mark.parametrize("op", OPS)
def test_ops_are_handed_over_after_login(op: str) -> None:
    desk = Desk()
    desk.log_in()
    fields = FIELDS.get(op, {})
    assert desk.ask(op, 7, **fields) == []
    assert desk.happened == [Request(7, op, {"id": 7, "op": op, **fields})]
    assert desk.ask("ping", 8) == [{"type": "reply", "id": 8, "ok": True}]


@pytest.mark.parametrize("bring", OPEN_STATES)
def test_a_login_may_take_30_s(bring: Callable[[Desk], None]) -> None:
    desk = Desk()
    bring(desk)
    assert desk.session.deadline == START + AUTH_TIMEOUT_S == START + 30
    (frame,) = desk.tick()
    assert frame == {"type": "error", "error": "not_authorized", "message": "Not Authorized!"}
    assert desk.session.close_reason is not None
    assert desk.session.closed("peer", START) == []


@pytest.mark.parametrize("bring", OPEN_STATES)
def test_a_login_may_take_30_s_though_the_peer_does_not_read(bring: Callable[[Desk], None]) -> None:
    """While the kernel has not taken all, only `expires_at` ends a connection that makes some progress."""
    desk = Desk()
    bring(desk)
    assert desk.session.expires_at == START + 30


def test_a_monitor_may_stay() -> None:
    desk = Desk()
    desk.log_in()
    assert desk.session.expires_at == float("inf")
    for _ in range(3):
        assert desk.tick() == []
    assert desk.session.state is MonitorState.AUTHENTICATED
    assert desk.session.deadline > desk.now


def test_a_login_in_time_lifts_the_deadline() -> None:
    desk = Desk()
    desk.now = START + 29.9
    desk.log_in()
    assert desk.session.deadline > START + 31


@pytest.mark.parametrize("line", [b"{}", b'{"id":1}', b'{"op":"ping"}', b'{"id":"1","op":"ping"}'])
@pytest.mark.parametrize("logged_in", [False, True])
def test_a_frame_that_is_no_op_is_said_and_no_more(line: bytes, logged_in: bool) -> None:
    desk = Desk()
    if logged_in:
        desk.log_in()
    (frame,) = desk.say(line + b"\n")
    assert (frame["type"], frame["error"]) == ("error", "bad_frame")
    assert desk.ask("ping", 3) == [{"type": "reply", "id": 3, "ok": True}]


@pytest.mark.parametrize("request_id", [True, None, 1.0, "1", [], {}])
def test_an_id_is_a_whole_number(request_id: Any) -> None:
    desk = Desk()
    (frame,) = desk.say(line_of({"id": request_id, "op": "ping"}))
    assert (frame["type"], frame["error"]) == ("error", "bad_frame")


@pytest.mark.parametrize("logged_in", [False, True])
def test_what_is_no_frame_is_the_end(logged_in: bool) -> None:
    desk = Desk()
    if logged_in:
        desk.log_in()
    (frame,) = desk.say(b"GET / HTTP/1.1\r\n" + line_of({"id": 1, "op": "ping"}))
    assert (frame["type"], frame["error"]) == ("error", "bad_frame")
    assert desk.session.close_reason is not None
    assert desk.ask("ping") == []


@pytest.mark.parametrize(
    ("logged_in", "most"), [(False, MAX_BYTES_BEFORE_LOGIN), (True, MAX_BYTES_AFTER_LOGIN)], ids=["before", "after"]
)
def test_the_longest_frame(logged_in: bool, most: int) -> None:
    desk = Desk()
    if logged_in:
        desk.log_in()
    empty = len(line_of({"id": 1, "op": "ping", "x": ""})) - 1
    assert desk.ask("ping", x="x" * (most - empty)) == [{"type": "reply", "id": 1, "ok": True}]
    (frame,) = desk.ask("ping", x="x" * (most - empty + 1))
    assert (frame["type"], frame["error"]) == ("error", "too_big")
    assert desk.session.close_reason is not None
    assert (MAX_BYTES_BEFORE_LOGIN, MAX_BYTES_AFTER_LOGIN) == (1_024, 16_384)


@pytest.mark.parametrize("logged_in", [False, True])
def test_a_flood_of_ops_is_the_end(logged_in: bool) -> None:
    desk = Desk()
    if logged_in:
        desk.now += 5
        desk.log_in()
    desk.now += 5
    pings = line_of({"id": 1, "op": "ping"}) * (OPS_PER_SECOND_MAX + 10)
    frames = desk.say(pings)
    assert frames[:-1] == [{"type": "reply", "id": 1, "ok": True}] * OPS_PER_SECOND_MAX
    assert (frames[-1]["type"], frames[-1]["error"]) == ("error", "rate")
    assert desk.session.close_reason is not None


def test_as_many_ops_a_second_as_are_allowed_may_go_on() -> None:
    desk = Desk()
    desk.log_in()
    for _ in range(5):
        desk.now += 1
        assert len(desk.say(line_of({"id": 1, "op": "ping"}) * OPS_PER_SECOND_MAX)) == OPS_PER_SECOND_MAX
    assert desk.session.close_reason is None


@pytest.mark.parametrize("reason", ["shutdown", "disconnected"])
def test_monitors_hear_bye_and_others_nothing(reason: CloseReason) -> None:
    for logged_in in (True, False):
        desk = Desk()
        if logged_in:
            desk.log_in()
        desk.session.end(reason)
        assert desk.said() == ([{"type": "bye", "reason": reason}] if logged_in else [])
        assert desk.session.state is MonitorState.CLOSING
        assert desk.session.closed("peer", START) == ([Monitor("logout", "magic")] if logged_in else [])
