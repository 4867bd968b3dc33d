"""What a session and a source may log, over real sockets: neither can hide from the log, nor use it up."""

import re
from collections import Counter
from collections.abc import Sequence

import pytest

from smtppseudo.events import Closed, Command, Connected, Error, Event, Message, TurnedAway
from smtppseudo.monitor.status import Status
from smtppseudo.smtp.session import SmtpSession
from tests.conftest import MakeInside
from tests.inside import Inside
from tests.running import matching

BINARY = b"NOOP " + b"\xff" * 2_000 + b"\r\n"
HIDDEN = b"AUTH PLAIN x\r\n" * 17 + b"MAIL FROM:<a@b>\r\n" * 49 + b"MAIL FROM:<>\r\n"
ATTACKER, OTHER = "127.0.0.5", "127.0.0.6"
SMALL_LOG = {"log_max_bytes_per_day": 64 * 8_192, "limit_exempt": []}  # a share is 8 KiB
QUIET = {"quiet_timeout_s": 0}


def commands_heard(server: Inside) -> list[str]:
    """Return the verbs of all commands that the kept block list would hear, as they come."""
    heard: list[str] = []

    def hear(session: SmtpSession, events: Sequence[Event]) -> None:
        heard.extend(event.data[:4] for event in events if isinstance(event, Command))

    server.server.recorder.on_session_events = hear
    return heard


def logged(server: Inside) -> Counter[str]:
    return Counter(event.data[:4] for event in server.events(Command))


def play(server: Inside, data: bytes, source: str | None = None) -> None:
    """Send everything in one session, and quit."""
    client = server.greeted(source)
    client.sock.sendall(data + b"QUIT\r\n")
    client.rest()
    server.turn_until(lambda: not server.server.reception.slots.in_use, "closed")


def test_binary_bytes_use_up_no_more_of_the_share_than_others(inside: MakeInside) -> None:
    server = inside(**QUIET)
    play(server, BINARY * 9 + HIDDEN)
    assert logged(server) == {"NOOP": 9, "AUTH": 17, "MAIL": 50, "QUIT": 1}
    assert [closed.not_logged for closed in server.events(Closed)] == [0]


@pytest.mark.parametrize(
    ("noise", "said"),
    [
        (BINARY * 40, HIDDEN),
        ((b"RCPT TO:<" + b"x" * 2_000 + b">\r\n") * 40, HIDDEN),
        ((b"x" * 4_000 + b"\r\n") * 18, b"AUTH PLAIN x\r\nMAIL FROM:<a@b>\r\nMAIL FROM:<>\r\nMAIL FROM:<a@b>\r\n"),
    ],
)
def test_first_evidence_is_logged_whatever_came_before_and_the_list_hears_all(
    inside: MakeInside, noise: bytes, said: bytes
) -> None:
    server = inside(**QUIET)
    heard = commands_heard(server)
    play(server, noise + said)
    counts = logged(server)
    (closed,) = server.events(Closed)
    assert (counts["AUTH"], counts["MAIL"], heard.count("MAIL")) == (1, 2, said.count(b"MAIL"))
    assert closed.commands == len(heard) == counts.total() + closed.not_logged
    assert counts["NOOP"] + counts["RCPT"] + counts["xxxx"] < 35


def test_evidence_above_the_share_is_cut(inside: MakeInside) -> None:
    server = inside(**QUIET)
    play(server, BINARY * 40 + b"MAIL FROM:<" + b"\xff" * 1_000 + b">\r\n")
    (mail,) = [event for event in server.events(Command) if event.data.startswith("MAIL")]
    assert mail.data == "MAIL FROM:<" + "\\xff" * 117
    assert mail.truncated_bytes == 1_012 - 128


def test_messages_use_up_nothing_of_the_share(inside: MakeInside) -> None:
    server = inside(accept_mail=True, **QUIET)
    envelope = b"MAIL FROM:<a@b>\r\nRCPT TO:<x>\r\nDATA\r\n"
    play(server, (envelope + (b"x" * 998 + b"\r\n") * 200 + b".\r\n") * 3)
    assert len(server.events(Message)) == logged(server)["MAIL"] == 3


def test_above_the_share_of_the_session_nothing_is_logged_without_data_events(inside: MakeInside) -> None:
    server = inside(log_data_events=False, **QUIET)
    play(server, BINARY * 40 + HIDDEN)
    assert server.events(Command) == []


def use_up_share(server: Inside) -> None:
    while not server.server.recorder.shares.above:
        play(server, b"NOOP " + b"x" * 500 + b"\r\n", ATTACKER)


def test_a_source_above_its_share_is_logged_in_short_then_counted(inside: MakeInside) -> None:
    server = inside(**SMALL_LOG, **QUIET)
    heard = commands_heard(server)
    use_up_share(server)
    (told,) = server.events(Error)
    assert told.message.startswith(f"{ATTACKER} used its share of the day's log")
    before = len(server.records())
    for _ in range(103):
        play(server, b"NOOP\r\nMAIL FROM:<a@b>\r\nMAIL FROM:<c@d>\r\n", ATTACKER)
    new = server.records()[before:]
    assert [len(matching(new, kind)) for kind in (Connected, Command, Closed)] == [100, 100, 100]
    assert {event.data for event in server.events(Command)[-100:]} == {"MAIL FROM:<a@b>"}
    assert {closed.not_logged for closed in server.events(Closed)[-100:]} == {3}
    assert heard.count("MAIL") == 206
    play(server, b"NOOP\r\n", OTHER)
    assert [record.ip for record in server.records(Connected)][-1] == OTHER
    assert logged(server)["QUIT"] == len(server.events(Connected)) - 100

    assert server.server.counters()["not_logged"] == 3

    server.advance(3_600)
    play(server, b"MAIL FROM:<a@b>\r\n", ATTACKER)
    assert server.records(Connected)[-1].ip == ATTACKER


def test_shares_begin_again_with_the_day(inside: MakeInside) -> None:
    server = inside(**SMALL_LOG, **QUIET)
    use_up_share(server)
    server.advance(86_400)
    play(server, b"NOOP x\r\n", ATTACKER)
    assert [event.data for event in server.events(Command)[-2:]] == ["NOOP x", "QUIT"]


def test_exempt_networks_have_no_share(inside: MakeInside) -> None:
    server = inside(log_max_bytes_per_day=64 * 8_192, **QUIET)
    for _ in range(60):
        play(server, b"NOOP " + b"x" * 500 + b"\r\n", ATTACKER)
    assert not server.server.recorder.shares.above
    assert logged(server)["NOOP"] == 60


def test_callers_turned_away_above_their_share_are_summed_up_together(inside: MakeInside) -> None:
    server = inside(**SMALL_LOG, **QUIET, slots_per_client=1)
    use_up_share(server)
    held = server.greeted(ATTACKER)
    for _ in range(3):
        server.connect(ATTACKER).expect("421")
    server.advance(1.1)
    held.close()
    (away,) = server.records(TurnedAway)
    assert (away.ip, away.event) == ("", TurnedAway("client", 3))


def test_log_status_and_metrics_say_when_the_space_of_the_day_runs_short(inside: MakeInside) -> None:
    server = inside(log_max_bytes_per_day=20_000, **QUIET)
    assert Status.from_fields(server.server.status()).log_used < 0.1
    for _ in range(35):
        play(server, b"NOOP " + b"x" * 60 + b"\r\n")
        server.advance(1.1)
    used = Status.from_fields(server.server.status()).log_used
    assert 0.75 < used <= 1
    (told,) = server.events(Error)
    assert re.fullmatch(r"\d\d% of log_max_bytes_per_day are used", told.message)
