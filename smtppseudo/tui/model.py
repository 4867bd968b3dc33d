"""The model: what the screen shows of a server, made of its snapshot, its events and its answers.

Nothing here knows of a terminal. Times come in as arguments: `now` is monotonic seconds, `minute` whole minutes
since the epoch, both of the screen's own clocks, so that a server whose clock is wrong shows right idle times.
"""

from collections.abc import Sequence
from typing import Final

from smtppseudo.link.incoming import Dropped, OpReply, Snapshot, Streamed
from smtppseudo.monitor.codec import Frame
from smtppseudo.tui.slots import SlotBoard
from smtppseudo.tui.stream import Mark, Stream
from smtppseudo.tui.tally import Callers, Rate
from smtppseudo.tui.texts import moment, number_of, text_of
from smtppseudo.tui.transcripts import Transcripts

_OF_SESSIONS: Final = frozenset(("connected", "command", "message", "closed"))
_MINUTE_S: Final = 60


class Model:
    """All that is known of one server. `settings` are those last heard of; `revision` goes with them."""

    def __init__(self) -> None:
        self.board = SlotBoard()
        self.stream = Stream()
        self.transcripts = Transcripts()
        self.callers = Callers()
        self.rate = Rate()
        self.state = ""  # `online`, `offline`, or empty before the first snapshot
        self.started_at = ""
        self.settings: Frame = {}
        self.origins: Frame = {}
        self.revision = 0
        self.counters: Frame = {}
        self.monitors = 0
        self.lost_log_lines = 0
        self.last_connect: tuple[str, str] | None = None  # time stamp and address
        self.last_seq = 0
        self.seen = 0  # events of this run that were shown, or filtered
        self.dropped = 0  # events that never came: left out by the server, or forgotten while the screen was away
        self._snapshot_seq = 0
        self._has_begun = False  # whether an event of this run must follow on `last_seq`
        self._was_away = False

    def load(self, snapshot: Snapshot, now: float) -> None:
        """Take in how things stand at a login."""
        if self.started_at not in ("", snapshot.started_at):
            self._start_anew()
        self.started_at = snapshot.started_at
        self.state = snapshot.state
        self.settings = snapshot.settings
        self.rate.restart()
        self._count(snapshot.counters, None)
        self._snapshot_seq = snapshot.seq
        self.board.load(snapshot.slots, now)
        self._guess_last_connect(snapshot.slots)
        self._was_away = self._has_begun

    def apply(self, notices: Sequence[Streamed | Dropped], now: float, minute: int) -> bool:
        """Take in what came, in order; say whether settings were changed."""
        has_settings = False
        items: list[Frame | Mark] = []
        for notice in notices:
            if not isinstance(notice, Streamed) or notice.seq <= self.last_seq:
                continue  # how many were left out the numbers say, and where
            if notice.seq != self.last_seq + 1 and self._has_begun:
                items.append(self._leave_out(notice.seq - self.last_seq - 1))
            self._has_begun, self._was_away = True, False
            self.last_seq = notice.seq
            self.seen += 1
            items.append(notice.record)
            is_new = notice.seq > self._snapshot_seq
            self._follow(notice.record, now, minute, is_new=is_new)
            has_settings |= is_new and notice.record.get("event") == "settings"
        self.stream.extend(items)
        return has_settings

    def take_status(self, reply: OpReply, minute: int) -> None:
        """Take in the answer to `status`."""
        fields = reply.fields
        self.state = text_of(fields, "state") or self.state
        self.monitors = number_of(fields, "monitors")
        self.lost_log_lines = number_of(fields, "lost_log_lines")
        counters = fields.get("counters")
        if isinstance(counters, dict):
            self._count(counters, minute)

    def take_slots(self, reply: OpReply, now: float) -> None:
        """Take in the answer to `slots`."""
        slots = reply.fields.get("slots")
        if isinstance(slots, list):
            self.board.load(slots, now)

    def take_settings(self, fields: Frame) -> None:
        """Take in the answer to `get`."""
        settings, origins = fields.get("settings"), fields.get("origins")
        if isinstance(settings, dict) and isinstance(origins, dict):
            self.settings, self.origins = settings, origins
            self.revision = number_of(fields, "revision")

    def note(self, text: str) -> None:
        """Put a note among the events."""
        self.stream.extend([Mark(text)])

    def _follow(self, record: Frame, now: float, minute: int, *, is_new: bool) -> None:
        kind = record.get("event")
        if kind in _OF_SESSIONS:
            self.transcripts.follow(record)
            if is_new:
                self.board.follow(record, now)
        if kind == "connected":
            self.callers.add(text_of(record, "ip"))
            self.last_connect = (text_of(record, "time"), text_of(record, "ip"))
            self.rate.add(minute if is_new else _minute_of(record, minute))
        elif kind == "turned_away":
            self.rate.add(minute if is_new else _minute_of(record, minute), number_of(record, "count"))
        elif is_new and kind in ("online", "offline"):
            self.state = str(kind)

    def _leave_out(self, count: int) -> Mark:
        self.dropped += count
        self.transcripts.note_gap()
        why = "this screen was away" if self._was_away else "they came faster than they were read"
        return Mark(f"{count:,} event{'' if count == 1 else 's'} left out here: {why}")

    def _start_anew(self) -> None:
        self.note("the server was restarted; the events of its new run follow, as far as it still has them")
        self.transcripts.clear()
        self.last_seq = self.seen = self.dropped = 0
        self._has_begun = True

    def _guess_last_connect(self, slots: Sequence[Frame]) -> None:
        """Find the last connect in the list of slots, until an event tells of one."""
        used = [(text_of(slot, "connected_at"), text_of(slot, "ip")) for slot in slots if slot.get("connected_at")]
        known = [self.last_connect] if self.last_connect is not None else []
        self.last_connect = max(used + known, default=None)

    def _count(self, counters: Frame, minute: int | None) -> None:
        self.counters = counters
        self.rate.count(minute or 0, number_of(counters, "connected") + turned_away(counters))


def turned_away(counters: Frame) -> int:
    """Return how many connections were refused, whatever for."""
    counts = counters.get("turned_away")
    return sum([number_of(counts, reason) for reason in counts]) if isinstance(counts, dict) else 0


def _minute_of(record: Frame, otherwise: int) -> int:
    at = moment(text_of(record, "time"))
    return otherwise if at is None else int(at.timestamp()) // _MINUTE_S
