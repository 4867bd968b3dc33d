"""The machine of the tarpit: when each byte is due, which commands wait, and what is counted."""

from collections.abc import Sequence
from typing import Final

import pytest

from smtppseudo.config.settings import Settings
from smtppseudo.events import Closed, Command, Event
from smtppseudo.smtp import session as session_module
from smtppseudo.smtp.dialogue import Dialogue
from smtppseudo.smtp.lines import LINE_BYTES
from smtppseudo.smtp.session import SmtpSession
from smtppseudo.smtp.tarpit import TarpitSession, session_type

START: Final = 1000.0
GREETING: Final = b"220 hello\r\n"
OK: Final = b"250 OK\r\n"


def begin(
    greet_delay_s: float = 0,
    reply_delay_s: float = 0,
    stutter_bytes_per_s: int = 0,
    settings: Settings | None = None,
    greeting: bytes = GREETING,
) -> TarpitSession:
    settings = (settings or Settings(hostname="mx.example.org"))._replace(
        greet_delay_s=greet_delay_s, reply_delay_s=reply_delay_s, stutter_bytes_per_s=stutter_bytes_per_s
    )
    dialogue = Dialogue(settings, lambda: True)  # with STARTTLS
    return TarpitSession(dialogue, 7, 3, "192.0.2.1", 50_000, greeting, START)


def run_until_quiet(session: TarpitSession, now: float) -> tuple[bytes, float, list[Event]]:
    """Handle every deadline until nothing more is due; return the bytes, the time of the last, and the events."""
    said, events = session.data_to_send(now), list[Event]()
    while session.has_more:
        now = max(now, session.deadline)
        events += session.tick(now)
        said += session.data_to_send(now)
    return said, now, events


def greeted(session: TarpitSession) -> float:
    said, now, _ = run_until_quiet(session, START)
    assert said == GREETING
    return now


def closed(session: TarpitSession, now: float) -> Closed:
    *_, last = session.closed("peer", now)
    assert isinstance(last, Closed)
    return last


def test_a_dialogue_with_a_pace_gets_a_tarpit_session() -> None:
    assert session_type(Dialogue(Settings())) is SmtpSession
    for settings in (Settings(greet_delay_s=1), Settings(reply_delay_s=1), Settings(stutter_bytes_per_s=1)):
        dialogue = Dialogue(settings)
        assert session_type(dialogue) is TarpitSession
        assert session_type(dialogue.at_once) is SmtpSession


@pytest.mark.parametrize("rate", [1, 3, 7, 19])
def test_each_byte_is_due_at_its_time_and_not_before(rate: int) -> None:
    session = begin(stutter_bytes_per_s=rate)
    assert session.data_to_send(START) == GREETING[:1]
    for number in range(1, len(GREETING)):
        assert session.has_more
        assert session.deadline == pytest.approx(START + number / rate)
        session.tick(session.deadline - 0.01 / rate)
        assert session.data_to_send(session.deadline - 0.01 / rate) == b""
        assert session.data_to_send(session.deadline + 1e-9) == GREETING[number : number + 1]
    assert not session.has_more


def test_a_late_call_returns_all_bytes_that_are_due() -> None:
    session = begin(stutter_bytes_per_s=2)
    assert session.data_to_send(START + 2.6) == GREETING[:6]
    assert session.deadline == START + 3
    assert session.data_to_send(START + 60) == GREETING[6:]


def test_at_a_fast_pace_several_bytes_are_due_together() -> None:
    session = begin(stutter_bytes_per_s=100, greeting=b"220 " + b"x" * 194 + b"\r\n")
    counts = [len(session.data_to_send(START + 0.05 * tick + 1e-6)) for tick in range(40)]
    assert counts == [1, *[5] * 39]
    assert len(session.data_to_send(START + 2)) == 4
    assert not session.has_more


