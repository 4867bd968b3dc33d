"""Made-up callers: each kind is a generator of steps, without a socket and without a clock. Arrivals: who calls when.

All domains are reserved for examples by RFC 2606 and RFC 6761.
"""

from base64 import b64encode
from collections.abc import Callable, Generator, Iterator
from random import Random
from typing import Final, NamedTuple, TypeAlias


class Send(NamedTuple):
    """Send bytes, all at once."""

    data: bytes


class ReadReply(NamedTuple):
    """Wait for a whole reply, the value of the `yield`. If the server closes the connection, the script ends."""


class Wait(NamedTuple):
    """Do nothing for some time."""

    seconds: float


class Reset(NamedTuple):
    """Reset the connection (RST) and end. A script that just ends closes it (FIN)."""


Step: TypeAlias = Send | ReadReply | Wait | Reset
Script: TypeAlias = Generator[Step, bytes, None]
CallerKind: TypeAlias = Callable[[Random], Script]

MAIL_HOSTS: Final = ("mail.example.com", "mx1.example.net", "out-3.example.org", "relay.news.example.com", "smtp.test")
BOT_HOSTS: Final = ("win-7g2k.test", "localhost.invalid", "static-203.example.net", "User", "dsl-41.example.org")
PEOPLE: Final = ("anna", "bounce-8841", "carlos", "info", "j.doe", "mei", "newsletter", "sales", "w.smith")
DOMAINS: Final = ("example.com", "example.net", "example.org", "shop.test", "bank.invalid")
PASSWORDS: Final = ("123456", "admin2026", "letmein", "password", "qwerty", "welcome1")
_TYPING_S: Final = (0.8, 2.5)
UNTIL_CLOSED_S: Final = 3600.0  # the server closes the connection earlier
MEAN_PAUSE_S: Final = 0.55
LONGEST_PAUSE_S: Final = 2.0
FIRST_CALM_S: Final = 12.0
CALM_S: Final = (30.0, 50.0)
BURST_PAUSE_S: Final = 0.03
BURST_MAX: Final = 120  # file descriptors are scarce on some systems


def mail_server(rng: Random) -> Script:
    """An honest sender: one command at a time, ends after a refusal, sends QUIT."""
    yield ReadReply()
    if not _is_accepted((yield from _ask(rng, f"EHLO {rng.choice(MAIL_HOSTS)}"))):
        yield from _ask(rng, f"HELO {rng.choice(MAIL_HOSTS)}")
    sender = "" if rng.random() < 0.2 else _address(rng)  # empty: the mail is a bounce
    if _is_accepted((yield from _ask(rng, f"MAIL FROM:<{sender}> SIZE={rng.randrange(900, 60_000)}"))):
        accepted = False
        for _ in range(rng.randint(1, 3)):
            accepted |= _is_accepted((yield from _ask(rng, f"RCPT TO:<{_address(rng)}>")))
        if accepted and (yield from _ask(rng, "DATA")).startswith(b"354"):
            yield from _ask(rng, f"From: <{sender}>\r\nSubject: Minutes of Tuesday\r\n\r\nAttached.\r\n.")
    yield from _ask(rng, "QUIT")


def spam_bot(rng: Random) -> Script:
    """Sends all commands at once, reads no reply, and drops the connection."""
    yield Wait(rng.uniform(0.1, 0.8))
    recipients = [f"RCPT TO:<{_address(rng)}>" for _ in range(5)]
    yield _lines(f"HELO {rng.choice(BOT_HOSTS)}", f"MAIL FROM:<{_address(rng)}>", *recipients, "DATA")
    yield Wait(rng.uniform(0.5, 4.0))
    if rng.random() < 0.5:
        yield Reset()


def stubborn_bot(rng: Random) -> Script:
    """Sends its message although DATA was refused, so that each line counts as a command."""
    yield ReadReply()
    yield _lines(f"HELO {rng.choice(BOT_HOSTS)}")
    yield Wait(rng.uniform(0.2, 1.0))
    yield _lines(f"MAIL FROM:<{_address(rng)}>", f"RCPT TO:<{_address(rng)}>", "DATA")
    yield Wait(rng.uniform(0.2, 1.0))
    body = [f"Only {hours} hours left to claim your prize!" for hours in range(30, 0, -1)]
    yield _lines("Subject: You won", *body, ".", "QUIT")
    yield Wait(2.0)


