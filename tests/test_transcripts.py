r"""Transcripts: whole dialogues, each played in one chunk, byte by byte and in chunks of 7 bytes.

A transcript in `transcripts/` is read line by line:

    # TEXT             the rule that it shows, in the first line
    set KEY = VALUE    a setting as in the settings file, before the dialogue
    peer ADDRESS       the client's address if it is not 192.0.2.1, before the dialogue
    S: TEXT            a line of the server: exact, CRLF implied
    C: TEXT            a line of the client, CRLF implied
    C< TEXT            bytes of the client with Python's escapes, nothing implied
    +SECONDS           time passes; the machine is ticked at each of its deadlines
    -- closed REASON   the machine closes the connection, or, after STARTTLS, ends the clear text

Consecutive lines of the client arrive together. A line of the server is placed where its last byte comes.
`{A*3000}` means 3,000 times A (and `{ *1}` a space at the end of a line), `C*20: TEXT` and `S*20: TEXT` mean 20 such
lines, `{date}` in the greeting means its date.
Anything that the server sends or does beyond the transcript is a failure.
"""

import codecs
import difflib
import itertools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from smtppseudo.config.file import parse_file
from smtppseudo.config.layers import Configuration
from smtppseudo.config.settings import Settings
from smtppseudo.events import Closed
from smtppseudo.smtp.dialogue import Dialogue
from smtppseudo.smtp.tarpit import TarpitSession, session_type

TRANSCRIPTS = sorted((Path(__file__).parent / "transcripts").glob("*.txt"))
WHOLE = 1 << 30
DATE = "06/01/2012 2:41:11 PM -0700"

_REPEATED = re.compile(r"\{(.+?)\*(\d+)\}")
_SCRIPT_LINE = re.compile(r"([SC])(?:\*(\d+))?:(?: (.*))?|C< .+|\+[\d.]+|-- closed [a-z_]+")
_SERVER_LINE = re.compile(r"S: [2-5][0-9][0-9][ -][ -~]{0,506}")


class Transcript(NamedTuple):
    """A dialogue: its settings, the client's address, and its lines in order, repetitions and `S:` lines expanded."""

    settings: Settings
    ip: str
    script: list[str]


def parse(text: str, place: str) -> Transcript:
    """Parse a transcript. Raises ValueError that names a line that cannot be parsed."""
    settings: list[str] = []
    ip = "192.0.2.1"
    script: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("set "):
            settings.append(line.removeprefix("set "))
        elif line.startswith("peer "):
            ip = line.removeprefix("peer ")
        elif not line.startswith("#"):
            script += _script_lines(line, f"{place}, line {number}")
    script = [line.replace("{date}", DATE) if line.startswith("S: 220 ") else line for line in script]
    values = parse_file("\n".join(settings), place, pytest.fail)
    return Transcript(Configuration(values, {}, {}, {"hostname": "mx.example.org"}).settings, ip, script)


def _script_lines(line: str, place: str) -> list[str]:
    match = _SCRIPT_LINE.fullmatch(line)
    if match is None:
        raise ValueError(f"{place}: {line!r}")
    side, times, text = match.groups()
    if side is None:
        return [line]
    return [f"{side}: {_repeated(text or '')}" if side == "S" else f"{side}: {text or ''}"] * int(times or 1)


def _repeated(text: str) -> str:
    return _REPEATED.sub(lambda match: match[1] * int(match[2]), text)


def client_bytes(line: str) -> bytes:
    """Return the bytes of a line of the client."""
    mark, text = line[:2], _repeated(line[3:]).encode("ascii")
    return text + b"\r\n" if mark == "C:" else codecs.escape_decode(text)[0]


class Player:
    """Plays the client's part against the machine, and records what the machine sends and does."""

    def __init__(self, transcript: Transcript, chunk_bytes: int) -> None:
        self._chunk_bytes = chunk_bytes
        self._now = 1000.0
        dialogue = Dialogue(transcript.settings, (lambda: True) if transcript.settings.tls_cert else None)
        greeting = dialogue.greeting(transcript.ip, DATE)
        self._session = session_type(dialogue)(dialogue, 1, 1, transcript.ip, 50_000, greeting, self._now)
        self._closed = False
        self._bytes_heard = self._bytes_said = 0
        self._with_kernel = b""  # sent, not yet received
        self._line_begun = b""

    def play(self, script: list[str]) -> Iterator[str]:
        """Yield the script with the machine's actual lines instead of the expected ones."""
        yield from self._hear(self._session.data_to_send(self._now))
        for mark, run in itertools.groupby(script, key=lambda line: line[0]):
            lines = list(run)
            if mark == "C":
                yield from lines
                yield from self._hear(self._say(b"".join(map(client_bytes, lines))))
            elif mark == "+":
                for line in lines:
                    yield line
                    yield from self._hear(self._wait(float(line)))
        if self._line_begun:
            yield f"S: {self._line_begun.decode('latin-1')}"
        self._check_sums()

    def _say(self, data: bytes) -> bytes:
        self._bytes_said += len(data)
        self._with_kernel += data
        return self._receive()

    def _receive(self) -> bytes:
        session, heard = self._session, b""
        while self._with_kernel and (not isinstance(session, TarpitSession) or session.reads):
            data, self._with_kernel = (
                self._with_kernel[: self._chunk_bytes],
                self._with_kernel[self._chunk_bytes :],
            )
            session.receive(data, self._now)
            heard += session.data_to_send(self._now)
        return heard

    def _wait(self, seconds: float) -> bytes:
        session, until, heard = self._session, self._now + seconds, b""
        while self._has_more and session.deadline <= until:
            self._now = max(self._now, session.deadline)
            session.tick(self._now)
            heard += session.data_to_send(self._now) + self._receive()
        self._now = until
        if until >= session.deadline:
            session.tick(until)
        return heard + session.data_to_send(until)

    def _hear(self, data: bytes) -> Iterator[str]:
        self._bytes_heard += len(data)
        *lines, self._line_begun = (self._line_begun + data).split(b"\r\n")
        for line in lines:
            yield f"S: {line.decode('latin-1')}"
        if self._session.close_reason is not None and not self._has_more and not self._closed:
            self._closed = True
            yield f"-- closed {self._session.close_reason}"

    @property
    def _has_more(self) -> bool:
        return isinstance(self._session, TarpitSession) and self._session.has_more

    def _check_sums(self) -> None:
        last = self._session.closed("peer", self._now)[-1]
        assert isinstance(last, Closed)
        received_bytes = self._bytes_said - len(self._with_kernel)
        assert (last.received_bytes, last.sent_bytes) == (received_bytes, self._bytes_heard)


