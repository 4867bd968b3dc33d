"""A session: one SMTP connection from accept to close, as a pure machine."""

from collections.abc import Sequence
from typing import Final

from smtppseudo.events import Closed, CloseReason, Command, Event, Message, escape
from smtppseudo.smtp.dialogue import Dialogue, SmtpState
from smtppseudo.smtp.lines import LINE_BYTES, Line, LineSplitter, MessageCounter
from smtppseudo.smtp.said import REDACTED, Said, redact_auth, redact_echo

ERRORS_MAX: Final = 20
COMMANDS_MAX: Final = 1000
LOGGED_BYTES_MAX: Final = 65_536  # of data events, in one session
_RECORD_BYTES: Final = 120  # of a log line, without the command and the reply

_new: Final = tuple.__new__
_GREETED: Final = SmtpState.GREETED  # module names, because member access on an Enum is slow in Python 3.11
_READY: Final = SmtpState.READY
_DATA: Final = SmtpState.DATA
_STARTTLS: Final = SmtpState.STARTTLS
_CLOSING: Final = SmtpState.CLOSING


class SmtpSession:
    """The machine. Its owner must do this, in this order, whenever data arrives or `deadline` passes:

    - pass the data to `receive`, or call `tick`; log the events that these return;
    - send everything that `data_to_send` returns; until the kernel has accepted all of it, call neither `receive` nor
      `tick`, and then call `flushed`;
    - when `close_reason` is set and everything is sent: if it `awaits_tls`, do the TLS handshake and call `secured`.
      Otherwise, or if the handshake fails, close the connection and log the events that `closed` returns.

    Times (`now`) are monotonic seconds. A peer's misbehaviour is a reply or an event, never an exception.
    A session keeps at most 2,048 bytes of a line and nothing of a message.
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
        """Process bytes from the peer, in chunks of any size; return the events."""
        self.received_bytes += len(data)
        events: list[Event] = []
        close_reason = self.close_reason  # not narrowed to None below, where it changes: mypyc would check that
        if close_reason is not None:
            return events
        if (
            self._held is None
            and data.find(b"\n") == len(data) - 1
            and data.endswith(b"\r\n")
            and len(data) <= LINE_BYTES
        ):
            # The usual case, one whole line: the same as below, without the splitter.
            self._to_send += self._command(data[:-2], False, False, False, events)
            return events
        replies: list[bytes] = []
        at = 0
        while at < len(data) and self.close_reason is None:
            held = self._held
            if isinstance(held, MessageCounter):
                self.idle_since = now  # bytes of a message count as progress
                at = self._take_message(held, data, at, replies, events)
            else:
                at = self._take_line(data, at, replies, events)
        if at < len(data):
            self._refuse_tls()
        self._to_send += b"".join(replies)
        return events

    def data_to_send(self, now: float) -> bytes:
        """Return the bytes to send, once. If there are any, the idle clock restarts."""
        data = self._to_send
        if data:
            self._to_send = b""
            self.sent_bytes += len(data)
            self.idle_since = now
        return data

    def flushed(self, now: float) -> None:
        """Restart the idle clock: the kernel has accepted all bytes only now."""
        self.idle_since = now

    @property
    def is_open(self) -> bool:
        """Whether the session still replies to commands, or may do so after a TLS handshake."""
        return self.close_reason is None or self.state is _STARTTLS

    @property
    def awaits_tls(self) -> bool:
        """Whether a TLS handshake must follow; if it fails, the owner closes the connection."""
        return self.state is _STARTTLS

    @property
    def deadline(self) -> float:
        """When `tick` is due."""
        return min(self.idle_since + self._dialogue.idle_timeout_s, self.expires_at)

    @property
    def expires_at(self) -> float:
        """When the session must end, active or not."""
        return self.started_at + self._dialogue.session_timeout_s

    def tick(self, now: float) -> Sequence[Event]:
        """End the session if one of its time-outs has passed. Return no events."""
        if now >= self.expires_at:
            self.end("session")
        elif now >= self.idle_since + self._dialogue.idle_timeout_s:
            self.end("idle")
        return ()

    def end(self, reason: CloseReason) -> None:
        """End the session from the server's side, with a last reply if the reason has one."""
        if self.state is _STARTTLS:
            self.close_reason = reason  # the peer waits for a handshake, so no reply is possible
        elif self.close_reason is None:
            self._to_send += self._dialogue.farewells.get(reason, b"")
            self.close_reason = reason
        self.state = _CLOSING

    def closed(self, reason: CloseReason, now: float, unsent_bytes: int = 0) -> list[Event]:
        """Return the last events, once the connection is closed. A reason that the session already has stays."""
        events: list[Event] = []
        if isinstance(self._held, LineSplitter) and (line := self._held.rest()):
            self._note(self._ensure_said(), self._too_long(line, self._held), events)
        self._held = None
        self.state = _CLOSING
        self.sent_bytes -= unsent_bytes
        self.close_reason = reason = self.close_reason or reason
        duration_ms = round((now - self.started_at) * 1000)
        said = self._ensure_said()
        events.append(Closed(reason, duration_ms, self.received_bytes, self.sent_bytes, said.commands, said.not_logged))
        return events

    def secured(self, now: float) -> None:
        """Restart under TLS: discard what the caller said before (RFC 3207 section 4.2)."""
        self._dialogue = self._dialogue.under_tls or self._dialogue
        self.state = _GREETED
        self.close_reason = None
        self.idle_since = now
        said = self._ensure_said()
        said.helo = said.mail_from = None

    def _refuse_tls(self) -> None:
        """End the session in clear text if bytes followed STARTTLS (RFC 3207 section 6).

        An attacker may have injected them, so that the server replies to them under TLS as if they came from the peer.
        """
        if self.state is _STARTTLS:
            self.state = _CLOSING

    def _take_line(self, data: bytes, at: int, replies: list[bytes], events: list[Event]) -> int:
        splitter = self._held
        if not isinstance(splitter, LineSplitter):
            splitter = self._held = LineSplitter(pipelined=at > 0)
        was_overflowed = splitter.overflowed
        line, end = splitter.take(data, at)
        too_long = splitter.overflowed if line is None else line.truncated_bytes > 0
        if too_long and not was_overflowed:
            # Replied to before its end, so that a peer that never ends its line gets a reply, too.
            said = self._ensure_said()
            said.commands += 1
            replies.append(self._counted(said, self._dialogue.line_too_long))
        if line is not None:
            self._held = None
            if line.truncated_bytes:
                self._note(self._ensure_said(), self._too_long(line, splitter), events)
            else:
                marks = (line.eol_lf, splitter.pregreet, splitter.pipelined)
                replies.append(self._command(line.text, *marks, events))
        return end

    def _take_message(
        self, message: MessageCounter, data: bytes, at: int, replies: list[bytes], events: list[Event]
    ) -> int:
        end = message.take(data, at)
        if end is None:
            return len(data)
        limit = self._dialogue.max_message_bytes
        too_big = 0 < limit < message.size_bytes
        replies.append(self._dialogue.message_too_big if too_big else self._dialogue.message_reply)
        events.append(Message(message.size_bytes))
        self._held = None
        self.state = _READY
        return end

    def _too_long(self, line: Line, splitter: LineSplitter) -> Command:
        said, dialogue = self._ensure_said(), self._dialogue
        reply = dialogue.farewells["errors"] if self.close_reason == "errors" else dialogue.line_too_long
        shown = REDACTED if said.follows_auth else redact_auth(line.text)
        marks = (line.eol_lf, splitter.pregreet, splitter.pipelined, line.truncated_bytes)
        return Command(shown, reply[:-2], *marks)

    def _ensure_said(self) -> Said:
        said = self.said
        if said is None:
            said = self.said = Said()
        return said

    def _command(self, line: bytes, eol_lf: bool, pregreet: bool, pipelined: bool, events: list[Event]) -> bytes:
        dialogue, said = self._dialogue, self.said
        if said is None:
            said = self._ensure_said()
        said.commands += 1
        words = line.split(None, 1)
        verb = words[0].upper() if words else b""
        rule = dialogue.rules.get(verb)
        if rule is None:
            rule = dialogue.unknown
            reply = rule.reply(said, self.ip, words[0] if words else b"")
        elif rule.states is not None and self.state not in rule.states:
            reply = rule.out_of_sequence
            said.errors += not reply.startswith(b"50")  # _counted counts a 50z
        else:
            reply = rule.reply(said, self.ip, words[1] if len(words) > 1 else b"")
            # 2yz and 3yz: the command was accepted (RFC 5321 section 4.2.1).
            if rule.then is not None and reply[0] < 0x34:
                self.state = rule.then
                self.close_reason = rule.close_reason
                if rule.then is _DATA:
                    self._held = MessageCounter()
        if reply.startswith(b"50") or said.errors >= ERRORS_MAX or said.commands >= COMMANDS_MAX:
            reply = self._counted(said, reply)
        first_line = reply[: reply.index(b"\r")]
        if verb == b"AUTH":
            line = redact_auth(line)
        elif rule is dialogue.unknown and said.follows_auth:
            # Some clients send user name and password although AUTH was refused.
            line, first_line = REDACTED, redact_echo(first_line)
        # tuple.__new__ takes half the time of Command(...), and every command passes here.
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
        """Count an error; return the reply, or 421 when a limit is reached.

        Replies of 50z are those to malformed, unknown and out-of-sequence commands (RFC 5321 section 4.2.1).
        No refusal that `reject_at` prescribes is among them.
        """
        if reply.startswith(b"50"):
            said.errors += 1
        if (said.errors < ERRORS_MAX and said.commands < COMMANDS_MAX) or self.close_reason is not None:
            return reply
        self.close_reason = "errors"
        return self._dialogue.farewells["errors"]
