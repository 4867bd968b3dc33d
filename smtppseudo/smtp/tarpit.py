"""The tarpit: a session that takes its time to answer."""

from typing import Final

from smtppseudo.events import CloseReason, Event
from smtppseudo.smtp.dialogue import Dialogue
from smtppseudo.smtp.lines import LineSplitter
from smtppseudo.smtp.pace import AT_ONCE
from smtppseudo.smtp.session import SmtpSession

_ROUNDING: Final = 0.001  # of an byte: what falls due at `deadline` is not to be missed by the last bit of a float
_receive: Final = SmtpSession.receive


class _Early:
    """Bytes that came while an answer was on its way, or behind the command that is answered now.

    `pregreet`: they came before the greeting was said. `behind`: they came behind a command. `at` is how far
    they are seen to.
    """

    __slots__ = ("at", "behind", "data", "pregreet")

    def __init__(self, data: bytes, *, behind: bool, pregreet: bool) -> None:
        self.data = data
        self.behind = behind
        self.pregreet = pregreet
        self.at = 0

    def take_line(self) -> bytes:
        """Take out the next line, its end included, or what there is of it."""
        at, data = self.at, self.data
        self.at = data.find(b"\n", at) + 1 or len(data)
        return data[at : self.at]

    @property
    def left(self) -> int:
        """How many bytes are still to be seen to."""
        return len(self.data) - self.at


class TarpitSession(SmtpSession):
    """The machine of `SmtpSession`, at the pace of its dialogue. The same bytes come, in the same order.

    Each answer is given before the next command is looked at. While one is on its way `has_more` is true, and
    `deadline` says when there is more to send (or the session is over): then call `tick`, log the events that it
    returns, and send what `data_to_send` gives, which is never more than is due. Meanwhile `receive` may be called
    only while `reads` is true: once, for at most 2,048 bytes are to wait here, and the rest with the kernel. The
    idle clock, `idle_since`, stands where the answer was asked for until it has been given.

    What `end` says is said at once, behind the rest of the answer on its way, so that no line is cut in two.

    It inherits for the sake of memory: a second object would add a tenth to what a held connection costs.
    """

    __slots__ = ("_early", "_given", "delayed_s")

    paces = True

    def __init__(
        self, dialogue: Dialogue, session_id: int, slot: int, ip: str, port: int, greeting: bytes, now: float
    ) -> None:
        super().__init__(dialogue, session_id, slot, ip, port, greeting, now)
        self._early: _Early | None = None
        self._given = 0  # how many bytes of _to_send, which here is the answer on its way, whole
        self.delayed_s = 0.0

    @property
    def has_more(self) -> bool:  # type: ignore[override]
        """Whether an answer, or a command that came early, waits for its time."""
        return self._to_send != b"" or self._early is not None

    @property
    def reads(self) -> bool:  # type: ignore[override]
        """Whether `receive` may be called."""
        return self._early is None

    @property
    def deadline(self) -> float:
        """When `tick` is due."""
        if self._to_send:
            rate = self._dialogue.pace.stutter_bytes_per_s
            due_at = self._begins_at + (self._given / rate if rate else 0)
        elif self._early is None:
            due_at = self.idle_since + self._dialogue.idle_timeout_s
        else:
            due_at = self.idle_since
        return min(due_at, self.expires_at)

    @property
    def seconds_per_byte(self) -> float:  # type: ignore[override]
        """How much later than one byte of the answer on its way the next is due; 0 where all come at once."""
        rate = self._dialogue.pace.stutter_bytes_per_s
        return 1 / rate if rate and self._given else 0.0

    def receive(self, data: bytes, now: float) -> list[Event]:
        """Take what the peer sent; return what happened, which is nothing while an answer is on its way."""
        if self.close_reason is not None:
            self.received_bytes += len(data)
            self._refuse_tls()
            return []
        is_early = self._to_send != b""
        # Nobody is answered before the greeting is said.
        self._early = _Early(data, behind=is_early, pregreet=is_early and self.said is None)
        return [] if is_early else self._see_to_early(now)

    def tick(self, now: float) -> list[Event]:
        """End the session if one of its time-outs has passed, or answer the next command if that is due."""
        if now >= self.expires_at:
            self.end("session")
        elif self._to_send:
            pass  # data_to_send knows
        elif self._early is not None:
            return self._see_to_early(now)
        elif now >= self.idle_since + self._dialogue.idle_timeout_s:
            self.end("idle")
        return []

    def data_to_send(self, now: float) -> bytes:
        """Give what is due of the answer on its way, once; nothing when the session is over and `tick` says so."""
        answer, given = self._to_send, self._given
        rate, begun_at = self._dialogue.pace.stutter_bytes_per_s, self._begins_at
        if now < begun_at or (rate and now >= self.expires_at):
            return b""
        due = int((now - begun_at) * rate + _ROUNDING) + 1
        if rate and due < len(answer):
            self._given = due
            return answer[given:due]
        if answer:
            self._add_delay(now)
            self._to_send = b""
            self._given = 0
            self.sent_bytes += len(answer)
            self.idle_since = now
        return answer[given:]

    def next_part(self, data: int) -> bytes:
        """Give so many bytes more of an answer that goes on after them; nothing where `data_to_send` is to be asked.

        Whoever asks knows by `seconds_per_byte` that they are due, and that the session is not over.
        """
        given = self._given
        due = given + data
        answer = self._to_send
        if due < len(answer):
            self._given = due
            return answer[given:due]
        return b""

    def flushed(self, now: float) -> None:
        """Say that the kernel has taken, only now, all that was given."""
        if not self._to_send:
            self.idle_since = now

    def stop_delaying(self) -> None:
        """Answer at once from now on, what is on its way included."""
        self._dialogue = self._dialogue.at_once

    def end(self, reason: CloseReason) -> None:
        """End the session from our side: what is left of an answer, and the last reply, are due at once."""
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
        """When the first byte of the answer on its way is due."""
        greet_delay_s, reply_delay_s, _ = self._dialogue.pace
        return self.idle_since + (greet_delay_s if self.said is None else reply_delay_s)

    def _see_to_early(self, now: float) -> list[Event]:
        """Take in what waits: up to the first command that is answered, where replies take their time."""
        events: list[Event] = []
        early = self._early
        while early is not None:
            if early.behind and self._held is None:
                self._held = LineSplitter(pipelined=True, pregreet=early.pregreet)
            events += _receive(self, early.take_line(), now)
            early.behind = True
            if self.close_reason is not None:
                self._drop_early()
            elif early.left == 0:
                self._early = None
            elif self._to_send and self._dialogue.pace.holds_replies:
                break
            early = self._early
        if self._to_send:
            self.idle_since = now
        return events

    def _add_delay(self, now: float) -> None:
        """Count how long the caller waited for an answer; not for a farewell, before which it was idle."""
        if self._given or self._dialogue.pace != AT_ONCE:
            self.delayed_s += now - self.idle_since

    def _drop_early(self) -> None:
        """Count what will never be looked at as received."""
        early, self._early = self._early, None
        if early is not None and early.left:
            self.received_bytes += early.left
            self._refuse_tls()


def session_type(dialogue: Dialogue) -> type[SmtpSession]:
    """Return the machine that keeps to the pace of a dialogue."""
    return SmtpSession if dialogue.pace == AT_ONCE else TarpitSession