def password_guesser(rng: Random) -> Script:
    """Tries a few names and passwords."""
    yield ReadReply()
    yield from _ask(rng, "EHLO User")
    for _ in range(rng.randint(2, 5)):
        name, password = f"{rng.choice(PEOPLE)}@{rng.choice(DOMAINS)}", rng.choice(PASSWORDS)
        if rng.random() < 0.5:
            yield from _ask(rng, "AUTH PLAIN " + _base64(f"\0{name}\0{password}"))
        elif (yield from _ask(rng, "AUTH LOGIN")).startswith(b"334"):
            yield from _ask(rng, _base64(name))
            yield from _ask(rng, _base64(password))
    if rng.random() < 0.5:
        yield from _ask(rng, "QUIT")


def port_scanner(rng: Random) -> Script:
    """Finds out what listens here: sends nothing, or a first message of another protocol."""
    yield Wait(rng.uniform(0.1, 0.4))
    hello = rng.choice((b"", b"", HTTP_REQUEST, TLS_CLIENT_HELLO, SSH_BANNER))
    if hello:
        yield Send(hello)
    yield Wait(rng.choice((0.5, 1.5, 4.0, UNTIL_CLOSED_S)))
    if rng.random() < 0.7:
        yield Reset()


HTTP_REQUEST: Final = b"GET / HTTP/1.0\r\nHost: scan.example.net\r\nUser-Agent: Mozilla/5.0\r\n\r\n"
SSH_BANNER: Final = b"SSH-2.0-OpenSSH_9.9\r\n"
# RFC 8446 section 4.1.2: handshake, client_hello, a random of 32 bytes, two cipher suites.
_HELLO: Final = b"\x03\x03" + bytes(range(0x40, 0x60)) + b"\x00\x00\x04\x13\x01\x13\x02\x01\x00\x00\x00"
TLS_CLIENT_HELLO: Final = b"\x16\x03\x01\0" + bytes([len(_HELLO) + 4]) + b"\x01\0\0" + bytes([len(_HELLO)]) + _HELLO


def slow_sender(rng: Random) -> Script:
    """Sends one byte per second."""
    yield ReadReply()
    for byte in f"HELO {rng.choice(BOT_HOSTS)}\r\nMAIL FROM:<{_address(rng)}>\r\n".encode():
        yield Send(bytes([byte]))
        yield Wait(1.0)


def hostile_sender(rng: Random) -> Script:
    """Attacks terminals and logs: escape sequences, markup, forged log lines."""
    yield ReadReply()
    yield Send(b"HELO \x1b[2J\x1b[31mowned.invalid\r\n")
    yield ReadReply()
    for _ in range(rng.randint(2, 4)):
        yield Wait(rng.uniform(0.3, 1.2))
        yield Send(rng.choice(HOSTILE) + b"\r\n")
        yield ReadReply()


HOSTILE: Final = (
    b"MAIL FROM:<\x1b]0;your terminal is mine\x07@evil.invalid>",
    b"MAIL FROM:<[bold red blink]you@example.invalid[/]>",
    b"NOOP [@click=app.quit]click here[/]",
    b'NOOP " event=online slot=1 ip=127.0.0.1',
    b"NOOP \r2026-01-01T00:00:00.000Z offline by=monitor",
    b"MAIL FROM:<\xe2\x80\xae\xff\xfe%n%s$(reboot)@evil.invalid>",
    b"RCPT TO:<" + b"A" * 300 + b"@evil.invalid>",
)


def curious_person(rng: Random) -> Script:
    """A person at a keyboard who looks around."""
    yield ReadReply()
    yield from _ask(rng, f"helo {rng.choice(DOMAINS)}", _TYPING_S)
    for line in rng.sample(QUESTIONS, rng.randint(3, 6)):
        yield from _ask(rng, line, _TYPING_S)
    yield from _ask(rng, "quit", _TYPING_S)


