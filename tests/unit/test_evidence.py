"""Evidence: what counts against a caller, and which sessions are hits."""

import pytest

from smtppseudo.blocklist.evidence import LONGEST_SESSION_S, HitFinder, evidence_of
from smtppseudo.config.settings import EVIDENCE, Settings
from smtppseudo.events import escape

USUAL = frozenset(Settings().blocklist_evidence)


def of_command(data: bytes, *, pregreet: bool = False) -> tuple[str, ...]:
    return evidence_of("command", escape(data), "", pregreet=pregreet)


@pytest.mark.parametrize(
    ("data", "kinds"),
    [
        (b"MAIL FROM:<a@b>", ("mail",)),
        (b"  mail\tfrom: a@b", ("mail",)),
        (b"\tMAIL FROM:<a@b>", ("mail",)),
        (b"MAIL", ("mail",)),
        (b"MAIL FROM:<>", ("bounce",)),
        (b"mail  From: <> SIZE=9", ("bounce",)),
        (b"MAIL\x0bFROM:\t<>", ("bounce",)),
        (b"MAIL FROM:< >", ("mail",)),
        (b"MAIL FROM:<a@b> X=<>", ("mail",)),
        (b"RCPT TO:<x>", ("rcpt",)),
        (b"DATA", ("data",)),
        (b"AUTH PLAIN [redacted]", ("auth",)),
        (b"auth", ("auth",)),
        (b"MAILX FROM:<a@b>", ()),
        (b"EHLO MAIL", ()),
        (b"[redacted]", ()),
        (b"QUIT", ()),
        (b"\\x09MAIL FROM:<a@b>", ()),
        (b"\xffMAIL", ()),
        (b"", ()),
        (b"MAIL / HTTP/1.1", ()),
        (b"mail\t /" + b"a" * 3000, ()),
        (b"RCPT http://x/ HTTP/1.0", ()),
        (b"DATA * HTTP/1.1", ()),
        (b"AUTH[redacted]", ()),
        (b"MAIL FROM:</>", ("mail",)),
        (b"AUTH [redacted]", ("auth",)),
        (b"MAIL FROM:<a@b> HTTP/1.1", ("mail",)),  # else a spammer could write this
    ],
)
def test_evidence_of_a_command(data: bytes, kinds: tuple[str, ...]) -> None:
    assert of_command(data) == kinds
    assert of_command(data, pregreet=True) == (*kinds, "pregreet")


def test_evidence_of_other_events() -> None:
    assert evidence_of("connected", "", "", pregreet=False) == ("connected",)
    assert evidence_of("closed", "", "errors", pregreet=False) == ("errors",)
    for event, reason in (("closed", "quit"), ("refused", "client"), ("message", ""), ("error", "")):
        assert evidence_of(event, "MAIL FROM:<a@b>", reason, pregreet=False) == ()


def test_every_kind_of_evidence_can_occur() -> None:
    found = {
        kind
        for data in (b"MAIL", b"MAIL FROM:<>", b"RCPT", b"DATA", b"AUTH")
        for kind in of_command(data, pregreet=True)
    }
    assert found | {"errors", "connected"} == set(EVIDENCE)


def test_default_ignores_frequent_acts_of_honest_senders() -> None:
    """A bounce, a callout, and a sender that retries for days because it got 521 or 421 instead of a greeting."""
    sessions = HitFinder(USUAL)
    for number in range(100):
        for event, data in (
            ("connected", b""),
            ("command", b"EHLO mx.example.com"),
            ("command", b"MAIL FROM:<>"),
            ("command", b"RCPT TO:<x@example.org>"),
            ("command", b"DATA"),
            ("command", b"QUIT"),
            ("closed", b""),
        ):
            evidence = evidence_of(event, escape(data), "quit", pregreet=False)
            assert not sessions.is_hit(number, event, evidence, 1_000 + number)


def hits(sessions: HitFinder, *events: tuple[object, str, tuple[str, ...], int]) -> list[int]:
    return [at for key, event, evidence, at in events if sessions.is_hit(key, event, evidence, at)]


def test_session_is_one_hit_at_its_first_evidence() -> None:
    events = [
        (1, "connected", ("connected",), 10),
        (1, "command", ("rcpt",), 11),
        (1, "command", ("mail",), 12),
        (1, "command", ("auth",), 13),
        (1, "closed", ("errors",), 14),
    ]
    assert hits(HitFinder(USUAL), *events) == [12]
    assert hits(HitFinder(frozenset({"connected"})), *events) == [10]
    assert hits(HitFinder(frozenset({"errors"})), *events) == [14]


def test_keys_distinguish_sessions() -> None:
    mail = ("mail",)
    assert hits(HitFinder(USUAL), (1, "command", mail, 1), (2, "command", mail, 2), (1, "command", mail, 3)) == [1, 2]
    closed = [(1, "command", mail, 1), (1, "closed", (), 2), (1, "command", mail, 3)]
    assert hits(HitFinder(USUAL), *closed) == [1, 3]
    another_run = [(1, "command", mail, 1), (1, "connected", ("connected",), 2), (1, "command", mail, 3)]
    assert hits(HitFinder(USUAL), *another_run) == [1, 3]


def test_key_after_the_longest_session_is_another_session() -> None:
    sessions = HitFinder(USUAL)
    mail = ("mail",)
    week = LONGEST_SESSION_S
    assert hits(sessions, (1, "command", mail, 0), (1, "command", mail, week), (1, "command", mail, week + 1)) == [
        0,
        week + 1,
    ]


def test_remembered_sessions_are_limited() -> None:
    sessions = HitFinder(USUAL, open_max=10)
    for key in range(5_000):
        assert sessions.is_hit(key, "command", ("mail",), key)
    assert len(sessions._counted_at) <= 10
    assert not sessions.is_hit(4_999, "command", ("mail",), 5_000)
