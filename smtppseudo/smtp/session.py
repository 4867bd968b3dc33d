"""A session: one SMTP connection from accept to close, as a pure machine."""

import re
from collections.abc import Sequence
from typing import Final

from smtppseudo.events import Closed, CloseReason, Command, Event, Message, escape
from smtppseudo.smtp.dialogue import Dialogue, SmtpState
from smtppseudo.smtp.lines import LINE_BYTES, Line, LineSplitter, MessageCounter

ERRORS_MAX: Final = 20
COMMANDS_MAX: Final = 1000
LOGGED_BYTES_MAX: Final = 65_536  # of data events, in one session
_RECORD_BYTES: Final = 120  # of a log line, what was said aside

_new: Final = tuple.__new__
_GREETED: Final = SmtpState.GREETED  # looked up here once: reading a member off its class is slow in 3.11
_READY: Final = SmtpState.READY
_STARTTLS: Final = SmtpState.STARTTLS
_CLOSING: Final = SmtpState.CLOSING

_AUTH: Final = re.compile(
    rb"\s*AUTH"
    rb"(?:\s+(?:PLAIN|LOGIN|CRAM-MD5|DIGEST-MD5|NTLM|GSSAPI|EXTERNAL|ANONYMOUS|XOAUTH2|OAUTHBEARER|SCRAM-[A-Z0-9-]{1,20})(?!\S))?",
    re.IGNORECASE,
)
_REDACTED: Final = b"[redacted]"


class Said:
    """What the peer has said so far. Made at its first command, for most of the connections held say nothing.

    `not_logged` counts the data events that were not logged.
    """

    __slots__ = ("commands", "errors", "helo", "last", "logged_bytes", "mail_from", "not_logged")

    def __init__(self) -> None:
        self.commands = 0
        self.errors = 0
        self.helo: bytes | None = None
        self.mail_from: bytes | None = None
        self.last: Command | None = None
        self.logged_bytes = 0
        self.not_logged = 0

    @property
    def follows_auth(self) -> bool:
        """Whether the last command was AUTH, or what may have followed that: user name and password."""
        last = self.last
        return last is not None and (last.data is _REDACTED or _AUTH.match(last.data) is not None)