def test_a_delay_applies_to_the_greeting_and_each_reply() -> None:
    session = begin(greet_delay_s=10, reply_delay_s=2)
    assert (session.data_to_send(START), session.deadline, session.has_more) == (b"", START + 10, True)
    assert session.data_to_send(START + 9.99) == b""
    assert session.data_to_send(START + 10) == GREETING
    session.receive(b"NOOP\r\nNOOP\r\n", START + 11)
    assert session.deadline == START + 13
    assert session.data_to_send(START + 13) == OK
    assert session.tick(START + 13.05) == [Command("NOOP", "250 OK", pipelined=True)]
    assert session.data_to_send(START + 15) == b""
    assert session.data_to_send(START + 15.05) == OK


def test_a_greeting_delay_alone_does_not_delay_replies() -> None:
    session = begin(greet_delay_s=5)
    now = greeted(session)
    events = session.receive(b"NOOP\r\nNOOP\r\nNOOP\r\n", now)
    assert session.data_to_send(now) == OK * 3
    assert not session.has_more
    assert [event.pipelined for event in events if isinstance(event, Command)] == [False, True, True]


def test_commands_before_the_greeting_are_marked_and_processed_in_order() -> None:
    session = begin(greet_delay_s=5, reply_delay_s=1)
    assert not session.receive(b"HELO x\r\nNOOP\r\nRS", START + 1)
    assert session.said is None
    said, now, events = run_until_quiet(session, START + 1)
    assert said.startswith(GREETING + b"250 Hello x")
    assert said.endswith(OK)
    marks = [(event.data, event.pregreet, event.pipelined) for event in events if isinstance(event, Command)]
    assert marks == [("HELO x", True, True), ("NOOP", True, True)]
    (rest,) = session.receive(b"ET\r\n", now)
    assert isinstance(rest, Command)
    assert (rest.data, rest.pregreet, rest.pipelined) == ("RSET", True, True)
    run_until_quiet(session, now)
    assert session.receive(b"NOOP\r\n", now + 10) == [Command("NOOP", "250 OK")]


def test_a_command_during_a_reply_is_marked_as_pipelined() -> None:
    session = begin(stutter_bytes_per_s=1)
    now = greeted(session)
    assert session.receive(b"NOOP\r\n", now) == [Command("NOOP", "250 OK")]
    session.data_to_send(now + 6)
    assert not session.receive(b"RSET\r\n", now + 6.5)
    _, now, events = run_until_quiet(session, now + 6.5)
    assert events == [Command("RSET", "250 Reset state.", pipelined=True)]
    assert session.receive(b"NOOP\r\n", now) == [Command("NOOP", "250 OK")]


def test_one_read_is_accepted_during_a_reply() -> None:
    session = begin(greet_delay_s=5)
    reads = [session.reads]
    session.receive(b"x" * LINE_BYTES, START)
    reads.append(session.reads)
    _, _, events = run_until_quiet(session, START + 5)
    assert (*reads, session.reads, events) == (True, False, True, [])


def test_an_early_line_that_is_too_long_is_marked_too() -> None:
    session = begin(greet_delay_s=5, reply_delay_s=1)
    session.receive(b"x" * (LINE_BYTES + 2), START)
    _, now, _ = run_until_quiet(session, START)
    (event,) = session.receive(b"y\n", now)
    assert isinstance(event, Command)
    assert (event.pregreet, event.pipelined, event.truncated_bytes) == (True, True, 3)


def test_the_idle_clock_stops_during_a_reply() -> None:
    session = begin(stutter_bytes_per_s=1, settings=Settings(idle_timeout_s=5))
    now = greeted(session)
    assert now == START + len(GREETING) - 1
    assert session.deadline == now + 5
    session.tick(now + 4.9)
    assert session.is_open
    session.tick(now + 5)
    assert closed(session, now + 5).reason == "idle"


@pytest.mark.parametrize("reason", ["session", "evicted", "shutdown", "stopped"])
def test_end_sends_the_rest_of_the_reply_and_the_farewell_at_once(reason: str) -> None:
    session = begin(stutter_bytes_per_s=1)
    session.data_to_send(START + 3)
    session.receive(b"NOOP\r\n", START + 3)
    session.end(reason)  # type: ignore[arg-type]
    said = session.data_to_send(START + 3)
    assert said.startswith(GREETING[4:] + b"421 ")
    assert said.endswith(b"\r\n")
    assert not session.has_more
    last = closed(session, START + 3)
    assert (last.reason, last.received_bytes, last.sent_bytes) == (reason, 6, len(said) + 4)


