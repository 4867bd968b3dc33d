r"""A false end does not end a message: a second transaction after it stays part of the one message.

Only CRLF.CRLF ends a message (RFC 5321 section 4.1.1.4). If two servers disagree about that, an attacker can smuggle a
message to the second one from a sender that the first one never saw.
"""

import pytest

from smtppseudo.events import Closed, Command, Message
from tests.clients import Client
from tests.conftest import MakeInside
from tests.others.dialogues import HELLO, MAIL, RCPT

FALSE_ENDS = {
    "LF.LF": b"\n.\n",
    "LF.CRLF": b"\n.\r\n",
    "CRLF.LF": b"\r\n.\n",
    "CR.CR": b"\r.\r",
    "CR.CRLF": b"\r.\r\n",
    "CRLF.CR": b"\r\n.\r",
    "LF.CR": b"\n.\r",
    "CR.LF": b"\r.\n",
    "CRLF.CRCRLF": b"\r\n.\r\r\n",
    "CRCRLF.CRCRLF": b"\r\r\n.\r\r\n",
    "CRLF.NUL CRLF": b"\r\n.\0\r\n",
    "CRLF NUL.CRLF": b"\r\n\0.\r\n",
    "CRLF.NUL": b"\r\n.\0",
    "CRLF..CRLF": b"\r\n..\r\n",
    "CRLF.space CRLF": b"\r\n. \r\n",
    "NEL.NEL": b"\xc2\x85.\xc2\x85",
}
SECOND = f"{MAIL.replace('a@', 'admin@')}\r\n{RCPT}\r\nDATA\r\nForged\r\n.\r\nQUIT\r\n".encode()


def begin(client: Client) -> None:
    client.expect("220")
    client.send(HELLO)
    client.expect("250")
    for command, start in ((MAIL, "250"), (RCPT, "250"), ("DATA", "354")):
        client.say(command, start)


@pytest.mark.parametrize("settings", [{"accept_mail": True}, {"reject_at": "message"}], ids=["accept", "message"])
@pytest.mark.parametrize("in_pieces", [False, True], ids=["whole", "by byte"])
@pytest.mark.parametrize("end", FALSE_ENDS.values(), ids=list(FALSE_ENDS))
def test_one_message(inside: MakeInside, end: bytes, in_pieces: bool, settings: dict[str, object]) -> None:
    server = inside(**settings)
    client = server.connect()
    begin(client)
    data = b"First" + end + SECOND
    for piece in [data[at : at + 1] for at in range(len(data))] if in_pieces else [data]:
        client.sock.sendall(piece)
        server.turn()
    client.expect("250" if "accept_mail" in settings else "554")
    client.expect("221")
    client.expect_end()
    (message,) = server.events(Message)
    # Everything before the true end belongs to it; doubled dots count once.
    size = data.index(b"\r\n.\r\nQUIT") + 2
    assert message.bytes == size - data[:size].count(b"\r\n.")
    assert [event.data for event in server.events(Command)] == [HELLO, MAIL, RCPT, "DATA", "QUIT"]
    assert [event.reason for event in server.events(Closed)] == ["quit"]


def test_crlf_dot_crlf_ends_a_message(inside: MakeInside) -> None:
    server = inside(accept_mail=True)
    client = server.connect()
    begin(client)
    client.sock.sendall(b"First\r\n.\r\n" + SECOND)
    for start in ("250", "250", "250", "354", "250", "221"):
        client.expect(start)
    assert len(server.events(Message)) == 2
