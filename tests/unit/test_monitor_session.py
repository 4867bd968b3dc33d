"""A monitor's session: states, ops before and after the login, limits."""

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
from tests.unit.monitor_driver import OPS, START, WORD, WRONG, Driver

LOG_IN_FIRST: Frame = {"type": "reply", "id": 7, "ok": False, "error": "not_authorized", "message": "log in first"}

FIELDS: dict[str, Frame] = {
    "set": {"changes": {"greeting": "x"}},
    "unset": {"keys": ["greeting"]},
    "subscribe": {"from_seq": 0},
    "disconnect": {"slot": 1},
    "magic_word": {"salt": "c2FsdCBzYWx0IHNhbHQ=", "iterations": 4_096, "stored_key": "", "server_key": ""},
}


def fresh(driver: Driver) -> None:
    """Only the hello was sent."""


def challenged(driver: Driver) -> None:
    """The first message of a login got its reply."""
    driver.challenge()


def pinged(driver: Driver) -> None:
    """A ping and a frame without an op got their replies."""
    driver.ask("ping")
    driver.say(b"{}\n")


def refused(driver: Driver) -> None:
    """A wrong proof came."""
    driver.say(driver.final(secret=WRONG))


def closing(driver: Driver) -> None:
    """The refusal was sent."""
    refused(driver)
    driver.tick()


OPEN_STATES: list[Callable[[Driver], None]] = [fresh, challenged, pinged]
SHUT_STATES: list[Callable[[Driver], None]] = [refused, closing]


def test_the_hello_is_the_only_first_frame() -> None:
    driver = Driver()
    assert driver.hello == {
        "type": "hello",
        "protocol": 1,
        "server": "smtppseudo 0.0",
        "server_name": "mx-1",
        "mechanisms": ["SCRAM-SHA-256"],
        "cookie_id": "0123456789abcdef",
        "auth_timeout_s": 30,
    }
    assert driver.session.state is MonitorState.LOGGING_IN
    assert driver.asked_for == []


@pytest.mark.parametrize("op", [*OPS, "unknown", "", "Status", "auth ", "AUTH"])
@pytest.mark.parametrize("bring", OPEN_STATES)
@pytest.mark.parametrize("size", [0, 1, 7])
def test_every_op_is_refused_before_login(op: str, bring: Callable[[Driver], None], size: int) -> None:
    driver = Driver()
    bring(driver)
    asked_for = list(driver.asked_for)
    frame = line_of({"id": 7, "op": op, **FIELDS.get(op, {})})
    assert driver.say(frame, size) == [LOG_IN_FIRST]
    assert (driver.events, driver.asked_for) == ([], asked_for)
    assert driver.session.state is MonitorState.LOGGING_IN


@pytest.mark.parametrize("op", [*OPS, "unknown", "ping", "auth"])
@pytest.mark.parametrize("bring", SHUT_STATES)
def test_after_a_wrong_proof_input_is_ignored(op: str, bring: Callable[[Driver], None]) -> None:
    driver = Driver()
    bring(driver)
    driver.events.clear()
    assert driver.ask(op, 7, **FIELDS.get(op, {}), data=Login("magic", WORD).first) == []
    assert driver.events == []


@pytest.mark.parametrize("bring", OPEN_STATES)
def test_a_ping_before_login_reveals_nothing(bring: Callable[[Driver], None]) -> None:
    driver = Driver()
    bring(driver)
    assert driver.ask("ping", 7) == [{"type": "reply", "id": 7, "ok": True}]
    assert driver.events == []


@pytest.mark.parametrize("op", OPS)
def test_after_login_ops_are_returned_as_requests(op: str) -> None:
    driver = Driver()
    driver.log_in()
    fields = FIELDS.get(op, {})
    assert driver.ask(op, 7, **fields) == []
    assert driver.events == [Request(7, op, {"id": 7, "op": op, **fields})]
    assert driver.ask("ping", 8) == [{"type": "reply", "id": 8, "ok": True}]


