"""Visits: what made-up callers say to a mail server, a generator each; no socket and no clock.

Every name is of a domain that RFC 2606 and RFC 6761 keep for examples, and so is nobody's.
"""

from base64 import b64encode
from collections.abc import Callable, Generator
from random import Random
from typing import Final, NamedTuple, TypeAlias


class Say(NamedTuple):
    """Send these bytes, all at once."""

    data: bytes


class Hear(NamedTuple):
    """Wait for a whole reply, which is the value of the `yield`. If the server closes instead, the visit is over."""


class Wait(NamedTuple):
    """Do nothing for so long."""

    seconds: float


class Reset(NamedTuple):
    """Break the connection off (RST); the visit is over. One that simply ends closes it (FIN)."""


Step: TypeAlias = Say | Hear | Wait | Reset
Visit: TypeAlias = Generator[Step, bytes, None]
Kind: TypeAlias = Callable[[Random], Visit]

MAIL_HOSTS: Final = ("mail.example.com", "mx1.example.net", "out-3.example.org", "relay.news.example.com", "smtp.test")
BOT_HOSTS: Final = ("win-7g2k.test", "localhost.invalid", "static-203.example.net", "User", "dsl-41.example.org")
PEOPLE: Final = ("anna", "bounce-8841", "carlos", "info", "j.doe", "mei", "newsletter", "sales", "w.smith")
DOMAINS: Final = ("example.com", "example.net", "example.org", "shop.test", "bank.invalid")
PASSWORDS: Final = ("123456", "admin2026", "letmein", "password", "qwerty", "welcome1")


FOREVER_S: Final = 3600.0  # for as long as the server bears it


def mail_server(dice: Random) -> Visit:
    """An honest sender: one step at a time, takes a no for a no, says goodbye."""
    yield Hear()
    if not _is_yes((yield from _ask(dice, f"EHLO {dice.choice(MAIL_HOSTS)}"))):
        yield from _ask(dice, f"HELO {dice.choice(MAIL_HOSTS)}")
    sender = "" if dice.random() < 0.2 else _address(dice)  # empty: the mail is itself a bounce
    if _is_yes((yield from _ask(dice, f"MAIL FROM:<{sender}> SIZE={dice.randrange(900, 60_000)}"))):
        taken = False
        for _ in range(dice.randint(1, 3)):
            taken |= _is_yes((yield from _ask(dice, f"RCPT TO:<{_address(dice)}>")))
        if taken and (yield from _ask(dice, "DATA")).startswith(b"354"):
            yield from _ask(dice, f"From: <{sender}>\r\nSubject: Minutes of Tuesday\r\n\r\nAttached.\r\n.")
    yield from _ask(dice, "QUIT")


def spam_bot(dice: Random) -> Visit:
    """Says everything in one breath, hears nothing, and drops the line."""
    yield Wait(dice.uniform(0.1, 0.8))
    recipients = [f"RCPT TO:<{_address(dice)}>" for _ in range(5)]
    yield _lines(f"HELO {dice.choice(BOT_HOSTS)}", f"MAIL FROM:<{_address(dice)}>", *recipients, "DATA")
    yield Wait(dice.uniform(0.5, 4.0))
    if dice.random() < 0.5:
        yield Reset()


def deaf_bot(dice: Random) -> Visit:
    """Goes on with its message after a no, so that each line of it is taken for a command."""
    yield Hear()
    yield _lines(f"HELO {dice.choice(BOT_HOSTS)}")
    yield Wait(dice.uniform(0.2, 1.0))
    yield _lines(f"MAIL FROM:<{_address(dice)}>", f"RCPT TO:<{_address(dice)}>", "DATA")
    yield Wait(dice.uniform(0.2, 1.0))
    body = [f"Only {hours} hours left to claim your prize!" for hours in range(30, 0, -1)]
    yield _lines("Subject: You won", *body, ".", "QUIT")
    yield Wait(2.0)


def password_guesser(dice: Random) -> Visit:
    """Tries names and passwords until it has had enough."""
    yield Hear()
    yield from _ask(dice, "EHLO User")
    for _ in range(dice.randint(2, 5)):
        name, password = f"{dice.choice(PEOPLE)}@{dice.choice(DOMAINS)}", dice.choice(PASSWORDS)
        if dice.random() < 0.5:
            yield from _ask(dice, "AUTH PLAIN " + _base64(f"\0{name}\0{password}"))
        elif (yield from _ask(dice, "AUTH LOGIN")).startswith(b"334"):
            yield from _ask(dice, _base64(name))
            yield from _ask(dice, _base64(password))
    if dice.random() < 0.5:
        yield from _ask(dice, "QUIT")


