"""Sessions, for any bytes in any chunks: the same replies and events, within limits, without an exception."""

import itertools
import re
from typing import Final, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from smtppseudo.config.settings import STAGES, Settings
from smtppseudo.events import Closed, Command, Event, Message, unescape
from smtppseudo.smtp.dialogue import Dialogue
from smtppseudo.smtp.lines import LINE_BYTES
from smtppseudo.smtp.session import SmtpSession

REPLY: Final = re.compile(rb"(?:([2-5][0-9][0-9])-[ -~]{0,506}\r\n(?=\1))*([2-5][0-9][0-9]) [ -~]{0,506}\r\n")
GREETING: Final = b"220 hello\r\n"
START: Final = 1000.0

BASE: Final = Settings(hostname="mx.example.org", ehlo_keywords=("SIZE 30", "X-100%"))
MODES: Final = [
    changed
    for enhanced in (False, True)
    for mode in (*(BASE._replace(reject_at=stage) for stage in STAGES), BASE._replace(accept_mail=True))
    for changed in [mode._replace(enhanced_status_codes=enhanced)]
]
DIALOGUES: Final = [Dialogue(mode, has_room) for mode in MODES for has_room in (None, lambda: True, lambda: False)]
TAKING: Final = [Dialogue(mode) for mode in MODES if mode.accept_mail or mode.reject_at == "message"]
TAKING_NOTHING: Final = [Dialogue(mode) for mode in MODES if not mode.accept_mail and mode.reject_at != "message"]
dialogues = st.sampled_from(DIALOGUES) | st.sampled_from(TAKING)

VERBS: Final = b"HELO EHLO MAIL RCPT DATA RSET NOOP HELP VRFY EXPN AUTH ETRN STARTTLS".split()
ARGUMENTS: Final = [
    *(b" ", b" x", b" FROM:<a@b>", b" FROM:", b" TO:<x>"),
    *(b' TO:<"a >b"@c> N=1', b" PLAIN AGEAYg==", b"\t%b{ip}"),
]
TRANSACTION: Final = b"MAIL FROM:<a@b>\r\nRCPT TO:<x>\r\nDATA\r\n"
commands = st.builds(
    lambda verb, argument, end: verb + argument + end,
    st.sampled_from([*VERBS, b"xyzzy", b"hElO", b""]),
    st.sampled_from([b"", *ARGUMENTS]),
    st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r\r\n"]),
)
# Half lines, false ends, lines at the limit
pieces = st.sampled_from(
    [
        *(b"\r", b"\n", b".", b"\0", b"\xff", b"\r\n.\r\n", b"\n.\n", b"\r.\r", b"\r\n.\n", b"\n.\r\n", b"..\r\n"),
        *(TRANSACTION, TRANSACTION + b".\r\n", b".\r\nNOOP\r\n", b"AUTH LOGIN\r\n", b"\r\nQUIT\r\n"),
        *(b"x" * data for data in (9, LINE_BYTES - 1, LINE_BYTES, LINE_BYTES + 1, 3000)),
        *(b"GET / HTTP/1.1\r\n", b"GET /" + b"a" * 3000, b"Host: x\r\n", b"\x16\x03"),
        *(b"x\r\n" * 9, b"x\r\n" * 19, b"RCPT TO:<x>\r\n" * 9),
    ]
)
mails = st.lists(pieces, max_size=3).map(lambda text: TRANSACTION + b"".join(text) + b"\r\n.\r\n")
streams = st.lists(commands | commands | pieces | mails | st.binary(max_size=20), min_size=2, max_size=30).map(b"".join)
places = st.lists(st.integers(0, 1 << 20), max_size=20)


class Played(NamedTuple):
    """The replies and the events of a session."""

    replies: bytes
    events: list[Event]
    session: SmtpSession


def play(dialogue: Dialogue, chunks: list[bytes]) -> Played:
    session = SmtpSession(dialogue, 1, 1, "192.0.2.1", 50_000, GREETING, START)
    replies = session.data_to_send(START)
    events: list[Event] = []
    for chunk in chunks:
        events += session.receive(chunk, START)
        replies += session.data_to_send(START)
        assert held_bytes(session) <= LINE_BYTES
    events += session.closed("peer", START)
    assert session.data_to_send(START) == b""
    return Played(replies, events, session)


def held_bytes(session: SmtpSession) -> int:
    """Count the bytes that a session keeps of the current line or message, and of unsent replies."""
    held = session._held
    return len(session._to_send) + sum(len(getattr(held, name, b"")) for name in ("partial", "_held"))


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % (len(stream) + 1) for place in places} | {0, len(stream)})
    return [stream[start:end] for start, end in itertools.pairwise(ends)]


def by_byte(stream: bytes) -> list[bytes]:
    return [stream[at : at + 1] for at in range(len(stream))]


