"""The prober: what it sends after each reply, and its verdict."""

import pytest

from smtppseudo.smtp.prober import Probe, Prober, Verdict

PROBE = Probe("me.test", "<a@b.test>", "<c@d.test>")


def play(probe: Probe, *turns: tuple[bytes, bytes]) -> Prober:
    """Receive the server's bytes of each turn, and compare what the prober sends."""
    prober = Prober(probe)
    for data, said in turns:
        prober.receive(data)
        assert prober.data_to_send() == said
    return prober


def test_the_prober_goes_as_far_as_data() -> None:
    prober = play(
        PROBE,
        (b"220 hello\r\n", b"EHLO me.test\r\n"),
        (b"250-hello\r\n", b""),
        (b"250 SIZE\r\n", b"MAIL FROM:<a@b.test>\r\n"),
        (b"250 ok\r\n", b"RCPT TO:<c@d.test>\r\n"),
        (b"250 ok\r\n", b"DATA\r\n"),
        (b"354 go\r\n", b""),
    )
    assert prober.verdict is Verdict.ACCEPTED
    assert not prober.awaits_reply


def test_the_dialogue_is_recorded_line_by_line() -> None:
    prober = play(PROBE, (b"220-x\r\n220 y\r\n", b"EHLO me.test\r\n"), (b"550 no\r\n", b"HELO me.test\r\n"))
    assert prober.dialogue == [
        ("S", b"220-x"),
        ("S", b"220 y"),
        ("C", b"EHLO me.test"),
        ("S", b"550 no"),
        ("C", b"HELO me.test"),
    ]


def test_replies_may_come_byte_by_byte() -> None:
    prober = play(PROBE._replace(helo=True), (b"220 x\r\n", b"HELO me.test\r\n"))
    for byte in b"250-x\r\n250 y\r\n":
        assert prober.data_to_send() == b""
        prober.receive(bytes([byte]))
    assert prober.data_to_send() == b"MAIL FROM:<a@b.test>\r\n"


def test_ehlo_refused_is_followed_by_helo() -> None:
    prober = play(PROBE, (b"220 x\r\n", b"EHLO me.test\r\n"), (b"502 what\r\n", b"HELO me.test\r\n"))
    prober.receive(b"550 no\r\n")
    assert prober.verdict is Verdict.REFUSED
    assert prober.data_to_send() == b"QUIT\r\n"


def test_the_first_refusal_of_pipelined_commands_decides() -> None:
    at_once = b"MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n"
    prober = play(PROBE._replace(pipeline=True), (b"220 x\r\n", b"EHLO me.test\r\n"), (b"250 x\r\n", at_once))
    prober.receive(b"250 ok\r\n450 later\r\n554 no\r\n")
    assert prober.verdict is Verdict.DEFERRED
    assert prober.data_to_send() == b"QUIT\r\n"
    assert prober.awaits_reply
    prober.receive(b"221 bye\r\n")
    assert not prober.awaits_reply


STARTS_TLS = ((b"220 x\r\n", b"EHLO me.test\r\n"), (b"250-x\r\n250 STARTTLS\r\n", b"MAIL FROM:<a@b.test>\r\n"))


def test_a_server_that_demands_tls_gets_it() -> None:
    prober = play(PROBE, *STARTS_TLS, (b"530 TLS first\r\n", b"STARTTLS\r\n"))
    prober.receive(b"220 go\r\n250 this was not under TLS\r\n")
    assert prober.wants_tls
    prober.begin_again()
    assert prober.data_to_send() == b"EHLO me.test\r\n"
    prober.receive(b"250-x\r\n250 STARTTLS\r\n")
    assert prober.data_to_send() == b"MAIL FROM:<a@b.test>\r\n"
    prober.receive(b"530 again\r\n")
    assert (prober.verdict, prober.wants_tls) == (Verdict.REFUSED, False)


def test_pipelined_commands_wait_for_tls() -> None:
    at_once = b"MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n"
    ehlo, (offer, _) = STARTS_TLS
    prober = play(PROBE._replace(pipeline=True), ehlo, (offer, at_once))
    prober.receive(b"530 TLS first\r\n503 no\r\n503 no\r\n454 not now\r\n")
    assert prober.verdict is Verdict.DEFERRED


def test_a_server_that_demands_tls_and_offers_none_refuses() -> None:
    prober = play(PROBE, STARTS_TLS[0], (b"250 x\r\n", b"MAIL FROM:<a@b.test>\r\n"))
    prober.receive(b"530 authenticate\r\n")
    assert prober.verdict is Verdict.REFUSED


@pytest.mark.parametrize(("greeting", "verdict"), [(b"554 no\r\n", Verdict.REFUSED), (b"421\r\n", Verdict.DEFERRED)])
def test_a_greeting_can_decide(greeting: bytes, verdict: Verdict) -> None:
    prober = Prober(PROBE)
    prober.receive(greeting)
    assert (prober.verdict, prober.violation) == (verdict, "")


@pytest.mark.parametrize(
    "line", [b"SSH-2.0-x", b"", b"x", b"22", b"2200 x", b"1220 x", b"199 x", b"600 x", b"220\tx", b"\xb2\xb2\xb2 x"]
)
@pytest.mark.parametrize("before", [b"", b"220-x\r\n", b"220 x\r\n"])
def test_a_line_that_is_no_reply_is_a_violation(before: bytes, line: bytes) -> None:
    prober = Prober(PROBE)
    prober.receive(before + line + b"\r\n" + b"354 go\r\n" * 9)
    assert prober.violation == "a line is no SMTP reply"
    assert prober.verdict is None
    assert prober.dialogue[-1] == ("S", line)


def test_a_reply_of_more_than_100_lines_is_a_violation() -> None:
    longest = b"220-more\r\n" * 99 + b"220 end\r\n"
    prober = play(PROBE, (longest, b"EHLO me.test\r\n"), (longest, b"MAIL FROM:<a@b.test>\r\n"))
    prober.receive(b"250-more\r\n" * 100)
    assert prober.violation == ""
    prober.receive(b"250-more\r\n")
    assert prober.violation == "a reply has more than 100 lines"


@pytest.mark.parametrize("line", [b"220-" + b"x" * 1_018 + b"\r\n", b"x" * 1_024], ids=["lines", "no end of line"])
def test_a_reply_of_more_than_64_kib_is_a_violation(line: bytes) -> None:
    prober = Prober(PROBE)
    for _ in range(64):
        prober.receive(line)
    assert prober.violation == ""
    prober.receive(b"2")
    assert prober.violation == "a reply has more than 65,536 bytes"
    prober.receive(line * 1_000)
    assert len(prober.dialogue) <= 64


def test_the_limit_of_bytes_holds_for_each_reply() -> None:
    reply = b"220-" + b"x" * 60_000 + b"\r\n220 end\r\n"
    prober = play(PROBE, (reply, b"EHLO me.test\r\n"), (reply, b"MAIL FROM:<a@b.test>\r\n"))
    assert (prober.violation, prober.replies) == ("", 2)


def test_there_is_no_verdict_before_a_reply_decides() -> None:
    prober = play(PROBE, (b"220 x\r\n", b"EHLO me.test\r\n"), (b"", b""))
    assert prober.verdict is None
