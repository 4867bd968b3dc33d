"""The tarpit: a session that delays its replies and sends them slowly."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from smtppseudo.events import CloseReason, Event
from smtppseudo.smtp.dialogue import AT_ONCE, Dialogue
from smtppseudo.smtp.lines import LineSplitter, MessageCounter
from smtppseudo.smtp.session import SmtpSession

_ROUNDING: Final = 0.001  # of a byte, so that a float's last bit does not delay the byte that is due at `deadline`


class _Early(NamedTuple):
    """Bytes that arrived during a reply, or behind the command that the session replies to now."""

    data: bytes
    is_behind: bool  # behind a command
    is_pregreet: bool  # before the end of the greeting


class TarpitSession(SmtpSession):
    """An `SmtpSession` with the pace of its dialogue. It sends the same bytes in the same order.

    Each reply is sent before the next command is processed. During a reply `has_more` is true, and `deadline` is when
    more is due, or the session is over. The owner then calls `tick`, logs its events, and sends what `data_to_send`
    returns. Meanwhile it may call `receive` only while `reads` is true: once, because a session keeps at most 2,048
    bytes; the others stay in the kernel. The idle clock, `idle_since`, stops when the reply is requested, and restarts
    when it is sent. After `end` the rest of a reply and the farewell are due at once, so that no line is cut in two.
    It is a subclass to save memory: a second object would add a tenth to the cost of a held connection.
    """

    __slots__ = ("_early", "_given", "delayed_s")

    def __init__(
        self, dialogue: Dialogue, session_id: int, slot: int, ip: str, port: int, greeting: bytes, now: float
    ) -> None:
        super().__init__(dialogue, session_id, slot, ip, port, greeting, now)
        self._early: _Early | None = None
        self._given = 0  # bytes sent of _to_send, which is the whole reply here
        self.delayed_s = 0.0

    @property
    def has_more(self) -> bool:
        """Whether a reply, or a command that arrived early, is not finished."""
        return self._to_send != b"" or self._early is not None

    @property
    def reads(self) -> bool:
        """Whether `receive` may be called."""
        return self._early is None

    @property
    def deadline(self) -> float:
        """When `tick` is due."""
        due_at = self.idle_since
        if self._to_send:
            rate = self._dialogue.pace.stutter_bytes_per_s
            due_at = self._begins_at + (self._given / rate if rate else 0)
        elif self._early is None:
            due_at += self._dialogue.idle_timeout_s
        return min(due_at, self.expires_at)

    @property
    def is_delayed(self) -> bool:
        """Whether replies are due late: until `stop_delaying` or `end`."""
        return self._dialogue.pace != AT_ONCE

    @property
    def seconds_per_byte(self) -> float:
        """The time between two bytes of a reply that has begun; 0 if all bytes are due together."""
        rate = self._dialogue.pace.stutter_bytes_per_s
        return 1 / rate if rate and self._given else 0.0

    def receive(self, data: bytes, now: float) -> Sequence[Event]:
        """Process bytes from the peer; return the events. During a reply, keep the bytes for later."""
        if self.close_reason is not None:
            self.received_bytes += len(data)
            self._refuse_tls()
            return ()
        is_early = self._to_send != b""
        self._early = _Early(data, is_early, is_early and not self.sent_bytes)
        return () if is_early else self._process_early(now)

    def tick(self, now: float) -> list[Event]:
        """End the session if one of its time-outs has passed, or process the next command if it is due."""
        if self._early is not None and not self._to_send and now < self.expires_at:
            return self._process_early(now)
        if now >= self.expires_at or not self._to_send:  # during a reply it is never idle
            super().tick(now)
        return []

    def data_to_send(self, now: float) -> bytes:
        """Return the bytes that are due, once. At the end of the session return nothing until `tick` is called."""
        reply, given = self._to_send, self._given
        rate, begins_at = self._dialogue.pace.stutter_bytes_per_s, self._begins_at
        if now < begins_at or (rate and now >= self.expires_at):
            return b""
        due = int((now - begins_at) * rate + _ROUNDING) + 1
        if rate and due < len(reply):
            self._given = due
            return reply[given:due]
        if reply:
            self._add_delay(now)
            self._to_send = b""
            self._given = 0
            self.sent_bytes += len(reply)
            self.idle_since = now
        return reply[given:]

    def next_part(self, count: int, now: float) -> bytes:
        """Return the next `count` bytes of a reply: those due by `seconds_per_byte`. After b"" call `data_to_send`."""
        given, reply = self._given, self._to_send
        due = given + count
        if due < len(reply) and now < self.started_at + self._dialogue.session_timeout_s:
            self._given = due
            return reply[given:due]
        return b""

    def flushed(self, now: float) -> None:
        """Restart the idle clock after a whole reply: the kernel has accepted all bytes only now."""
        if not self._to_send:
            self.idle_since = now

    def stop_delaying(self) -> None:
        """Make the rest of the reply, and all later replies, due at once."""
        self._dialogue = self._dialogue.at_once

    def end(self, reason: CloseReason) -> None:
        """End the session from our side; the rest of a reply and the farewell are due at once."""
        self.stop_delaying()
        self._drop_early()
        super().end(reason)

    def closed(self, reason: CloseReason, now: float, unsent_bytes: int = 0) -> list[Event]:
        """Return the last events, once the connection is closed."""
        self._drop_early()
        if self._to_send:
            self.sent_bytes += self._given
            self._add_delay(now)
        return super().closed(reason, now, unsent_bytes)

    @property
    def _begins_at(self) -> float:
        """When the first byte of the reply is due."""
        greet_delay_s, reply_delay_s, _ = self._dialogue.pace
        return self.idle_since + (reply_delay_s if self.sent_bytes else greet_delay_s)

    def _process_early(self, now: float) -> list[Event]:
        """Process the bytes that were kept: all of them, or up to the first reply if that is delayed."""
        events: list[Event] = []
        while self._early is not None:
            data, is_behind, is_pregreet = self._early
            if is_behind and self._held is None:
                self._held = LineSplitter(pipelined=True, pregreet=is_pregreet)
            end = self._end_of_first(data) or len(data)
            events += super().receive(data[:end], now)
            self._early = _Early(data[end:], True, is_pregreet) if end < len(data) else None
            if self.close_reason is not None:
                self._drop_early()
            elif self._to_send and any(self._dialogue.pace[1:]):  # replies are slow, not only the greeting
                break
        if self._to_send:
            self.idle_since = now
        return events

    def _end_of_first(self, data: bytes) -> int:
        """Return where the first line, message or chunk ends; 0, or a place behind the data, if that is not there."""
        # A message is not taken line by line: 400 KB of empty lines a second would keep the server busy.
        if isinstance(self._held, int):
            return self._held
        return self._held.end_in(data) if isinstance(self._held, MessageCounter) else data.find(b"\n") + 1

    def _add_delay(self, now: float) -> None:
        """Count how long the caller has waited for a reply; it does not wait for a farewell."""
        if self._given or self._dialogue.pace != AT_ONCE:
            self.delayed_s += now - self.idle_since

    def _drop_early(self) -> None:
        """Drop the bytes that were kept; count them as received."""
        if self._early is not None:
            self.received_bytes += len(self._early.data)
            self._early = None
            self._refuse_tls()


def session_type(dialogue: Dialogue) -> type[SmtpSession]:
    """Return the class of session for the pace of a dialogue."""
    return SmtpSession if dialogue.pace == AT_ONCE else TarpitSession