@pytest.mark.parametrize("bring", OPEN_STATES)
def test_a_login_may_take_30_s(bring: Callable[[Driver], None]) -> None:
    driver = Driver()
    bring(driver)
    assert driver.session.deadline == START + AUTH_TIMEOUT_S == START + 30
    (frame,) = driver.tick()
    assert frame == {"type": "error", "error": "not_authorized", "message": "Not Authorized!"}
    assert driver.session.close_reason is not None
    assert driver.session.closed("peer", START) == []


@pytest.mark.parametrize("bring", OPEN_STATES)
def test_a_login_may_take_30_s_even_if_the_peer_does_not_read(bring: Callable[[Driver], None]) -> None:
    """While unsent bytes remain, only `expires_at` ends a connection that makes progress."""
    driver = Driver()
    bring(driver)
    assert driver.session.expires_at == START + 30


def test_a_logged_in_monitor_may_stay() -> None:
    driver = Driver()
    driver.log_in()
    assert driver.session.expires_at == float("inf")
    for _ in range(3):
        assert driver.tick() == []
    assert driver.session.state is MonitorState.AUTHENTICATED
    assert driver.session.deadline > driver.now


def test_a_login_in_time_removes_the_deadline() -> None:
    driver = Driver()
    driver.now = START + 29.9
    driver.log_in()
    assert driver.session.deadline > START + 31


@pytest.mark.parametrize("line", [b"{}", b'{"id":1}', b'{"op":"ping"}', b'{"id":"1","op":"ping"}'])
@pytest.mark.parametrize("logged_in", [False, True])
def test_a_frame_without_an_op_gets_an_error(line: bytes, logged_in: bool) -> None:
    driver = Driver()
    if logged_in:
        driver.log_in()
    (frame,) = driver.say(line + b"\n")
    assert (frame["type"], frame["error"]) == ("error", "bad_frame")
    assert driver.ask("ping", 3) == [{"type": "reply", "id": 3, "ok": True}]


@pytest.mark.parametrize("request_id", [True, None, 1.0, "1", [], {}])
def test_an_id_is_a_whole_number(request_id: Any) -> None:
    driver = Driver()
    (frame,) = driver.say(line_of({"id": request_id, "op": "ping"}))
    assert (frame["type"], frame["error"]) == ("error", "bad_frame")


@pytest.mark.parametrize("logged_in", [False, True])
def test_an_invalid_line_ends_the_connection(logged_in: bool) -> None:
    driver = Driver()
    if logged_in:
        driver.log_in()
    (frame,) = driver.say(b"GET / HTTP/1.1\r\n" + line_of({"id": 1, "op": "ping"}))
    assert (frame["type"], frame["error"]) == ("error", "bad_frame")
    assert driver.session.close_reason is not None
    assert driver.ask("ping") == []


@pytest.mark.parametrize(
    ("logged_in", "most"), [(False, MAX_BYTES_BEFORE_LOGIN), (True, MAX_BYTES_AFTER_LOGIN)], ids=["before", "after"]
)
def test_the_longest_frame(logged_in: bool, most: int) -> None:
    driver = Driver()
    if logged_in:
        driver.log_in()
    empty = len(line_of({"id": 1, "op": "ping", "x": ""})) - 1
    assert driver.ask("ping", x="x" * (most - empty)) == [{"type": "reply", "id": 1, "ok": True}]
    (frame,) = driver.ask("ping", x="x" * (most - empty + 1))
    assert (frame["type"], frame["error"]) == ("error", "too_big")
    assert driver.session.close_reason is not None
    assert (MAX_BYTES_BEFORE_LOGIN, MAX_BYTES_AFTER_LOGIN) == (1_024, 16_384)


