"""The login in the pure machine: how it succeeds, and every way in which it fails."""

import re

import pytest

from smtppseudo.events import Monitor
from smtppseudo.monitor.session import (
    REFUSAL_DELAY_S,
    MonitorState,
    ValidProof,
)
from tests.monitors import Frame, Login, line_of
from tests.unit.monitor_driver import COOKIE, NONCE, START, WORD, WRONG, Driver

REFUSAL: Frame = {"type": "reply", "id": 2, "ok": False, "error": "not_authorized", "message": "Not Authorized!"}
USERS = [("magic", WRONG), ("cookie", WRONG), ("nobody", WORD), ("Magic", WORD)]


@pytest.mark.parametrize("size", [0, 1, 7])
@pytest.mark.parametrize(("user", "secret"), [("magic", WORD), ("cookie", COOKIE)])
def test_a_login(user: str, secret: str, size: int) -> None:
    driver = Driver()
    login, challenge = driver.challenge(user, secret)
    assert re.fullmatch(rf"r={re.escape(login.nonce)}{NONCE},s=[A-Za-z0-9+/=]+,i=4096", challenge)
    proof = line_of({"id": 2, "op": "auth", "data": login.final(challenge)})
    assert driver.say(proof, size) == []
    (proved,) = driver.events
    assert proved == ValidProof(2, user, login.signature)
    assert isinstance(proved, ValidProof)
    driver.session.admit(proved, START)
    assert driver.frames() == [{"type": "reply", "id": 2, "ok": True, "data": login.signature}]
    assert (driver.session.state, driver.session.user) == (MonitorState.AUTHENTICATED, user)
    assert driver.session.closed("peer", START) == [Monitor("logout", user)]


@pytest.mark.parametrize(("user", "secret"), USERS)
def test_a_wrong_proof_is_refused_after_a_second(user: str, secret: str) -> None:
    driver = Driver()
    assert driver.say(driver.final(user, secret)) == []
    assert driver.session.deadline == START + REFUSAL_DELAY_S == START + 1
    assert driver.session.state is MonitorState.REFUSED
    assert driver.tick() == [REFUSAL]
    assert driver.session.close_reason is not None
    assert driver.events == ([Monitor("not_authorized", "magic")] if user == "magic" else [])
    assert driver.session.closed("peer", START) == []


def test_without_a_magic_word_every_word_is_refused() -> None:
    driver = Driver(has_word=False)
    assert driver.say(driver.final()) == []
    assert driver.tick() == [REFUSAL]
    assert driver.events == [Monitor("not_authorized", "magic")]


def test_an_unknown_user_gets_the_frames_of_a_known_one() -> None:
    """An unknown user gets replies of the same form after the same work, and always the same salt."""
    seen: dict[str, str] = {}
    for user in ("magic", "nobody", "magic", "nobody"):
        driver = Driver()
        login, challenge = driver.challenge(user, WRONG)
        assert driver.asked_for == [f"decoy for {user}", f"credentials of {user}"]
        salt, iterations = challenge.removeprefix(f"r={login.nonce}{NONCE},s=").split(",i=")
        assert seen.setdefault(user, salt) == salt
        assert (len(salt), iterations) == (24, "4096")
        driver.say(line_of({"id": 2, "op": "auth", "data": login.final(challenge)}))
        assert driver.tick() == [REFUSAL]
    assert seen["magic"] != seen["nobody"]


def test_a_recorded_login_is_refused() -> None:
    first = Driver()
    login, challenge = first.challenge()
    proof = line_of({"id": 2, "op": "auth", "data": login.final(challenge)})
    assert first.say(proof) == []
    assert isinstance(first.events[0], ValidProof)
    again = Driver(nonce="another-nonce-0123456789")
    again.ask("auth", data=login.first)
    (reply,) = again.say(proof)
    assert (reply["ok"], reply["error"]) == (False, "bad_value")
    assert again.session.close_reason is not None
    assert again.events == []


def test_a_proof_without_a_first_message_is_refused() -> None:
    login, challenge = Driver().challenge()
    driver = Driver()
    (reply,) = driver.ask("auth", data=login.final(challenge))
    assert (reply["ok"], reply["error"]) == (False, "bad_value")
    assert driver.session.close_reason is not None
    assert driver.events == []


