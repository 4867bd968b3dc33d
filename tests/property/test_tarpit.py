"""The tarpit at any pace: the same bytes in the same order, the same events, and no byte early."""

import itertools
import re
from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st

from smtppseudo.config.settings import Settings
from smtppseudo.events import Closed, Command, Event
from smtppseudo.smtp.dialogue import Dialogue
from smtppseudo.smtp.lines import LINE_BYTES
from smtppseudo.smtp.session import SmtpSession
from smtppseudo.smtp.tarpit import TarpitSession, session_type

GREETING: Final = b"220 hello\r\n"
START: Final = 1000.0
BASE: Final = Settings(hostname="mx.example.org", session_timeout_s=604_800, idle_timeout_s=86_400)

PACES: Final[dict[str, list[Any]]] = {
    "greet_delay_s": [0, 0.1, 3, 60],
    "reply_delay_s": [0, 0.1, 2, 60],
    "stutter_bytes_per_s": [0, 1, 3, 20, 77, 1000],
}
DIALOGUES: Final[list[dict[str, Any]]] = [{}, {"accept_mail": True}, {"reject_at": "helo"}, {"reject_at": "rcpt"}]
paces = st.fixed_dictionaries({name: st.sampled_from(values) for name, values in PACES.items()})
dialogues = st.sampled_from(DIALOGUES)
lines = st.sampled_from(
    [
        *(b"HELO x", b"EHLO x", b"MAIL FROM:<a@b>", b"RCPT TO:<x>", b"DATA", b".", b"NOOP", b"RSET", b"bogus", b""),
        *(b"AUTH PLAIN secret", b"AUTH", b"Text", b"x" * 2049, b"QUIT", b"BDAT 7", b"BDAT 40 LAST"),
    ]
)
streams = st.lists(st.tuples(lines, st.sampled_from([b"\r\n", b"\n", b""])), max_size=40).map(
    lambda parts: b"".join(line + end for line, end in parts)
)
chunks = st.lists(st.tuples(st.integers(1, LINE_BYTES), st.sampled_from([0.0, 0.3, 5, 100])), min_size=1, max_size=30)


class Played:
    """The bytes of a session, the time of each, and the events."""

    def __init__(self) -> None:
        self.data = b""
        self.times: list[float] = []
        self.events: list[Event] = []

    def take(self, data: bytes, now: float) -> None:
        self.data += data
        self.times += [now] * len(data)


def play(values: dict[str, Any], stream: bytes, pieces: list[tuple[int, float]]) -> tuple[Played, SmtpSession, float]:
    """Pass a stream to a session in pieces, each at its time, but as a kernel does only while the session reads."""
    dialogue = Dialogue(BASE._replace(**values))
    session = session_type(dialogue)(dialogue, 1, 1, "192.0.2.1", 50_000, GREETING, START)
    played, now = Played(), START
    played.take(session.data_to_send(now), now)
    for size, wait_s in [*pieces, (len(stream) or 1, 0.0)]:
        now = _pass_time(session, played, now, now + wait_s)
        piece, stream = stream[:size], stream[size:]
        for start in range(0, len(piece), LINE_BYTES):
            while isinstance(session, TarpitSession) and not session.reads:
                now = _pass_time(session, played, now, max(now, session.deadline))
            played.events += session.receive(piece[start : start + LINE_BYTES], now)
            played.take(session.data_to_send(now), now)
    while _has_more(session):
        now = _pass_time(session, played, now, max(now, session.deadline))
    played.events += session.closed("peer", now)
    return played, session, now


def _has_more(session: SmtpSession) -> bool:
    return isinstance(session, TarpitSession) and session.has_more


def _pass_time(session: SmtpSession, played: Played, now: float, until: float) -> float:
    while _has_more(session) and session.deadline <= until:
        now = max(now, session.deadline)
        played.events += session.tick(now)
        played.take(session.data_to_send(now), now)
    return until


def plain(events: list[Event]) -> list[Event]:
    """Return the events without the fields that depend on time."""
    return [_plain(event) for event in events]


def _plain(event: Event) -> Event:
    if isinstance(event, Command):
        return event._replace(pregreet=False, pipelined=False)
    return event._replace(duration_ms=0) if isinstance(event, Closed) else event


@settings(max_examples=250)
@given(dialogues, paces, streams, chunks)
def test_any_pace_sends_the_same_bytes_in_the_same_order(
    dialogue: dict[str, Any], pace: dict[str, Any], stream: bytes, pieces: list[tuple[int, float]]
) -> None:
    assert_same_at_any_pace(dialogue, pace, stream, pieces)


def assert_same_at_any_pace(
    dialogue: dict[str, Any], pace: dict[str, Any], stream: bytes, pieces: list[tuple[int, float]]
) -> None:
    at_once, _, _ = play(dialogue, stream, [(len(stream) or 1, 0.0)])
    paced, session, _ = play(dialogue | pace, stream, pieces)
    assert paced.data == at_once.data
    assert plain(paced.events) == plain(at_once.events)
    assert session.sent_bytes == len(paced.data)
    assert session.received_bytes == len(stream)


@settings(max_examples=150)
@given(dialogues, paces, streams, chunks)
def test_no_byte_is_early(
    dialogue: dict[str, Any], pace: dict[str, Any], stream: bytes, pieces: list[tuple[int, float]]
) -> None:
    played, session, now = play(dialogue | pace, stream, pieces)
    rate = pace["stutter_bytes_per_s"]
    for number, at in enumerate(played.times[: len(GREETING)]):
        assert at >= START + pace["greet_delay_s"] + (number / rate if rate else 0) - 0.002
    ends = [played.times[end.end() - 1] for end in re.finditer(rb"(?m)^\d{3} .*\r\n", played.data)]
    assert all(later - sooner >= pace["reply_delay_s"] - 0.002 for sooner, later in itertools.pairwise(ends))
    delayed_s = session.delayed_s if isinstance(session, TarpitSession) else 0
    assert 0 <= delayed_s <= now - START + 1e-6