def unmarked(played: Played) -> list[Event]:
    """Return the events without the fields that depend on the chunks: `pipelined`, and bytes after the end."""
    at_the_end = played.session.close_reason in ("errors", "http")
    events = [event._replace(pipelined=False) if isinstance(event, Command) else event for event in played.events]
    last = len(events) - 2
    if at_the_end and isinstance(event := events[last], Command) and event.truncated_bytes:
        events[last] = event._replace(truncated_bytes=1, eol_lf=True)
    return events


def split_replies(data: bytes) -> list[bytes]:
    """Split the bytes into whole replies; fail if they are not replies."""
    found = []
    at = 0
    while at < len(data):
        match = REPLY.match(data, at)
        assert match is not None, data[at : at + 600]
        assert match[1] in (None, match[2])
        found.append(match[0])
        at = match.end()
    return found


@settings(max_examples=250)
@given(dialogues, streams, places)
def test_chunks_change_neither_replies_nor_events(dialogue: Dialogue, stream: bytes, places: list[int]) -> None:
    whole, odd = play(dialogue, [stream]), play(dialogue, cut(stream, places))
    assert odd.replies == whole.replies
    assert unmarked(odd) == unmarked(whole)
    assert odd.session.state is whole.session.state


@settings(max_examples=60)
@given(dialogues, streams)
def test_byte_by_byte_is_the_same(dialogue: Dialogue, stream: bytes) -> None:
    whole, data = play(dialogue, [stream]), play(dialogue, by_byte(stream))
    assert data.replies == whole.replies
    assert unmarked(data) == unmarked(whole)
    assert not any(isinstance(event, Command) and event.pipelined for event in data.events)


@settings(max_examples=250)
@given(dialogues, streams)
def test_replies_and_events_come_in_pairs_in_order(dialogue: Dialogue, stream: bytes) -> None:
    played = play(dialogue, [stream])
    greeting, *replies = split_replies(played.replies)
    assert greeting == GREETING
    *events, closed = played.events
    for event, reply in zip(events, replies, strict=True):
        assert_answered(event, reply)
    assert isinstance(closed, Closed)
    assert closed.received_bytes == len(stream)
    assert closed.sent_bytes == len(played.replies)
    assert closed.commands == sum(isinstance(event, Command) for event in events)


def assert_answered(event: Event, reply: bytes) -> None:
    if isinstance(event, Message):
        assert reply[:3] in {b"250", b"552", b"554"}
        return
    assert isinstance(event, Command)
    assert len(unescape(event.data)) <= LINE_BYTES
    assert "\n" not in event.data
    said = unescape(event.reply.split("[redacted]")[0])
    assert reply.startswith(said)
    if "[redacted]" not in event.reply:
        assert reply.startswith(unescape(event.reply) + b"\r\n")


@settings(max_examples=250)
@given(st.sampled_from(TAKING_NOTHING), streams)
def test_each_line_gets_one_reply(dialogue: Dialogue, stream: bytes) -> None:
    assert_one_reply_for_each_line(stream, play(dialogue, [stream]))


def assert_one_reply_for_each_line(stream: bytes, played: Played) -> None:
    _, *replies = split_replies(played.replies)
    *lines, rest = stream.split(b"\n")
    lines += [rest] if len(rest.removesuffix(b"\r")) > LINE_BYTES else []
    quits = [number for number, line in enumerate(lines, 1) if is_quit(line)]
    expected = min([len(lines), *quits])
    if played.session.close_reason == "errors":
        assert replies.pop().startswith(b"421 ")
        assert len(replies) < expected
    elif played.session.close_reason in ("http", "tls_in_clear"):
        assert len(replies) <= expected
    else:
        assert len(replies) == expected
        assert (played.session.close_reason == "quit") is bool(quits)
    assert not any(reply.startswith(b"421") for reply in replies)


def is_quit(line: bytes) -> bool:
    return len(line.removesuffix(b"\r")) <= LINE_BYTES and [word.upper() for word in line.split()[:1]] == [b"QUIT"]


@settings(max_examples=100)
@given(dialogues, st.lists(st.tuples(streams, st.floats(0, 40)), max_size=8))
def test_time_ends_a_session_once(dialogue: Dialogue, turns: list[tuple[bytes, float]]) -> None:
    session = SmtpSession(dialogue, 1, 1, "2001:db8::1", 50_000, GREETING, START)
    now, said = START, session.data_to_send(START)
    for data, seconds in turns:
        now += seconds
        due = now >= session.deadline
        if due:
            was_open = session.is_open
            session.tick(now)
            said += session.data_to_send(now)
            assert not session.is_open
            reasons = (
                {"idle", "session"}
                if was_open
                else {"quit", "errors", "tls", "http", "tls_in_clear", "idle", "session"}
            )
            assert session.close_reason in reasons  # tls: bytes in clear text came behind STARTTLS
        session.receive(data, now)
        said += session.data_to_send(now)
        assert session.deadline <= START + dialogue.session_timeout_s
    replies = split_replies(said)
    assert sum(reply.startswith(b"421 ") for reply in replies) <= 1
    assert not any(reply.startswith((b"421 ", b"221 ")) for reply in replies[:-1])