def test_a_connection_allows_one_try() -> None:
    driver = Driver()
    driver.challenge()
    (reply,) = driver.ask("auth", data=Login("magic", WORD).first)
    assert (reply["ok"], reply["error"]) == (False, "bad_value")
    assert driver.session.state is MonitorState.CLOSING
    assert driver.events == []


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"data": None},
        {"data": 5},
        {"data": ["n,,n=magic,r=abcdefghijklmnop"]},
        {"data": "n,,n=magic,r=abcdefghijklmnop", "mechanism": "PLAIN"},
        {"data": "n,,n=magic,r=abcdefghijklmnop", "mechanism": None},
    ],
)
def test_an_invalid_auth_op_changes_nothing(fields: Frame) -> None:
    driver = Driver()
    (reply,) = driver.ask("auth", **fields)
    assert (reply["ok"], reply["error"]) == (False, "bad_value")
    assert driver.asked_for == []
    driver.log_in()


@pytest.mark.parametrize(
    "data",
    [
        "",
        "nonsense",
        "n,,n=magic",
        "yes,,n=magic,r=abcdefghijklmnop",
        "p=tls-unique,,n=magic,r=abcdefghijklmnop",
        "n,a=root,n=magic,r=abcdefghijklmnop",
        "n,,n=,r=abcdefghijklmnop",
    ],
)
def test_an_invalid_first_message_ends_the_connection(data: str) -> None:
    driver = Driver()
    (reply,) = driver.ask("auth", data=data)
    assert (reply["type"], reply["ok"], reply["error"]) == ("reply", False, "bad_value")
    assert driver.session.state is MonitorState.CLOSING
    assert driver.events == []


def test_a_source_that_must_wait_gets_no_challenge() -> None:
    for wait_s, shown in ((12.4, "12 s"), (0.6, "1 s")):
        driver = Driver()
        driver.waits["magic"] = wait_s
        (reply,) = driver.ask("auth", data=Login("magic", WORD).first)
        assert (reply["ok"], reply["error"]) == (False, "rate")
        assert shown in reply["message"]
        assert driver.session.close_reason is not None
    other = Driver()
    other.waits["magic"] = 12.4
    other.log_in("cookie", COOKIE)


def test_a_proof_is_not_checked_when_others_have_used_up_the_attempts() -> None:
    for secret in (WORD, WRONG):
        driver = Driver()
        proof = driver.final(secret=secret)
        driver.waits["magic"] = 60
        (reply,) = driver.say(proof)
        assert (reply["id"], reply["ok"], reply["error"]) == (2, False, "rate")
        assert driver.events == []
        assert driver.session.state is MonitorState.CLOSING


def test_a_login_without_room_gets_busy() -> None:
    driver = Driver()
    driver.say(driver.final())
    driver.session.fail("busy", "8 monitors are logged in already")
    assert driver.frames() == [{"type": "error", "error": "busy", "message": "8 monitors are logged in already"}]
    assert driver.session.close_reason is not None
    assert driver.session.closed("peer", START) == []


def test_an_ended_connection_is_not_admitted() -> None:
    """A second message in one chunk with the proof ends the connection, which then stays closed."""
    driver = Driver()
    driver.say(driver.final() + line_of({"id": 3, "op": "auth", "data": "nonsense"}))
    for event in driver.events:
        assert isinstance(event, ValidProof)
        driver.session.admit(event, START)
    assert driver.session.state is MonitorState.CLOSING
    driver.events.clear()
    driver.ask("stop")
    assert driver.events == []


def test_ops_after_an_unchecked_proof_are_refused() -> None:
    driver = Driver()
    driver.say(driver.final() + line_of({"id": 3, "op": "stop"}))
    assert [type(event) for event in driver.events] == [ValidProof]


def test_logging_in_twice_is_refused_and_changes_nothing() -> None:
    driver = Driver()
    driver.log_in()
    (reply,) = driver.ask("auth", data=Login("cookie", COOKIE).first)
    assert (reply["ok"], reply["error"]) == (False, "bad_value")
    assert (driver.session.state, driver.session.user) == (MonitorState.AUTHENTICATED, "magic")