def port_scanner(dice: Random) -> Visit:
    """Wants to know what listens here, and speaks anything but SMTP."""
    yield Wait(dice.uniform(0.1, 0.4))
    hello = dice.choice((b"", b"", HTTP_REQUEST, TLS_CLIENT_HELLO, SSH_BANNER))
    if hello:
        yield Say(hello)
    yield Wait(dice.choice((0.5, 1.5, 4.0, FOREVER_S)))
    if dice.random() < 0.7:
        yield Reset()


HTTP_REQUEST: Final = b"GET / HTTP/1.0\r\nHost: scan.example.net\r\nUser-Agent: Mozilla/5.0\r\n\r\n"
SSH_BANNER: Final = b"SSH-2.0-OpenSSH_9.9\r\n"
# RFC 8446 section 4.1.2: handshake, client_hello, a random of 32 bytes, two cipher suites.
_HELLO: Final = b"\x03\x03" + bytes(range(0x40, 0x60)) + b"\x00\x00\x04\x13\x01\x13\x02\x01\x00\x00\x00"
TLS_CLIENT_HELLO: Final = (
    b"\x16\x03\x01\x00" + bytes([len(_HELLO) + 4]) + b"\x01\x00\x00" + bytes([len(_HELLO)]) + _HELLO
)


def slow_talker(dice: Random) -> Visit:
    """An byte a second, to see how long it is borne with."""
    yield Hear()
    for byte in f"HELO {dice.choice(BOT_HOSTS)}\r\nMAIL FROM:<{_address(dice)}>\r\n".encode():
        yield Say(bytes([byte]))
        yield Wait(1.0)


def hostile_talker(dice: Random) -> Visit:
    """Means harm to whatever shows or keeps its words: escape sequences, markup, forged log lines."""
    yield Hear()
    yield Say(b"HELO \x1b[2J\x1b[31mowned.invalid\r\n")
    yield Hear()
    for _ in range(dice.randint(2, 4)):
        yield Wait(dice.uniform(0.3, 1.2))
        yield Say(dice.choice(HOSTILE) + b"\r\n")
        yield Hear()


HOSTILE: Final = (
    b"MAIL FROM:<\x1b]0;your terminal is mine\x07@evil.invalid>",
    b"MAIL FROM:<[bold red blink]you@example.invalid[/]>",
    b"NOOP [@click=app.quit]click here[/]",
    b'NOOP " event=online slot=1 ip=127.0.0.1',
    b"NOOP \r2026-01-01T00:00:00.000Z offline by=monitor",
    b"MAIL FROM:<\xe2\x80\xae\xff\xfe%n%s$(reboot)@evil.invalid>",
    b"RCPT TO:<" + b"A" * 300 + b"@evil.invalid>",
)


def curious_person(dice: Random) -> Visit:
    """Somebody at a keyboard who wants to know who lives here."""
    yield Hear()
    yield from _typed(dice, f"helo {dice.choice(DOMAINS)}")
    for line in dice.sample(QUESTIONS, dice.randint(3, 6)):
        yield from _typed(dice, line)
    yield from _typed(dice, "quit")


QUESTIONS: Final = (
    "help",
    "vrfy root",
    "vrfy postmaster",
    "expn staff",
    "expn all-employees",
    "noop",
    "rset",
    "mial from:<me@example.com>",
    "who is there",
)


def bot_of_many(dice: Random) -> Visit:
    """One of a crowd that comes all at once, and takes its time."""
    yield Hear()
    yield Wait(dice.uniform(0.1, 3.0))
    yield from _ask(dice, f"HELO {dice.choice(BOT_HOSTS)}")
    yield Wait(dice.uniform(2.0, 9.0))
    yield from _ask(dice, f"MAIL FROM:<{_address(dice)}>")
    if dice.random() < 0.5:
        yield from _ask(dice, "QUIT")


def _ask(dice: Random, line: str) -> Generator[Step, bytes, bytes]:
    """Say a line and give back its answer, at the pace of a program on the other side of the world."""
    yield Wait(dice.uniform(0.05, 0.35))
    yield _lines(line)
    return (yield Hear())


def _typed(dice: Random, line: str) -> Generator[Step, bytes, bytes]:
    yield Wait(dice.uniform(0.8, 2.5))
    yield _lines(line)
    return (yield Hear())


def _lines(*lines: str) -> Say:
    return Say("".join(f"{line}\r\n" for line in lines).encode("ascii"))


def _is_yes(reply: bytes) -> bool:
    return reply.startswith(b"2")


def _address(dice: Random) -> str:
    return f"{dice.choice(PEOPLE)}@{dice.choice(DOMAINS)}"


def _base64(text: str) -> str:
    return b64encode(text.encode()).decode()