class SmtpSession:
    """The machine. Its owner's duties, in this order, whenever something arrives or `deadline` passes:

    - give what arrived to `receive`, or call `tick`; log the events that `receive` returns;
    - send all that `data_to_send` gives; until the kernel has taken it whole, call neither `receive` nor
      `tick`, and call `flushed` when it has;
    - when `close_reason` is set and all is sent: shake hands for TLS if it `awaits_tls`, and call `secured` when that
      is done; else, or if that fails, close the connection and log what `closed` returns.

    Times (`now`) are monotonic seconds. A peer's misbehaviour is a reply or an event, never an exception.
    At most 2,048 bytes of a line and nothing of a message are kept.
    """

    __slots__ = (
        "_dialogue",
        "_held",
        "_to_send",
        "close_reason",
        "idle_since",
        "ip",
        "port",
        "received_bytes",
        "said",
        "sent_bytes",
        "session_id",
        "slot",
        "started_at",
        "state",
    )

    has_more = False  # all answers are given at once
    paces = False
    seconds_per_byte = 0.0
    reads = True
    delayed_s = 0.0

    def __init__(
        self, dialogue: Dialogue, session_id: int, slot: int, ip: str, port: int, greeting: bytes, now: float
    ) -> None:
        self._dialogue = dialogue
        self.session_id = session_id
        self.slot = slot
        self.ip = ip
        self.port = port
        self.started_at = now
        self.idle_since = now
        self.state = _GREETED
        self.received_bytes = 0
        self.sent_bytes = 0
        self.said: Said | None = None
        self.close_reason: CloseReason | None = None
        self._held: LineSplitter | MessageCounter | None = None  # an unfinished line, or a message
        self._to_send = greeting

    def receive(self, data: bytes, now: float) -> list[Event]:
        """Take what the peer sent, in any pieces; return what happened."""
        self.received_bytes += len(data)
        events: list[Event] = []
        if self.close_reason is not None:
            return events
        if (
            self._held is None
            and data.find(b"\n") == len(data) - 1
            and data.endswith(b"\r\n")
            and len(data) <= LINE_BYTES
        ):
            # Nearly always one whole line arrives: the same as below, without the splitter.
            self._to_send += self._command(data[:-2], False, False, False, events)
            return events
        replies: list[bytes] = []
        at = 0
        while at < len(data) and self.close_reason is None:
            if isinstance(self._held, MessageCounter):
                at = self._take_message(self._held, data, at, now, replies, events)
            else:
                at = self._take_line(data, at, replies, events)
        if at < len(data):
            self._refuse_tls()
        self._to_send += b"".join(replies)
        return events

    def data_to_send(self, now: float) -> bytes:
        """Give the bytes to send, once. The idle clock starts anew with them."""
        data = self._to_send
        if data:
            self._to_send = b""
            self.sent_bytes += len(data)
            self.idle_since = now
        return data

    def flushed(self, now: float) -> None:
        """Say that the kernel has taken, only now, all that was to be sent."""
        self.idle_since = now

    @property
    def is_open(self) -> bool:
        """Whether commands are still answered, or may be after a TLS handshake."""
        return self.close_reason is None or self.state is _STARTTLS

    @property
    def awaits_tls(self) -> bool:
        """Whether a TLS handshake is to follow; where it fails, the connection is to be closed."""
        return self.state is _STARTTLS

    @property
    def deadline(self) -> float:
        """When `tick` is due."""
        return min(self.idle_since + self._dialogue.idle_timeout_s, self.expires_at)

    @property
    def expires_at(self) -> float:
        """When the session must be over, whatever it does."""
        return self.started_at + self._dialogue.session_timeout_s

    def tick(self, now: float) -> Sequence[Event]:
        """End the session if one of its time-outs has passed; return what happened, which is nothing."""
        if now >= self.expires_at:
            self.end("session")
        elif now >= self.idle_since + self._dialogue.idle_timeout_s:
            self.end("idle")
        return ()

    def end(self, reason: CloseReason) -> None:
        """End the session from our side, with a last reply where that reason has one."""
        if self.state is _STARTTLS:
            self.close_reason = reason  # there is no way to say anything
        elif self.close_reason is None:
            self._to_send += self._dialogue.farewells.get(reason, b"")
            self.close_reason = reason
        self.state = _CLOSING

    def closed(self, reason: CloseReason, now: float, unsent_bytes: int = 0) -> list[Event]:
        """Return the last events, once the connection is closed; the reason given yields to the session's own."""
        events: list[Event] = []
        if isinstance(self._held, LineSplitter) and (line := self._held.rest()):
            self._note(self._said_so_far(), self._too_long(line, self._held), events)
        self._held = None
        self.state = _CLOSING
        self.sent_bytes -= unsent_bytes
        self.close_reason = reason = self.close_reason or reason
        duration_ms = round((now - self.started_at) * 1000)
        said = self._said_so_far()
        events.append(Closed(reason, duration_ms, self.received_bytes, self.sent_bytes, said.commands, said.not_logged))
        return events

    def secured(self, now: float) -> None:
        """Begin anew under TLS: what was said before counts no more (RFC 3207 section 4.2)."""
        dialogue = self._dialogue.under_tls
        if dialogue is not None:
            self._dialogue = dialogue
        self.state = _GREETED
        self.close_reason = None
        self.idle_since = now
        if self.said is not None:
            self.said.helo = self.said.mail_from = None

    def _refuse_tls(self) -> None:
        """End the session in clear where something came behind STARTTLS (RFC 3207 section 6).

        Whoever put that there hopes that it is answered under TLS, as if it had come so.
        """
        if self.state is _STARTTLS:
            self.state = _CLOSING

    def expect_message(self) -> None:
        """Take what follows as a message (the answer to DATA)."""
        self._held = MessageCounter()

    def _take_line(self, data: bytes, at: int, replies: list[bytes], events: list[Event]) -> int:
        splitter = self._held
        if not isinstance(splitter, LineSplitter):
            splitter = self._held = LineSplitter(pipelined=at > 0)
        was_overflowed = splitter.overflowed
        line, end = splitter.take(data, at)
        too_long = splitter.overflowed if line is None else line.truncated_bytes > 0
        if too_long and not was_overflowed:
            # Said as soon as it is known: a peer that never ends its line hears of it, too.
            said = self._said_so_far()
            said.commands += 1
            replies.append(self._counted(said, self._dialogue.line_too_long))
        if line is not None:
            self._held = None
            if line.truncated_bytes:
                self._note(self._said_so_far(), self._too_long(line, splitter), events)
            else:
                marks = (line.eol_lf, splitter.pregreet, splitter.pipelined)
                replies.append(self._command(line.text, *marks, events))
        return end

    def _take_message(
        self,
        message: MessageCounter,
        data: bytes,
        at: int,
        now: float,
        replies: list[bytes],
        events: list[Event],
    ) -> int:
        self.idle_since = now  # bytes of a message count as progress
        end = message.take(data, at)
        if end is None:
            return len(data)
        limit = self._dialogue.max_message_bytes
        too_big = 0 < limit < message.size_bytes
        replies.append(self._dialogue.message_too_big if too_big else self._dialogue.message_answer)
        events.append(Message(message.size_bytes))
        self._held = None
        self.state = _READY
        return end

    def _too_long(self, line: Line, splitter: LineSplitter) -> Command:
        said, dialogue = self._said_so_far(), self._dialogue
        reply = dialogue.farewells["errors"] if self.close_reason == "errors" else dialogue.line_too_long
        shown = _REDACTED if said.follows_auth else _shown(line.text)
        marks = (line.eol_lf, splitter.pregreet, splitter.pipelined, line.truncated_bytes)
        return Command(shown, reply[:-2], *marks)

    def _said_so_far(self) -> Said:
        said = self.said
        if said is None:
            said = self.said = Said()
        return said

    def _command(self, line: bytes, eol_lf: bool, pregreet: bool, pipelined: bool, events: list[Event]) -> bytes:
        dialogue, said = self._dialogue, self.said
        if said is None:
            said = self._said_so_far()
        said.commands += 1
        words = line.split(None, 1)
        verb = words[0].upper() if words else b""
        rule = dialogue.rules.get(verb)
        if rule is None:
            rule = dialogue.unknown
            reply = rule.answer(self, said, words[0] if words else b"")
        elif rule.states is not None and self.state not in rule.states:
            reply = rule.otherwise
            said.errors += not reply.startswith(b"50")  # as those are counted below
        else:
            reply = rule.answer(self, said, words[1] if len(words) > 1 else b"")
            # 2yz and 3yz: the command was taken (RFC 5321 section 4.2.1).
            if rule.then is not None and reply[0] < 0x34:
                self.state = rule.then
        if reply.startswith(b"50") or said.errors >= ERRORS_MAX or said.commands >= COMMANDS_MAX:
            reply = self._counted(said, reply)
        first_line = reply[: reply.index(b"\r")]
        if verb == b"AUTH":
            line = _shown(line)
        elif rule is dialogue.unknown and said.follows_auth:
            # Some clients send user name and password though AUTH was refused.
            line, first_line = _REDACTED, _hidden(first_line)
        # tuple.__new__ spares the half of what Command(...) costs, here where it counts.
        event = _new(Command, (line, first_line, eol_lf, pregreet, pipelined, 0))
        self._note(said, event, events)
        return reply

    def _note(self, said: Said, event: Command, events: list[Event]) -> None:
        said.last = event
        if said.logged_bytes < LOGGED_BYTES_MAX:
            said.logged_bytes += _RECORD_BYTES + len(escape(event.data)) + len(event.reply)
            events.append(event)
        else:
            said.not_logged += 1

    def _counted(self, said: Said, reply: bytes) -> bytes:
        """Count an error; give the reply, or 421 where the limits are reached.

        50z replies are those to malformed, unknown and out-of-sequence commands (RFC 5321 section 4.2.1);
        no refusal that `reject_at` prescribes is among them.
        """
        if reply.startswith(b"50"):
            said.errors += 1
        if (said.errors < ERRORS_MAX and said.commands < COMMANDS_MAX) or self.close_reason is not None:
            return reply
        self.close_reason = "errors"
        return self._dialogue.farewells["errors"]


def _hidden(first_line: bytes) -> bytes:
    """Return a reply's line without what it echoes, which comes last, behind a colon."""
    code_and_text, colon, _ = first_line.partition(b": ")
    return code_and_text + colon + _REDACTED if colon else first_line


def _shown(line: bytes) -> bytes:
    """Return a line as it may be logged: all that follows AUTH and a mechanism's name may be a password."""
    match = _AUTH.match(line)
    if match is None or not line[match.end() :].strip():
        return line
    return match[0] + b" " + _REDACTED
