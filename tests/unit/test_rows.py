"""Rows: a slot as a monitor sees it, and lists of slots in frames of limited size."""

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtppseudo.config.settings import Settings
from smtppseudo.monitor.codec import MAX_BYTES_TO_CLIENT
from smtppseudo.monitor.rows import LAST_CHARS, ROWS_PER_FRAME, frames, show, take_rows
from smtppseudo.smtp.dialogue import Dialogue
from smtppseudo.smtp.session import SmtpSession

START = 1_000.0
DIALOGUE = Dialogue(Settings(hostname="mx.example.org"), lambda: True)
HEAD: dict[str, object] = {"type": "reply", "id": 9, "ok": True}


def session(slot: int = 1, *lines: bytes) -> SmtpSession:
    made = SmtpSession(DIALOGUE, 70 + slot, slot, "192.0.2.1", 50_000 + slot, b"220 hello\r\n", START)
    made.data_to_send(START)
    for line in lines:
        made.receive(line + b"\r\n", START)
        made.data_to_send(START)
    return made


def stamp_at(moment: float) -> str:
    return f"at {moment:g}"


def shown(*sessions: SmtpSession, slots: int = 0, now: float = START) -> list[dict[str, object]]:
    return list(show(take_rows(sessions), slots or len(sessions), now, stamp_at))


def read(data: Iterator[bytes]) -> list[dict[str, object]]:
    made = list(data)
    assert all(len(frame) <= MAX_BYTES_TO_CLIENT for frame in made)
    return [json.loads(frame) for frame in made]


def slots_of(frames: list[dict[str, object]]) -> list[object]:
    slots: list[object] = []
    for frame in frames:
        assert isinstance(frame["slots"], list)
        slots += frame["slots"]
    return slots


def test_slots_never_used_are_free() -> None:
    assert shown(slots=2) == [{"slot": 1, "state": "free"}, {"slot": 2, "state": "free"}]


def test_a_session_in_the_tls_handshake_is_open() -> None:
    (row,) = shown(session(1, b"EHLO me", b"STARTTLS"))
    assert (row["state"], row["last"], "reason" in row) == ("open", "STARTTLS", False)


def test_a_session_without_commands() -> None:
    (row,) = shown(session(1), now=START + 1.5)
    assert row == {
        "slot": 1,
        "state": "open",
        "session": 71,
        "ip": "192.0.2.1",
        "port": 50_001,
        "helo": "",
        "mail_from": "",
        "last": "",
        "error": "",
        "commands": 0,
        "connected_at": "at 1000",
        "idle_ms": 1_500,
    }


def test_the_row_of_a_refused_sender() -> None:
    (row,) = shown(session(1, b"HELO mail.example.net", b"MAIL FROM:<a@b>"))
    assert (row["helo"], row["mail_from"], row["last"]) == ("mail.example.net", "<a@b>", "MAIL FROM:<a@b>")
    assert (row["error"], row["commands"]) == ("553 Sender <a@b> is Invalid!", 2)


@pytest.mark.parametrize(
    ("line", "is_error"),
    [(b"NOOP", False), (b"EHLO x", False), (b"XYZZY", True), (b"DATA", True), (b"RCPT TO:<x>", True)],
)
def test_only_4yz_and_5yz_are_errors(line: bytes, is_error: bool) -> None:
    (row,) = shown(session(1, line))
    assert bool(row["error"]) is is_error


def test_the_error_is_that_of_the_last_command() -> None:
    (row,) = shown(session(1, b"XYZZY", b"NOOP"))
    assert (row["last"], row["error"]) == ("NOOP", "")


def test_a_closed_session_shows_its_reason() -> None:
    gone = session(1, b"QUIT")
    gone.closed("quit", START)
    (row,) = shown(gone)
    assert (row["state"], row["reason"], row["last"]) == ("closed", "quit", "QUIT")
    assert "reason" not in shown(session(1))[0]


def test_text_from_a_caller_is_escaped() -> None:
    (row,) = shown(session(1, b'HELO "\\\xff', b'\x1b[31m"\\\xff'))
    assert (row["helo"], row["last"]) == (r'"\\?', r'\x1b[31m"\\\xff')


def test_a_password_is_not_shown() -> None:
    for lines in ([b"AUTH PLAIN c2VjcmV0"], [b"AUTH LOGIN", b"c2VjcmV0"]):
        assert "c2VjcmV0" not in json.dumps(shown(session(1, *lines)))


def test_idle_time_is_never_negative() -> None:
    (row,) = shown(session(1), now=START - 5)
    assert row["idle_ms"] == 0


def test_rows_hold_the_state_at_the_time_they_were_taken() -> None:
    one = session(1, b"HELO before")
    rows = take_rows([one])
    one.receive(b"HELO after\r\n", START)
    one.closed("peer", START)
    (row,) = show(rows, 1, START, stamp_at)
    assert (row["helo"], row["commands"], row["state"]) == ("before", 1, "open")


@pytest.mark.parametrize(
    ("count", "parts"),
    [(0, [0]), (1, [1]), (100, [100]), (101, [100, 1]), (200, [100, 100]), (250, [100, 100, 50])],
)
def test_a_frame_holds_a_hundred_slots(count: int, parts: list[int]) -> None:
    assert ROWS_PER_FRAME == 100
    made = read(frames(HEAD, show([], count, START, stamp_at)))
    assert [len(slots_of([frame])) for frame in made] == parts
    assert [frame["more"] for frame in made] == [True] * (len(parts) - 1) + [False]
    assert slots_of(made) == [{"slot": number, "state": "free"} for number in range(1, count + 1)]


def test_the_head_is_on_each_frame() -> None:
    made = read(frames(HEAD, show([], 300, START, stamp_at)))
    assert [{name: frame[name] for name in HEAD} for frame in made] == [HEAD] * 3


def test_long_rows_take_more_frames() -> None:
    """The longest possible lines, all bytes escaped; the list has only their beginning."""
    line = b"\xff" * 2_046
    sessions = [session(slot, line) for slot in range(1, 251)]
    made = read(frames(HEAD, show(take_rows(sessions), 260, START, stamp_at)))
    assert len(made) > 250 * LAST_CHARS / MAX_BYTES_TO_CLIENT
    assert [frame["more"] for frame in made] == [True] * (len(made) - 1) + [False]
    assert slots_of(made) == list(show(take_rows(sessions), 260, START, stamp_at))
    assert {len(str(row.get("last", ""))) for row in show(take_rows(sessions), 260, START, stamp_at)} == {LAST_CHARS, 0}


rows = st.lists(st.sampled_from([10, 600, 3_000, 20_000, 60_000]), max_size=130)


@given(rows)
def test_a_list_with_rows_of_any_length_is_complete(lengths: list[int]) -> None:
    listed: list[dict[str, object]] = [{"slot": slot, "last": "x" * length} for slot, length in enumerate(lengths, 1)]
    made = read(frames(HEAD, iter(listed)))
    assert [frame["more"] for frame in made] == [True] * (len(made) - 1) + [False]
    assert slots_of(made) == listed


def test_frames_are_rendered_one_by_one() -> None:
    asked: list[int] = []

    def listed() -> Iterator[dict[str, object]]:
        for slot in range(1, 1_001):
            asked.append(slot)
            yield {"slot": slot, "state": "free"}

    made = frames(HEAD, listed())
    assert asked == []
    next(made)
    assert len(asked) <= 2 * ROWS_PER_FRAME
    assert len(list(made)) == 9
