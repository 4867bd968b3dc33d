"""The prober: plays a mail sender up to the point where it would send a message, as a pure machine."""

import re
from enum import Enum
from typing import Final, NamedTuple

from smtppseudo.smtp.lines import LineSplitter

REPLY_LINES_MAX: Final = 100  # a security limit, like the next one
REPLY_BYTES_MAX: Final = 65_536

_REPLY_LINE: Final = re.compile(rb"[2-5][0-9]{2}(?:[ -]|$)")  # RFC 5321 section 4.2


class Verdict(Enum):
    """What the server would do with a message."""

    ACCEPTED = "accepted"
    REFUSED = "refused permanently"
    DEFERRED = "deferred: a sender would try again later"


class Probe(NamedTuple):
    """What to send. `helo`: HELO instead of EHLO. `pipeline`: all commands after it at once (RFC 2920)."""

    name: str
    sender: str = "<probe@example.org>"
    recipient: str = "<postmaster>"
    helo: bool = False
    pipeline: bool = False


class Prober:
    """Pass received data to `receive` and send what `data_to_send` returns, until `verdict` is set and nothing is left.

    A connection that ends without a verdict means DEFERRED. The prober never ends a message: after 354 the verdict is
    ACCEPTED, and its owner must close the connection at once. So it must when `violation` is set: it says how the
    server broke the rules of replies, and everything after that is ignored. `replies` is the number of whole replies;
    its owner limits the time of each. Once `wants_tls`, the owner must do the handshake, then call `begin_again`.
    """

    def __init__(self, probe: Probe) -> None:
        self.verdict: Verdict | None = None
        self.violation = ""
        self.replies = 0
        self.wants_tls = False
        self.dialogue: list[tuple[str, bytes]] = []  # the lines, from `S`, the server, or `C`, the prober
        self._probe = probe
        self._splitter = LineSplitter()
        self._reply_lines = 0  # of the present reply, like the next one
        self._reply_bytes = 0
        self._is_under_tls = self._offers_tls = False
        self._expected = ["greeting"]  # the commands that still wait for a reply
        self._following = self._commands()
        self._to_send = b""

    def receive(self, data: bytes) -> None:
        """Process bytes from the server."""
        at = 0
        while at < len(data) and not self.violation and not self.wants_tls:
            start = at
            line, at = self._splitter.take(data, at)
            self._reply_bytes += at - start
            if self._reply_bytes > REPLY_BYTES_MAX:
                self.violation = f"a reply has more than {REPLY_BYTES_MAX:,} bytes"
            elif line is not None:
                self._take_line(line.text)

    def begin_again(self) -> None:
        """Begin again under TLS (RFC 3207 section 4.2)."""
        self.wants_tls = self._offers_tls = False
        self._is_under_tls = True
        self._following = self._commands()
        self._send("EHLO", self._probe.name)

    def data_to_send(self) -> bytes:
        """Return the bytes to send, once."""
        data, self._to_send = self._to_send, b""
        return data

    @property
    def awaits_reply(self) -> bool:
        """Whether a command waits for its reply; after 354 none does."""
        return bool(self._expected) and self.verdict is not Verdict.ACCEPTED

    def _commands(self) -> list[tuple[str, str]]:
        return [("MAIL", f"FROM:{self._probe.sender}"), ("RCPT", f"TO:{self._probe.recipient}"), ("DATA", "")]

    def _take_line(self, line: bytes) -> None:
        self.dialogue.append(("S", line))
        self._reply_lines += 1
        if self._expected[:1] == ["EHLO"] and line[4:].strip().upper() == b"STARTTLS":
            self._offers_tls = not self._is_under_tls
        if not _REPLY_LINE.match(line):
            self.violation = "a line is no SMTP reply"
        elif self._reply_lines > REPLY_LINES_MAX:
            self.violation = f"a reply has more than {REPLY_LINES_MAX} lines"
        elif line[3:4] != b"-":
            self._reply_lines = self._reply_bytes = 0
            self.replies += 1
            self._take_reply(line[:3])

    def _take_reply(self, code: bytes) -> None:
        command = self._expected.pop(0) if self._expected else ""
        if self.verdict is not None or not command or "STARTTLS" in self._expected:
            return
        is_refused = code.startswith(b"5")
        if command == "EHLO" and is_refused:
            self._send("HELO", self._probe.name)  # RFC 5321 section 3.2
        elif (command, code) == ("MAIL", b"530") and self._offers_tls:
            self._send("STARTTLS", "")  # a sender would use TLS here (RFC 3207 section 4)
        elif is_refused or code.startswith(b"4"):
            self.verdict = Verdict.REFUSED if is_refused else Verdict.DEFERRED
            self._send("QUIT", "")
        elif command == "STARTTLS":
            self.wants_tls = True
        elif command == "DATA":
            self.verdict = Verdict.ACCEPTED  # no QUIT: it would be a line of the message
        elif command == "greeting":
            self._send("HELO" if self._probe.helo else "EHLO", self._probe.name)
        else:
            while self._following and (self._probe.pipeline or not self._expected):
                self._send(*self._following.pop(0))

    def _send(self, verb: str, argument: str) -> None:
        line = f"{verb} {argument}".rstrip().encode("utf-8", "replace")
        self.dialogue.append(("C", line))
        self._expected.append(verb)
        self._to_send += line + b"\r\n"
