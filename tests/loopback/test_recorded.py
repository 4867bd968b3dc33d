"""The bytes that the server sends and logs, compared with a record: all transcripts and 3,000 odd bytes, by sockets.

Each dialogue is played twice: with a server that logs text, where the client sends in as few calls as possible, and
with a server that logs JSON, in chunks of 7 bytes. Times, durations and ports in the logs are replaced.

SMTPPSEUDO_RECORDED=write writes the record: look at the difference, then commit it.
"""

import contextlib
import difflib
import itertools
import os
import random
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from smtppseudo.config.settings import STAGES, Settings
from smtppseudo.loop.connection import Connection
from smtppseudo.smtp.session import SmtpSession
from tests.clients import wait_until
from tests.inside import Inside
from tests.running import CHECKOUT
from tests.test_transcripts import TRANSCRIPTS, WHOLE, client_bytes, parse

RECORD: Final = CHECKOUT / "tests/data/recorded.txt"
IS_WRITING: Final = os.environ.get("SMTPPSEUDO_RECORDED") == "write"
LATE_S: Final = 0.1  # the server may act up to 50 ms after a deadline

DATE: Final = re.compile(rb"\d\d/\d\d/\d{4} \d+:\d\d:\d\d [AP]M [+-]\d{4}")
TIME: Final = re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z(?= |\")")
NUMBER: Final = re.compile(r'\b(port|local_port|duration_ms)("?[:=])\d+')
RUN: Final = re.compile(r"(.)\1{19,}")

ODD_BYTES: Final = 3000
VERBS: Final = (
    *(b"HELO", b"ehlo x", b"MAIL FROM:<a@b>", b"mail from:", b"Rcpt To:<x>", b"RCPT TO:", b"DATA", b"RSET", b"NOOP"),
    *(b"VRFY", b"AUTH PLAIN AGEAYg==", b"auth login", b"STARTTLS", b"HELP", b"xyzzy", b"\xff\xfe\0", b"", b" ", b"."),
)
ARGUMENTS: Final = (
    *(b"", b"", b"", b" x", b" <@>", b' <"q>r \\""@b> SIZE=1', b"=", b' "', b"\\x0a", b"\\", b"\t", b"\0", b"\x1b[2J"),
    *("\u00e4\u20ac\u202e".encode(), b"\xc2\x85", b"\x7f", b"\r", b"%b%s{ip}", b"y" * 70),
)
ENDS: Final = (b"\r\n", b"\r\n", b"\r\n", b"\r\n.\r\n", b"\n", b"\r\r\n", b"\r", b"")


class Dialogue(NamedTuple):
    """A dialogue: settings other than the defaults; then bytes that the client sends, and seconds that pass."""

    name: str
    settings: dict[str, object]
    steps: list[bytes | float]


def transcripts() -> Iterator[Dialogue]:
    """Yield the client's part of each transcript without a certificate."""
    defaults = Settings()._asdict()
    for path in TRANSCRIPTS:
        given, _, script = parse(path.read_text("ascii"), path.name)
        settings = {name: value for name, value in given._asdict().items() if value != defaults[name]}
        steps: list[bytes | float] = []
        for mark, lines in itertools.groupby(script, key=lambda line: line[0]):
            if mark == "C":
                steps.append(b"".join(map(client_bytes, lines)))
            elif mark == "+":
                steps += map(float, lines)
        if "tls_cert" not in settings:
            yield Dialogue(path.stem, settings, steps)


def odd_input() -> Iterator[Dialogue]:
    """Yield odd bytes, in equal parts for each stage of refusal and some other settings."""
    modes: list[dict[str, object]] = [{"reject_at": stage} for stage in STAGES]
    modes += [{"accept_mail": True}, {"server_name": "mx1"}, {"log_data_events": False}, {"greeting": "{ip} {date}"}]
    chance = random.Random(5321)
    share = ODD_BYTES // len(modes)
    for mode in modes:
        data = b""
        while len(data) < share:
            data += chance.choice(VERBS) + chance.choice(ARGUMENTS) + chance.choice(ARGUMENTS) + chance.choice(ENDS)
        yield Dialogue(f"odd input, {mode}", mode, [data[:share]])


