"""Two hundred dialogues of senders, broken clients and attackers with a server that accepts mail.

A dialogue is a list of steps: a command, its CRLF implied, or a `Message`, which is sent only if the reply to
DATA was 354. Each step has one reply.
"""

import re
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

TRANSCRIPTS: Final = Path(__file__).parent.parent / "transcripts"
STEPS_MAX: Final = 40

HELLO: Final = "EHLO client.test"
MAIL: Final = "MAIL FROM:<a@client.test>"
RCPT: Final = "RCPT TO:<b@server.test>"


class Message(NamedTuple):
    """The lines after 354, with the terminator."""

    data: bytes


Step: TypeAlias = str | Message
Dialogue: TypeAlias = tuple[Step, ...]

CONTEXTS: Final[dict[str, tuple[str, ...]]] = {
    "at first": (),
    "greeted": (HELLO,),
    "after MAIL": (HELLO, MAIL),
    "after RCPT": (HELLO, MAIL, RCPT),
}

COMMANDS: Final = (
    "HELO other.test",
    "HELO",
    "EHLO other.test",
    "EHLO",
    "EHLO [192.0.2.1]",
    MAIL,
    "mail from:<a@client.test>",
    "MAIL FROM: <a@client.test>",
    "MAIL FROM:<>",
    "MAIL FROM:<a@client.test> SIZE=1000",
    "MAIL FROM:<a@client.test> BODY=8BITMIME",
    "MAIL FROM:a@client.test",
    'MAIL FROM:<"a b"@client.test>',
    "MAIL",
    "MAIL FROM",
    "MAIL FROM:",
    "MAIL TO:<a@client.test>",
    "MAIL a@client.test",
    RCPT,
    "rcpt to:<b@server.test>",
    "RCPT TO: <b@server.test>",
    "RCPT TO:b@server.test",
    'RCPT TO:<"b c"@server.test>',
    "RCPT",
    "RCPT TO",
    "RCPT TO:",
    "RCPT FROM:<b@server.test>",
    "DATA",
    "DATA x",
    "RSET",
    "RSET x",
    "NOOP",
    "NOOP x",
    "HELP",
    "VRFY postmaster",
    "VRFY",
    "EXPN list",
    "QUIT",
    "QUIT now",
    "STARTTLS",
    "AUTH PLAIN AGEAYg==",
    "ETRN server.test",
    "TURN",
    "XYZZY",
    "GET / HTTP/1.1",
    ".",
    "",
    " ",
    " NOOP",
)

MESSAGES: Final = (
    b".\r\n",
    b"x\r\n.\r\n",
    b"Subject: x\r\n\r\nText\r\n.\r\n",
    b"..\r\n...\r\n.x\r\n.\r\n",
    b"\r\n\r\n.\r\n",
    b"QUIT\r\nRSET\r\n.\r\n",
    b"a\rb\r\n.\r\n",
    b"x" * 990 + b"\r\n.\r\n",
    b"\x80\xff\r\n.\r\n",
)


def dialogues() -> dict[str, Dialogue]:
    """Return all by name: every command in every context, messages, and the transcripts of accept mode."""
    found: dict[str, Dialogue] = {}
    for context, before in CONTEXTS.items():
        for command in COMMANDS:
            found[f"{command!r} {context}"] = (*before, command, "NOOP", "QUIT")
    for data in MESSAGES:
        transaction = (MAIL, RCPT, "DATA", Message(data))
        found[f"message {data[:20]!r}"] = (HELLO, *transaction, "NOOP", *transaction, "QUIT")
    found["many recipients"] = (HELLO, MAIL, *[f"RCPT TO:<b{number}@server.test>" for number in range(30)], "QUIT")
    found["many errors"] = (HELLO, *["XYZZY"] * 25)
    found["a transaction after RSET"] = (
        HELLO,
        MAIL,
        RCPT,
        "RSET",
        "DATA",
        MAIL,
        RCPT,
        "DATA",
        Message(b".\r\n"),
        "QUIT",
    )
    for path in sorted(TRANSCRIPTS.glob("*.txt")):
        if steps := _of_transcript(path.read_text("ascii")):
            found[f"transcript {path.stem}"] = (HELLO, *steps[:STEPS_MAX])
    return found


def _of_transcript(text: str) -> Dialogue:
    """Return the commands of a transcript that holds only commands; of any other, none."""
    lines = re.findall(r"^C.*$", text, re.MULTILINE)
    plain = [line[3:] for line in lines if re.fullmatch(r"C: [^{}]*|C:", line)]
    return tuple(plain) if len(plain) == len(lines) and "." not in plain else ()