QUESTIONS: Final = (
    "help", "vrfy root", "vrfy postmaster", "expn staff", "expn all-employees", "noop", "rset",
    "mial from:<me@example.com>", "hello?",
)  # fmt: skip


def burst_bot(rng: Random) -> Script:
    """One of many bots that connect at the same time and are slow."""
    yield ReadReply()
    yield Wait(rng.uniform(0.1, 3.0))
    yield from _ask(rng, f"HELO {rng.choice(BOT_HOSTS)}")
    yield Wait(rng.uniform(2.0, 9.0))
    yield from _ask(rng, f"MAIL FROM:<{_address(rng)}>")
    if rng.random() < 0.5:
        yield from _ask(rng, "QUIT")


def _ask(rng: Random, line: str, pause_s: tuple[float, float] = (0.05, 0.35)) -> Generator[Step, bytes, bytes]:
    """Send a line after a pause, by default that of a distant program; return the reply."""
    yield Wait(rng.uniform(*pause_s))
    yield _lines(line)
    return (yield ReadReply())


def _lines(*lines: str) -> Send:
    return Send("".join(f"{line}\r\n" for line in lines).encode("ascii"))


def _is_accepted(reply: bytes) -> bool:
    return reply.startswith(b"2")


def _address(rng: Random) -> str:
    return f"{rng.choice(PEOPLE)}@{rng.choice(DOMAINS)}"


def _base64(text: str) -> str:
    return b64encode(text.encode()).decode()


class Arrival(NamedTuple):
    """A caller connects, `after_s` after the one before, from an address in 127.0.0.0/8."""

    after_s: float
    source: str
    script: Script


class _Group(NamedTuple):
    """Callers of a kind. They connect in proportion to `weight`, from addresses in 127.`network`.0.0/16.

    With a high `habit` most connections are those of a few callers; with a low one most callers connect once.
    """

    kind: CallerKind
    weight: int
    network: int
    habit: float

    def arrival(self, rng: Random, after_s: float) -> Arrival:
        """Return the arrival of a caller, which has a generator of its own: so the order of actions changes nothing."""
        address = source(self.network, int(rng.paretovariate(self.habit)))
        return Arrival(after_s, address, self.kind(Random(rng.getrandbits(32))))  # noqa: S311 - not used for secrets


_GROUPS: Final = (
    _Group(mail_server, 7, 10, 0.3),
    _Group(spam_bot, 5, 66, 0.8),
    _Group(stubborn_bot, 1, 67, 0.8),
    _Group(password_guesser, 3, 91, 1.0),
    _Group(port_scanner, 4, 45, 0.5),
    _Group(slow_sender, 1, 77, 1.0),
    _Group(hostile_sender, 2, 13, 1.0),
    _Group(curious_person, 2, 20, 0.5),
)
_BURST: Final = _Group(burst_bot, 0, 88, 0.1)


def source(network: int, rank: int) -> str:
    """Return the address of a caller; the one with rank 1 connects most."""
    host = rank * (31 * network | 1) % 65_521 + 1
    return f"127.{network}.{host >> 8}.{host & 255}"


def arrivals(rng: Random, slots: int) -> Iterator[Arrival]:
    """Yield arrivals without end: a few per second, and sometimes a burst of more callers than slots."""
    weights = [group.weight for group in _GROUPS]
    calm_s = FIRST_CALM_S
    while True:
        while calm_s > 0:
            after_s = min(rng.expovariate(1 / MEAN_PAUSE_S), LONGEST_PAUSE_S)
            (group,) = rng.choices(_GROUPS, weights)
            yield group.arrival(rng, after_s)
            calm_s -= after_s
        for _ in range(min(slots + slots // 5 + 1, BURST_MAX)):
            yield _BURST.arrival(rng, rng.uniform(0, 2 * BURST_PAUSE_S))
        calm_s = rng.uniform(*CALM_S)