def collapsed(script: Iterable[str]) -> Iterator[str]:
    """Collapse runs of equal lines into one."""
    for line, run in itertools.groupby(script):
        times = len(list(run))
        yield line if times == 1 else f"{line[0]}*{times}{line[1:]}"


def difference(transcript: Transcript, chunk_bytes: int) -> str:
    """Play a transcript; return the whole dialogue with the differences marked, or an empty text."""
    played = list(Player(transcript, chunk_bytes).play(transcript.script))
    expected = list(collapsed(transcript.script))
    lines = difflib.unified_diff(
        expected, list(collapsed(played)), "transcript", "machine", n=len(expected), lineterm=""
    )
    return "\n".join(lines)


@pytest.mark.parametrize("chunk_bytes", [WHOLE, 1, 7], ids=["whole", "by-byte", "by-7"])
@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_dialogue(path: Path, chunk_bytes: int) -> None:
    found = difference(parse(path.read_text("ascii"), path.name), chunk_bytes)
    if found:
        pytest.fail(f"{path.name}:\n{found}", pytrace=False)


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_a_transcript_is_well_formed(path: Path) -> None:
    text = path.read_text("ascii")
    assert text.startswith("# ")
    assert not re.search(r"[ \t]$", text, re.MULTILINE)
    script = parse(text, path.name).script
    assert script[0].startswith(("S: ", "+", "C: "))
    assert all(_SERVER_LINE.fullmatch(line) for line in script if line.startswith("S"))


def test_there_are_transcripts() -> None:
    assert len(TRANSCRIPTS) >= 55


DIALOGUE = "S: 220 Welcome!{date}\nC*3: NOOP\nS*3: 250 OK\n+30\nS: 421 Connection timed out\n-- closed idle\n"


@pytest.mark.parametrize("chunk_bytes", [WHOLE, 1, 7])
@pytest.mark.parametrize(
    ("right", "wrong", "shown"),
    [
        ("Welcome!{date}", "Welcome!", f"-S: 220 Welcome!\n+S: 220 Welcome!{DATE}\n"),
        ("S*3: 250 OK", "S*3: 250 ok", "-S*3: 250 ok\n+S*3: 250 OK\n"),
        ("S*3: 250 OK", "S*2: 250 OK", "-S*2: 250 OK\n+S*3: 250 OK\n"),
        ("S*3: 250 OK\n", "", "\n+S*3: 250 OK\n"),
        ("+30", "+29", "\n-S: 421 Connection timed out\n--- closed idle"),
        ("closed idle", "closed session", "--- closed session\n+-- closed idle"),
        ("-- closed idle\n", "", "\n+-- closed idle"),
    ],
)
def test_a_failure_shows_the_whole_transcript(right: str, wrong: str, shown: str, chunk_bytes: int) -> None:
    assert difference(parse(DIALOGUE, "right"), chunk_bytes) == ""
    found = difference(parse(DIALOGUE.replace(right, wrong), "wrong"), chunk_bytes)
    assert shown in found
    assert "\n C*3: NOOP\n" in found


def test_repetitions_and_escapes() -> None:
    assert client_bytes("C: {A*3}b{ *1}") == b"AAAb \r\n"
    assert client_bytes(r"C< \0{\xff*2}\r\n") == b"\0\xff\xff\r\n"
    assert parse("S: x{y*3}\nC:\nC< {\\n*3}\n", "").script == ["S: xyyy", "C: ", "C< {\\n*3}"]


@pytest.mark.parametrize("line", ["", "S 220", "X: y", "+soon", "-- closes idle", "C<", "set", "S*x: y"])
def test_an_unknown_line_is_an_error(line: str) -> None:
    with pytest.raises(ValueError, match="name, line 2"):
        parse(f"S: 220 x\n{line}\n", "name")
