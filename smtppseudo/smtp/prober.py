"""The prober: plays a sender up to the point where a message would be sent, as a pure machine."""

from enum import Enum
from typing import Final, NamedTuple

from smtppseudo.smtp.lines import LineSplitter

REPLY_LINES_MAX: Final = 100


class Verdict(Enum):
    """What a server would do with a message."""

    TAKEN = "taken"
    REFUSED = "refused for good"
    DEFERRED = "deferred: a sender would try again later"


class Errand(NamedTuple):
    """What to say. With `helo`, HELO is said instead of EHLO; with `pipeline`, all after it at once (RFC 2920)."""

    name: str
    sender: str = "<probe@example.org>"
    recipient: str = "<postmaster>"
    helo: bool = False
    pipeline: bool = False


class Spoken(NamedTuple):
    """One line of the dialogue, `S` by the server, `C` by us."""

    by: str
    line: bytes


class Prober:
    """Give what arrives to `receive`, send what `data_to_send` gives, until `verdict` is set and nothing is to be sent.

    It never ends a message: at 354 the mail counts as taken, and the connection is to be closed at once.
    """

    def __init__(self, errand: Errand) -> None:
        self.verdict: Verdict | None = None
        self.spoken: list[Spoken] = []
        self._errand = errand
        self._splitter = LineSplitter()
        self._reply_lines = 0
        self._expected = ["greeting"]  # what the replies to come are to
        self._to_send = b""

    def receive(self, data: bytes) -> None:
        """Take what the server sent."""
        at = 0
        while at < len(data):
            line, at = self._splitter.take(data, at)
            if line is not None:
                self._take_line(line.text)

    def data_to_send(self) -> bytes:
        """Give the bytes to send, once."""
        data, self._to_send = self._to_send, b""
        return data

    @property
    def awaits_reply(self) -> bool:
        """Whether a command is not answered yet; after 354 nothing more will be."""
        return bool(self._expected) and self.verdict is not Verdict.TAKEN

    def lost(self) -> None:
        """Say that the server closed the connection or did not answer."""
        if self.verdict is None:
            self.verdict = Verdict.DEFERRED

    def _take_line(self, line: bytes) -> None:
        self.spoken.append(Spoken("S", line))
        self._reply_lines += 1
        if self._reply_lines > REPLY_LINES_MAX or not line[:3].isdigit():
            self.verdict = self.verdict or Verdict.DEFERRED
        elif line[3:4] != b"-":
            self._reply_lines = 0
            self._take_reply(line[:1])

    def _take_reply(self, first_digit: bytes) -> None:
        to = self._expected.pop(0) if self._expected else ""
        if self.verdict is not None or not to:
            return
        if to == "EHLO" and first_digit == b"5":
            self._say("HELO", self._errand.name)  # RFC 5321 section 3.2
        elif first_digit in (b"4", b"5"):
            self._end(Verdict.REFUSED if first_digit == b"5" else Verdict.DEFERRED)
        elif to == "DATA":
            self._end(Verdict.TAKEN)
        else:
            self._go_on(to)

    def _go_on(self, after: str) -> None:
        errand = self._errand
        mail, rcpt = ("MAIL", f"FROM:{errand.sender}"), ("RCPT", f"TO:{errand.recipient}")
        if after == "greeting":
            self._say("HELO" if errand.helo else "EHLO", errand.name)
        elif after in ("EHLO", "HELO"):
            for command in [mail, rcpt, ("DATA", "")] if errand.pipeline else [mail]:
                self._say(*command)
        elif not self._expected:
            self._say(*(rcpt if after == "MAIL" else ("DATA", "")))

    def _end(self, verdict: Verdict) -> None:
        self.verdict = verdict
        if verdict is not Verdict.TAKEN:  # after 354 QUIT would be a line of the message
            self._say("QUIT", "")

    def _say(self, verb: str, argument: str) -> None:
        line = f"{verb} {argument}".rstrip().encode("utf-8", "replace")
        self.spoken.append(Spoken("C", line))
        self._expected.append(verb)
        self._to_send += line + b"\r\n"
