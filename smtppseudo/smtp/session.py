"""A session: one SMTP connection from accept to close, as a pure machine."""

import re
from collections.abc import Sequence
from typing import Final

from smtppseudo.events import Closed, CloseReason, Command, Event, Message, escape, ip_of, origin_of, slot_and_ip
from smtppseudo.smtp.dialogue import Dialogue, Rule, SmtpState
from smtppseudo.smtp.lines import LINE_BYTES, Line, LineSplitter, MessageCounter
from smtppseudo.smtp.said import Said

ERRORS_MAX: Final = 20
COMMANDS_MAX: Final = 1000
CHUNK_BYTES_MAX: Final = 4_000_000  # of a BDAT that is dropped, unless SIZE is announced
_BDAT: Final = re.compile(rb"\s*BDAT\s+(\d{1,20})(?:\s+LAST)?\s*", re.IGNORECASE)
_TLS: Final = b"\x16\x03"  # how a TLS handshake begins (RFC 8446 section 5.1)
_new: Final = tuple.__new__
_GREETED: Final = SmtpState.GREETED  # module names, because member access on an Enum is slow in Python 3.11
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
    A session keeps at most 2,048 bytes of a line and nothing of a message. Its slot, its number and the
    caller's address are kept as text, `origin`: every event needs that, and four objects would take more memory.
    """

    delayed_s = 0.0  # by the tarpit
    __slots__ = (
        "_dialogue",
        "_held",
        "_to_send",
        "close_reason",
        "idle_since",
        "origin",
        "received_bytes",
        "said",
        "sent_bytes",
        "started_at",
        "state",
    )

    def __init__(
        self, dialogue: Dialogue, session_id: int, slot: int, ip: str, port: int, greeting: bytes, now: float
    ) -> None:
        self._dialogue = dialogue
        self.origin = origin_of(slot, session_id, ip, port)
        self.started_at = self.idle_since = now
        self.state = _GREETED
        self.received_bytes = self.sent_bytes = 0
        self.said: Said | None = None
        self.close_reason: CloseReason | None = None
        # What is not finished. A number: the bytes of a chunk (RFC 3030) that are still to come, and are dropped.
        self._held: LineSplitter | MessageCounter | int | None = None
        self._to_send = greeting

    def receive(self, data: bytes, now: float) -> Sequence[Event]:
        """Process bytes from the peer, in chunks of any size; return the events."""
        self.received_bytes += len(data)
        if self.close_reason is not None:
            return ()
        line, crlf, rest = data.partition(b"\r\n")
        if crlf and not rest and self._held is None and 0x0A not in line and len(line) < LINE_BYTES:
            # The usual case, one whole line, without the splitter: this saves a quarter of a session's instructions.
            return self._command(line, False, False, False)
        return self._receive_pieces(data, now)

    def receive_early(self, data: bytes, now: float) -> Sequence[Event]:
        """Process bytes that came before the greeting is sent; return the events."""
        self._held = LineSplitter(pipelined=True, pregreet=True)
        return self.receive(data, now)

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
    def slot(self) -> int:
        """The number of the slot, from 1."""
        return slot_and_ip(self.origin)[0]

    @property
    def ip(self) -> str:
        """The caller's address."""
        return ip_of(self.origin)

    @property
    def stage(self) -> str:
        """The stage at which mail is refused in this session."""
        return self._dialogue.stage

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
        dialogue = self._dialogue
        return min(self.started_at + dialogue.session_timeout_s, self.idle_since + dialogue.idle_timeout_s)

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
            self.close_reason = reason
            self._to_send += self._dialogue.farewells.get(reason, b"")
        self.state = _CLOSING

    def closed(self, reason: CloseReason, now: float, unsent_bytes: int = 0) -> list[Event]:
        """Return the last events, once the connection is closed. A reason that the session already has stays."""
        events: Sequence[Event] = ()
        held, self._held = self._held, None
        if isinstance(held, LineSplitter) and (line := held.rest()):
            events = self._too_long(line, held)
        self.state = _CLOSING
        self.sent_bytes -= unsent_bytes
        self.close_reason = reason = self.close_reason or reason
        said = self.said or self._ensure_said()
        if self._dialogue.greets_with_refusal:
            said.mails_refused = 1
        duration_ms, received, sent = round((now - self.started_at) * 1000), self.received_bytes, self.sent_bytes
        sums = (reason, duration_ms, received, sent, said.commands, said.mails_refused, said.not_logged)
        return [*events, _new(Closed, sums)]

    def secured(self, now: float) -> None:
        """Restart under TLS: discard what the caller said before (RFC 3207 section 4.2)."""
        self._dialogue = self._dialogue.under_tls or self._dialogue
        self.state = _GREETED
        self.close_reason = None
        self.idle_since = now
        said = self._ensure_said()
        said.helo = said.mail_from = None

    def _receive_pieces(self, data: bytes, now: float) -> list[Event]:
        events: list[Event] = []
        replies: list[bytes] = []
        at = 0
        while at < len(data) and self.close_reason is None:
            replies.append(self._to_send)
            self._to_send = b""
            held = self._held
            if isinstance(held, MessageCounter):
                self.idle_since = now  # bytes of a message count as progress
                at = self._take_message(held, data, at, events)
            elif isinstance(held, int):
                self.idle_since = now
                dropped = min(held, len(data) - at)
                at += dropped
                self._held = held - dropped or None
            else:
                at = self._take_line(data, at, events)
        if at < len(data):
            self._refuse_tls()
        self._to_send = b"".join([*replies, self._to_send])
        return events

    def _refuse_tls(self) -> None:
        """End the session in clear text if bytes followed STARTTLS (RFC 3207 section 6)."""
        # An attacker may have injected them, so that the server replies to them under TLS as if the peer had sent them.
        if self.state is _STARTTLS:
            self.state = _CLOSING

    def _take_line(self, data: bytes, at: int, events: list[Event]) -> int:
        splitter = self._held
        if not isinstance(splitter, LineSplitter):
            splitter = self._held = LineSplitter(pipelined=at > 0, pregreet=self.sent_bytes == 0)
        was_overflowed = splitter.overflowed
        line, end = splitter.take(data, at)
        text = splitter.partial if line is None else line.text
        if text.startswith(_TLS) and (self.said is None or not self.said.commands):
            line = Line(text, False)  # it may have no end
        too_long = splitter.overflowed if line is None else line.truncated_bytes > 0
        if too_long and not was_overflowed:
            # Replied to before its end, so that a peer that never ends its line gets a reply, too.
            said = self._ensure_said()
            said.commands += 1
            if said.is_http(text, is_known=False):
                self.close_reason = "http"
            self._to_send += self._counted(said, self._dialogue.line_too_long, is_error=True)
        if line is not None:
            self._held = None
            if line.truncated_bytes:
                events += self._too_long(line, splitter)
            else:
                events += self._command(line.text, line.eol_lf, splitter.pregreet, splitter.pipelined)
        return end

    def _take_message(self, message: MessageCounter, data: bytes, at: int, events: list[Event]) -> int:
        end = message.take(data, at)
        if end is None:
            return len(data)
        dialogue, said = self._dialogue, self._ensure_said()
        if 0 < dialogue.max_message_bytes < message.size_bytes:
            self._to_send += dialogue.message_too_big
        else:
            self._to_send += dialogue.message_reply(said, self.origin, b"")
        said.log_share_bytes += message.size_bytes  # only the commands count
        events.append(Message(message.size_bytes))
        self._held = None
        self.state = SmtpState.READY
        return end

    def _too_long(self, line: Line, splitter: LineSplitter) -> Sequence[Event]:
        said, dialogue = self._ensure_said(), self._dialogue
        reply = dialogue.farewells["errors"] if self.close_reason == "errors" else dialogue.line_too_long
        verb = split_command(line.text)[0].upper()
        is_http = self.close_reason == "http"
        shown, _ = said.redact(line.text, "", verb, is_unknown=True, is_http=is_http)
        said.is_text = said.is_text or verb in (b"DATA", b"BDAT")
        marks = (line.eol_lf, splitter.pregreet and not is_http, splitter.pipelined, line.truncated_bytes)
        said.last = event = Command(shown, escape(reply[:-2]), *marks)
        return (event,)

    def _ensure_said(self) -> Said:
        if self.said is None:
            self.said = Said()
        return self.said

    def _command(self, line: bytes, eol_lf: bool, pregreet: bool, pipelined: bool) -> Sequence[Event]:
        dialogue, said = self._dialogue, self.said
        if said is None:
            said = self.said = Said()
        said.commands += 1
        # The usual case, a verb in capitals and one space, needs no `_find_rule`: this saves 1 % of a session's
        # instructions. The target of an HTTP request begins with "/", "*", "h" or "H". A test compares the two.
        verb, _, argument = line.partition(b" ")
        rule = dialogue.rules.get(verb)
        if rule is None or (argument and ((first := argument[0]) <= 0x2F or first | 0x20 == 0x68)):
            verb, rule, argument = self._find_rule(said, line)
            if rule is None:
                return ()
            pregreet = pregreet and self.close_reason is None  # HTTP is no evidence
        if rule.states is None or self.state in rule.states:
            reply = rule.reply(said, self.origin, argument)
            # 2yz and 3yz: the command was accepted (RFC 5321 section 4.2.1).
            if rule.then is not None and reply[0] < 0x34:
                self.state = rule.then
                self.close_reason = rule.close_reason
                if rule.then is _DATA:
                    self._held = MessageCounter()
            # Replies of 50z are those to malformed commands (RFC 5321 section 4.2.1). No refusal that `reject_at`
            # prescribes is among them, and no other reply has a 0 there.
            if reply[1] == 0x30 or rule.is_error or said.commands >= COMMANDS_MAX:
                reply = self._counted(said, reply, is_error=reply[1] == 0x30 or rule.is_error)
        else:
            reply = self._counted(said, rule.out_of_sequence, is_error=True)
        self._to_send += reply
        more_lines = 0 if reply[3] == 0x20 else reply.count(b"\n") - 1
        first_line = (reply[: reply.index(b"\r")] if more_lines else reply[:-2]).decode()
        if "\\" in first_line:  # the only character of a reply that `escape` changes: this saves 2 %
            first_line = escape(first_line.encode())
        shown = escape(line)
        if rule.may_redact or said.follows_auth or said.is_text:
            is_http = self.close_reason == "http"
            shown, first_line = said.redact(line, first_line, verb, is_unknown=rule.is_error, is_http=is_http)
            self._expect_text(said, verb, line, is_refused=reply[0] == 0x35)
        # tuple.__new__ in place of Command(...) saves 2 % of a session's instructions.
        said.last = event = _new(Command, (shown, first_line, eol_lf, pregreet, pipelined, 0, more_lines))
        return (event,)

    def _find_rule(self, said: Said, line: bytes) -> tuple[bytes, Rule | None, bytes]:
        """Return the verb of a line, in capitals, its rule, and what that rule's reply depends on.

        Another protocol ends the session, TLS without a reply: then there is no rule. So nobody can make a web client
        list itself by mail commands in the body of a request.
        """
        sent_verb, argument = split_command(line)
        verb, dialogue = sent_verb.upper(), self._dialogue
        rule = dialogue.rules.get(verb)
        is_http = said.is_http(line, is_known=rule is not None)
        if rule is not None and not is_http:
            return verb, rule, argument
        if said.commands == 1 and line.startswith(_TLS):
            self.close_reason = "tls_in_clear"
            said.commands = 0  # this was none
            return verb, None, b""
        if is_http:
            self.close_reason = "http"
        elif verb != b"BDAT":
            return verb, dialogue.unknown, sent_verb
        return verb, dialogue.not_spoken, sent_verb

    def _expect_text(self, said: Said, verb: bytes, line: bytes, *, is_refused: bool) -> None:
        """Prepare for a message that is sent although DATA or BDAT was refused."""
        if said.is_text:
            return  # the line is text, too
        # The sender of a BDAT does not wait for the reply (RFC 3030 section 2), so its chunk is dropped.
        match = _BDAT.fullmatch(line) if verb == b"BDAT" else None
        if match is None:
            said.is_text = is_refused and verb in (b"DATA", b"BDAT")
        elif int(match[1]) > (self._dialogue.max_message_bytes or CHUNK_BYTES_MAX):
            self.close_reason = "errors"
        elif size_bytes := int(match[1]):
            self._held = size_bytes
            said.log_share_bytes += size_bytes

    def _counted(self, said: Said, reply: bytes, *, is_error: bool) -> bytes:
        """Count an error; return the reply, or 421 when a limit is reached."""
        said.errors += is_error
        if (said.errors < ERRORS_MAX and said.commands < COMMANDS_MAX) or self.close_reason is not None:
            return reply
        self.close_reason = "errors"
        return self._dialogue.farewells["errors"]


def split_command(line: bytes) -> tuple[bytes, bytes]:
    """Return the verb of a line as sent, and its argument; white space separates them, and either may be empty."""
    words = line.split(None, 1)
    return words[0] if words else b"", words[1] if len(words) > 1 else b""