def test_the_session_timeout_ends_a_reply() -> None:
    session = begin(stutter_bytes_per_s=1, settings=Settings(session_timeout_s=5))
    session.data_to_send(START + 4)
    assert session.deadline == START + 5
    assert session.data_to_send(START + 5) == b""
    session.tick(START + 5)
    assert session.data_to_send(START + 5) == GREETING[5:] + b"421 Session timed out\r\n"


def test_data_after_quit_is_ignored_and_does_not_delay_its_reply() -> None:
    session = begin(reply_delay_s=2)
    session.data_to_send(START)
    session.receive(b"QUIT\r\nNOOP\r\n", START)
    session.receive(b"NOOP\r\n", START + 1)
    assert session.data_to_send(START + 2) == b"221 Server Disconnecting\r\n"
    assert not session.has_more
    assert closed(session, START + 2).received_bytes == 18


@pytest.mark.parametrize("behind", [b"", b"RSET\r\n", b"R", b"\n"])
@pytest.mark.parametrize("when", ["in one piece", "during the greeting", "during the reply to STARTTLS"])
def test_starttls_followed_by_clear_text_leads_to_no_handshake(behind: bytes, when: str) -> None:
    """RFC 3207 section 6; the sender of these bytes hopes for a reply under TLS (CVE-2011-0411)."""
    session = begin(greet_delay_s=2, reply_delay_s=2)
    now = START if when == "during the greeting" else greeted(session)
    if when == "during the reply to STARTTLS":
        session.receive(b"STARTTLS\r\n", now)
        if behind:
            session.receive(behind, now + 1)
    else:
        session.receive(b"STARTTLS\r\n" + behind, now)
    said, now, _ = run_until_quiet(session, now)
    assert said.endswith(b"220 Ready to start TLS\r\n")
    assert session.awaits_tls is (behind == b"")
    assert session.close_reason == "tls"
    assert not session.receive(b"NOOP\r\n", now)
    assert not session.awaits_tls
    assert closed(session, now).received_bytes == len(b"STARTTLS\r\n" + behind + b"NOOP\r\n")


def test_stop_delaying_makes_the_rest_and_later_replies_due_at_once() -> None:
    session = begin(greet_delay_s=3, reply_delay_s=3, stutter_bytes_per_s=1)
    assert session.data_to_send(START + 5) == GREETING[:3]
    session.receive(b"NOOP\r\nNOOP\r\n", START + 5)
    session.stop_delaying()
    assert session.deadline <= START + 5
    said, now, events = run_until_quiet(session, START + 5)
    assert (said, now, len(events)) == (GREETING[3:] + OK * 2, START + 5, 2)


def test_flushed_restarts_the_idle_clock_only_after_a_whole_reply() -> None:
    session = begin(stutter_bytes_per_s=1)
    session.data_to_send(START + 2)
    session.flushed(START + 2)
    assert session.idle_since == START
    _, now, _ = run_until_quiet(session, START + 2)
    session.flushed(now + 5)
    assert session.idle_since == now + 5


def test_the_delay_of_each_reply_is_counted() -> None:
    session = begin(greet_delay_s=10, reply_delay_s=2, stutter_bytes_per_s=1)
    now = greeted(session)
    waited_s = 10 + len(GREETING) - 1
    assert session.delayed_s == waited_s
    session.receive(b"NOOP\r\n", now + 100)
    run_until_quiet(session, now + 100)
    assert session.delayed_s == waited_s + 2 + len(OK) - 1
    session.receive(b"NOOP\r\n", now + 200)
    last = closed(session, now + 204)
    assert session.delayed_s == waited_s + 2 + len(OK) - 1 + 4
    assert last.sent_bytes == len(GREETING) + len(OK)


def test_the_sent_part_of_an_unfinished_reply_is_counted() -> None:
    session = begin(stutter_bytes_per_s=1)
    session.data_to_send(START + 4)
    last = closed(session, START + 4)
    assert (last.sent_bytes, session.delayed_s) == (5, 4)


