"""How many mails were refused: one for each MAIL that got the refusal of the stage; before MAIL, one a session."""

from typing import Final

import pytest

from smtppseudo.config.settings import Settings
from smtppseudo.events import Closed
from smtppseudo.logread.scan import scan
from smtppseudo.report.report import Report
from smtppseudo.server.counters import Counters
from smtppseudo.smtp.dialogue import Dialogue
from smtppseudo.smtp.session import SmtpSession

NOW: Final = 1000.0
EHLO: Final = b"EHLO x\r\n"
MAIL: Final = b"MAIL FROM:<a@b>\r\n"
RCPT: Final = b"RCPT TO:<c@d>\r\n"
BOTH: Final = MAIL + 3 * RCPT
DATA: Final = b"DATA\r\n"
TEXT: Final = b"Hi\r\n.\r\n"
RSET: Final = b"RSET\r\n"


def play(stage: str, data: bytes, **changed: object) -> SmtpSession:
    """Return a session at a stage that has heard some bytes."""
    settings = Settings(hostname="mx.example.org", reject_at=stage, **changed)  # type: ignore[arg-type]
    session = SmtpSession(Dialogue(settings), 1, 1, "192.0.2.1", 50_000, b"220 x\r\n", NOW)
    session.data_to_send(NOW)
    session.receive(data, NOW)
    return session


@pytest.mark.parametrize(
    ("stage", "data", "count"),
    [
        ("connect", b"", 1),
        ("connect", EHLO + MAIL + MAIL, 1),
        ("helo", b"", 0),
        ("helo", b"QUIT\r\n", 0),
        ("helo", EHLO + MAIL + RCPT + MAIL, 1),
        ("mail", EHLO, 0),
        ("mail", MAIL + RCPT + DATA, 1),
        ("mail", MAIL + MAIL + RSET + MAIL, 3),
        ("mail", b"MAIL FROM\r\nMAIL TO:<a@b>\r\n", 0),  # 501
        ("rcpt", MAIL, 0),
        ("rcpt", BOTH + DATA, 1),
        ("rcpt", BOTH + RSET + BOTH, 2),
        ("rcpt", BOTH + MAIL, 1),  # 503: the sender is given
        ("rcpt", MAIL + b"RCPT x\r\n", 0),  # 501
        ("data", BOTH, 0),
        ("data", BOTH + DATA + DATA, 1),
        ("data", BOTH + DATA + RSET + BOTH + DATA, 2),
        ("message", BOTH + DATA, 0),
        ("message", 2 * (BOTH + DATA + TEXT), 2),
    ],
)
@pytest.mark.parametrize("refusal", ["", "No mail here."])
def test_mails_refused(stage: str, data: bytes, count: int, refusal: str) -> None:
    (*_, closed) = play(stage, data, refusal=refusal).closed("peer", NOW)
    assert isinstance(closed, Closed)
    assert closed.mails_refused == count


def test_a_message_that_is_too_big_is_not_counted_and_accept_mail_refuses_none() -> None:
    for changed in ({"ehlo_keywords": ("SIZE 2",)}, {"accept_mail": True}):
        (*_, closed) = play("message", 2 * (BOTH + DATA + TEXT), **changed).closed("peer", NOW)
        assert isinstance(closed, Closed)
        assert closed.mails_refused == 0


def test_the_counter_of_today_begins_again_on_the_next_day() -> None:
    counters = Counters()
    for day, count in (("2026-11-27", 2), ("2026-11-28", 1)):
        session = play("rcpt", count * (BOTH + RSET))
        session.closed("peer", NOW)
        counters.add_closed(session, NOW, day)
    sums = counters.as_dict("2026-11-28")
    assert sums["mails_refused"] == {"connect": 0, "helo": 0, "mail": 0, "rcpt": 3, "data": 0, "message": 0}
    assert sums["mails_refused_today"] == 1
    assert counters.as_dict("2026-11-29")["mails_refused_today"] == 0


@pytest.mark.parametrize("server", ["", " server=mx1"])
def test_a_report_infers_the_number_only_where_the_log_lacks_it(server: str) -> None:
    at = "2026-11-28T12:00:00.000Z"
    place = "slot=1 session=1 ip=192.0.2.1 port=4001"
    command = f'{at} command {place} data="MAIL FROM:<a@b>" code=553 reply="Sender <a@b> is Invalid!"{server}\n'
    closed = f"{at} closed {place} reason=quit duration_ms=1 received_bytes=2 sent_bytes=3 commands=4"
    old, new = f"{command}{closed}{server}\n", f"{command}{closed} mails_refused=5{server}\n"
    report = Report(("refused",))
    for text in (old, old + new, new):
        rows, damaged = scan(text.encode())
        assert not damaged
        report.add(rows)
    assert report.mails_refused == report.tallies["refused"].total == 2 + 2 * 5