@pytest.mark.parametrize("logged_in", [False, True])
def test_a_flood_of_ops_ends_the_connection(logged_in: bool) -> None:
    driver = Driver()
    if logged_in:
        driver.now += 5
        driver.log_in()
    driver.now += 5
    pings = line_of({"id": 1, "op": "ping"}) * (OPS_PER_SECOND_MAX + 10)
    frames = driver.say(pings)
    assert frames[:-1] == [{"type": "reply", "id": 1, "ok": True}] * OPS_PER_SECOND_MAX
    assert (frames[-1]["type"], frames[-1]["error"]) == ("error", "rate")
    assert driver.session.close_reason is not None


def test_ops_at_the_allowed_rate_continue() -> None:
    driver = Driver()
    driver.log_in()
    for _ in range(5):
        driver.now += 1
        assert len(driver.say(line_of({"id": 1, "op": "ping"}) * OPS_PER_SECOND_MAX)) == OPS_PER_SECOND_MAX
    assert driver.session.close_reason is None


def test_a_new_session() -> None:
    session = Driver().session
    assert (session.ip, session.port) == ("192.0.2.1", 50_000)
    assert (session.state, session.user, session.close_reason) == (MonitorState.LOGGING_IN, "", None)
    assert (session.awaits_tls, session.is_secured) == (False, False)


def test_under_tls_the_hello_comes_after_the_handshake() -> None:
    driver = Driver(awaits_tls=True)
    session = driver.session
    assert (session.awaits_tls, session.is_secured, session.close_reason) == (True, False, "tls")
    assert driver.frames() == []
    session.secured(START + 1)
    state = (session.awaits_tls, session.is_secured, session.close_reason)
    assert state == (False, True, None)
    assert driver.frames() == [Driver().hello]


def test_an_end_before_the_handshake_sends_nothing() -> None:
    driver = Driver(awaits_tls=True)
    driver.session.end("shutdown")
    assert (driver.session.awaits_tls, driver.session.close_reason) == (False, "tls")
    assert driver.session.state is MonitorState.CLOSING
    assert driver.frames() == []


def test_the_first_close_reason_stays() -> None:
    driver = Driver()
    driver.log_in()
    driver.session.end("shutdown")
    driver.session.end("disconnected")
    assert driver.frames() == [{"type": "bye", "reason": "shutdown"}]
    driver.session.closed("peer", START)
    assert driver.session.close_reason == "shutdown"


def test_a_closed_session_holds_the_reason_and_ignores_input() -> None:
    driver = Driver()
    driver.session.closed("reset", START)
    assert (driver.session.close_reason, driver.session.state) == ("reset", MonitorState.CLOSING)
    assert driver.ask("ping") == []


def test_events_and_lazy_frames_are_queued_in_order() -> None:
    driver = Driver()
    driver.log_in()
    driver.session.outbox.put_lazily(iter([line_of({"n": 1}), line_of({"n": 2})]))
    driver.session.outbox.put_events(line_of({"n": 3}) + line_of({"n": 4}), 2)
    assert driver.session.has_more
    assert driver.frames() == [{"n": 1}, {"n": 2}, {"n": 3}, {"n": 4}]


def test_ops_count_from_the_first_second() -> None:
    assert OPS_PER_SECOND_MAX == 500
    driver = Driver()
    assert len(driver.say(line_of({"id": 1, "op": "ping"}) * 500)) == 500
    assert driver.session.close_reason is None
    (frame,) = driver.ask("ping")
    assert (frame["type"], frame["error"]) == ("error", "rate")


@pytest.mark.parametrize("reason", ["shutdown", "disconnected"])
def test_only_logged_in_monitors_get_bye(reason: CloseReason) -> None:
    for logged_in in (True, False):
        driver = Driver()
        if logged_in:
            driver.log_in()
        driver.session.end(reason)
        assert driver.frames() == ([{"type": "bye", "reason": reason}] if logged_in else [])
        assert driver.session.state is MonitorState.CLOSING
        assert driver.session.closed("peer", START) == ([Monitor("logout", "magic")] if logged_in else [])