def test_next_part_returns_the_counted_bytes_of_a_reply_that_goes_on() -> None:
    session = begin(stutter_bytes_per_s=2)
    assert session.seconds_per_byte == 0
    assert session.data_to_send(START) == GREETING[:1]
    assert session.seconds_per_byte == 0.5
    given = 1
    while part := session.next_part(3, START):
        assert part == GREETING[given : given + 3]
        given += 3
        assert session.deadline == START + given / 2
    assert given < len(GREETING) <= given + 3
    assert session.data_to_send(START + 60) == GREETING[given:]
    assert session.seconds_per_byte == 0


def test_next_part_leaves_the_last_byte_to_data_to_send() -> None:
    session = begin(stutter_bytes_per_s=1)
    session.data_to_send(START)
    assert session.next_part(len(GREETING) - 1, START) == b""
    assert session.next_part(len(GREETING) - 2, START) == GREETING[1:-1]
    assert session.data_to_send(START + len(GREETING)) == GREETING[-1:]


def test_next_part_returns_nothing_when_the_session_is_over() -> None:
    session = begin(stutter_bytes_per_s=1, settings=Settings(session_timeout_s=5))
    session.data_to_send(START)
    assert session.next_part(1, START + 4.9) == GREETING[1:2]
    assert session.next_part(1, START + 5) == b""


def test_a_reply_that_stops_being_delayed_counts_as_delayed_until_then() -> None:
    session = begin(stutter_bytes_per_s=1)
    session.data_to_send(START + 3)
    session.stop_delaying()
    assert session.seconds_per_byte == 0
    assert session.data_to_send(START + 3.5) == GREETING[4:]
    assert session.delayed_s == 3.5


def test_a_close_while_idle_adds_no_delay() -> None:
    session = begin(reply_delay_s=2)
    now = greeted(session)
    delayed_s = session.delayed_s
    session.closed("peer", now + 60)
    assert session.delayed_s == delayed_s


def test_early_bytes_that_are_never_processed_count_as_received() -> None:
    session = begin(greet_delay_s=5)
    session.receive(b"NOOP\r\nNO", START)
    assert closed(session, START + 1).received_bytes == 8


def test_an_unfinished_command_does_not_restart_the_idle_clock() -> None:
    session = begin(reply_delay_s=1)
    now = greeted(session)
    session.receive(b"NO", now + 3)
    assert session.idle_since == now


def test_the_lines_of_a_message_are_processed_at_once() -> None:
    session = begin(reply_delay_s=1, settings=Settings(accept_mail=True))
    now = greeted(session)
    session.receive(b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n", now)
    _, now, _ = run_until_quiet(session, now)
    session.receive(b"one\r\ntwo\r\nthree\r\n", now)
    assert (session.reads, session.has_more) == (True, False)


@pytest.mark.skipif(not session_module.__file__.endswith(".py"), reason="a compiled class calls its methods directly")
@pytest.mark.parametrize(
    ("commands", "end"),
    [(b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n", b"\r\n.\r\n"), (b"BDAT 2050\r\n", b"\n\n")],
)
def test_a_message_of_empty_lines_is_taken_as_a_whole(
    commands: bytes, end: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = begin(reply_delay_s=1, settings=Settings(accept_mail=True))
    session.receive(commands, greeted(session))
    _, now, _ = run_until_quiet(session, START)
    parts: list[bytes] = []
    receive = SmtpSession.receive

    def note_and_receive(session: SmtpSession, data: bytes, now: float) -> Sequence[Event]:
        parts.append(data)
        return receive(session, data, now)

    monkeypatch.setattr(SmtpSession, "receive", note_and_receive)
    session.receive(b"\n" * LINE_BYTES, now)
    session.receive(end + b"NOOP\r\n", now)
    assert parts[:2] == [b"\n" * LINE_BYTES, end]
    *_, last = run_until_quiet(session, now)[0].splitlines()
    assert last == b"250 OK"


def test_idle_time_is_not_counted_as_delay() -> None:
    session = begin(reply_delay_s=2, stutter_bytes_per_s=1000)
    _, now, _ = run_until_quiet(session, START)
    waited = session.delayed_s
    session.tick(now + 600)
    session.data_to_send(now + 600)
    session.closed("idle", now + 600)
    assert session.delayed_s == waited > 0
