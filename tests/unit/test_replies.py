"""Replies: each constant encoded, cut and filled in."""

import re

import pytest

from smtppseudo.config.settings import Settings
from smtppseudo.events import origin_of
from smtppseudo.smtp import replies
from smtppseudo.smtp.replies import ECHO_BYTES, REPLY_BYTES, Reply, echo, encode_lines
from smtppseudo.smtp.replying import ReplyTemplates
from smtppseudo.smtp.said import Said

CONSTANTS = {name: value for name, value in vars(replies).items() if isinstance(value, Reply)}
LINE = re.compile(rb"[2-5][0-9][0-9][ -][ -~]*\r\n")
# RFC 2034 section 4 and RFC 3463 section 2: no code in a 3yz, in the greeting, in replies to HELO and EHLO.
WITHOUT_CODE = {"R421_TOO_MANY_CONNECTIONS", "R250_HELLO", "R354_ENTER_MAIL", "R501_HELO", "R501_EHLO"}


@pytest.mark.parametrize("enhanced", [False, True])
@pytest.mark.parametrize("name", CONSTANTS)
def test_a_constant_is_one_reply(name: str, enhanced: bool) -> None:
    reply = CONSTANTS[name]
    data = reply.encode("mx.example.org", enhanced=enhanced)
    assert int(name[1:4]) == reply.code
    assert LINE.fullmatch(data)
    assert data.startswith(b"%d " % reply.code)
    assert b"{" not in data.replace(b"{echo}", b"").replace(b"{ip}", b"")


@pytest.mark.parametrize("name", CONSTANTS)
def test_an_enhanced_status_code_is_of_the_replys_class(name: str) -> None:
    reply = CONSTANTS[name]
    if name in WITHOUT_CODE:
        assert reply.enhanced == ""
    else:
        assert re.fullmatch(rf"{str(reply.code)[0]}\.[0-7]\.[0-9]{{1,2}}", reply.enhanced)
        assert reply.encode("", enhanced=True).startswith(f"{reply.code} {reply.enhanced} ".encode())
    assert f"{reply.code} {reply.text.partition('{')[0]}".encode() in reply.encode("", enhanced=False)


def test_the_host_name_is_filled_in_at_once() -> None:
    reply = Reply(250, "{hostname} {echo} {ip} 100%", "2.0.0")
    assert reply.encode("mx", enhanced=True) == b"250 2.0.0 mx {echo} {ip} 100%\r\n"


def test_placeholders_that_a_caller_sends_are_not_filled_in() -> None:
    templates = ReplyTemplates(Settings(hostname="mx"))
    origin, sent = origin_of(1, 1, "2001:db8::1", 25), b"<%b{ip}{echo}{hostname}>"
    hello = templates.hello(replies.R501_EHLO, ("X-{echo}{ip}",))(Said(), origin, sent)
    assert hello == b"250-Hello %b from 2001:db8::1, pleased to meet you.\r\n250 X-{echo}{ip}\r\n" % sent
    assert (
        templates.sender(replies.R553_SENDER)(Said(), origin, b"FROM:" + sent)
        == b"553 Sender %b is Invalid!\r\n" % sent
    )
    assert (
        templates.recipient(replies.R250_RECIPIENT)(Said(), origin, b"TO:" + sent) == b"250 Recipient %b Ok!\r\n" % sent
    )
    assert templates.unrecognized()(Said(), origin, sent) == b"500 Command unrecognized: %b\r\n" % sent
    no_users = templates.recipient(replies.R550_NO_USERS)(Said(), origin, b"TO:" + sent)
    assert no_users == b"550 2001:db8::1 will not find any valid users on this server.\r\n"


def test_the_last_line_of_a_reply_has_a_space_after_the_code() -> None:
    assert encode_lines(250, ["a", "", "c"]) == b"250-a\r\n250-\r\n250 c\r\n"


def test_a_line_is_cut_to_512_bytes() -> None:
    assert REPLY_BYTES == 512
    assert encode_lines(220, ["x" * 506]) == b"220 " + b"x" * 506 + b"\r\n"
    assert encode_lines(220, ["x" * 507, "y" * 999]) == b"220-" + b"x" * 506 + b"\r\n220 " + b"y" * 506 + b"\r\n"


def test_a_character_outside_ascii_becomes_a_question_mark() -> None:
    assert encode_lines(220, ["ä€"]) == b"220 ??\r\n"


def test_an_echo_has_at_most_64_bytes() -> None:
    assert ECHO_BYTES == 64
    assert echo(b"x" * 64) == b"x" * 64
    assert echo(b"x" * 65) == b"x" * 64
    assert echo(b"") == b""


def test_an_echo_is_visible_ascii() -> None:
    for byte in range(256):
        expected = bytes([byte]) if 0x21 <= byte <= 0x7E else b"?"
        assert echo(bytes([byte])) == expected