class Player:
    """Plays the client's part of one dialogue with a server in this thread."""

    def __init__(self, server: Inside) -> None:
        self._server = server
        self._client = server.connect()
        self._client.sock.setblocking(False)
        self._wire = b""

    def play(self, steps: list[bytes | float], chunk_bytes: int) -> bytes:
        """Play all steps, then close; return what the server has sent."""
        for step in steps:
            if isinstance(step, bytes):
                for at in range(0, len(step), chunk_bytes):
                    self._send(step[at : at + chunk_bytes])
            else:
                self._wait(step)
        if self._connection is not None:
            self._client.sock.shutdown(socket.SHUT_WR)
        while self._connection is not None:
            self._wait(1.0)
        self._receive()
        return self._wire

    @property
    def _connection(self) -> Connection[SmtpSession] | None:
        return self._server.server.reception._connections[0]

    @property
    def _unread_bytes(self) -> int:
        """How many bytes the server's kernel has, and the server has not read."""
        connection = self._connection
        with contextlib.suppress(BlockingIOError):
            return len(connection.sock.recv(1 << 20, socket.MSG_PEEK | socket.MSG_DONTWAIT)) if connection else 0
        return 0

    def _send(self, data: bytes) -> None:
        """Send data, wait until the server's kernel has it, and run turns until the server reads no more of it."""
        if self._connection is None:
            return
        unread = self._unread_bytes + len(data)
        self._client.sock.sendall(data)
        wait_until(lambda: self._unread_bytes == unread, "the arrival of the data", poll_s=0)
        before = -1
        while (unread := self._unread_bytes) and unread != before:
            before = unread
            self._turn()

    def _wait(self, seconds: float) -> None:
        """Let time pass, with a turn at each deadline of the server."""
        time, wheel = self._server.time, self._server.server.reactor.wheel
        until = time.monotonic_s + seconds + LATE_S
        while (due := wheel.next_due()) is not None and due < until:
            time.advance(max(0.0, due - time.monotonic_s))
            self._turn()
        time.advance(until - time.monotonic_s)
        self._turn()

    def _turn(self) -> None:
        self._server.server.reactor.turn(0)
        self._receive()

    def _receive(self) -> None:
        """Read the replies that have arrived."""
        with contextlib.suppress(BlockingIOError, ConnectionResetError):
            while data := self._client.sock.recv(1 << 16):
                self._wire += data


def played(dialogue: Dialogue, directory: Path, log_format: str, chunk_bytes: int) -> tuple[list[str], list[str]]:
    """Play a dialogue with a server of its own; return the lines on the wire, escaped, and those of the log."""
    server = Inside(directory, {"quiet_timeout_s": 0.0, **dialogue.settings, "log_format": log_format})
    try:
        wire = Player(server).play(dialogue.steps, chunk_bytes)
    finally:
        server.close()
    log = "".join(path.read_text("ascii") for path in sorted(server.log_dir.glob("*.log")))
    sent = [f"S: {line!r}" for line in DATE.sub(b"DATE", wire).splitlines(keepends=True)]
    return sent, NUMBER.sub(r"\1\2N", TIME.sub("TIME", log)).splitlines()


def shortened(lines: list[str]) -> Iterator[str]:
    """Write equal lines once, with their number, and long runs of one character as in a transcript."""
    for line, run in itertools.groupby(lines):
        times = len(list(run))
        short = RUN.sub(lambda match: f"{{{match[1]}*{len(match[0])}}}", line)
        yield short if times == 1 else f"{times} x {short}"


def record_of(dialogue: Dialogue, directory: Path) -> Iterator[str]:
    """Play a dialogue with both servers; yield what each has sent, if it differs, and logged."""
    wire, text = played(dialogue, directory / "text", "text", WHOLE)
    wire_in_chunks, json = played(dialogue, directory / "json", "json", 7)
    yield from (f"== {dialogue.name}", *shortened(wire), *shortened(text))
    if wire_in_chunks != wire:  # a slow reply keeps the server from reading
        yield from shortened(wire_in_chunks)
    yield from shortened(json)


def test_wire_and_log_are_as_recorded(tmp_path: Path) -> None:
    seen: list[str] = []
    for number, dialogue in enumerate([*transcripts(), *odd_input()]):
        seen += record_of(dialogue, tmp_path / str(number))
    if IS_WRITING:
        RECORD.write_text("\n".join(seen) + "\n", "ascii")
    wanted = RECORD.read_text("ascii").splitlines()
    difference = "\n".join(difflib.unified_diff(wanted, seen, "recorded", "seen", lineterm=""))
    if difference:
        pytest.fail(difference, pytrace=False)
