"""The model: what the screen knows of a server, from its snapshot, its events and its replies.

No terminal and no clock. `now` is monotonic seconds and `second` whole seconds since the epoch, both of the screen's
own clocks, so that idle times are right even if the server's clock is wrong.
"""

from collections.abc import Sequence
from typing import Final

from smtppseudo.link.incoming import Dropped, Snapshot, Streamed
from smtppseudo.monitor.codec import Frame
from smtppseudo.tui.event_list import EVENTS_KEPT, EventList, Note
from smtppseudo.tui.rates import CallerCounts, ConnectionRate
from smtppseudo.tui.slots import SlotBoard
from smtppseudo.tui.texts import close_word, number_of, parse_stamp, text_of
from smtppseudo.tui.transcripts import EVENTS_IN_ALL, Transcripts

_SESSION_EVENTS: Final = frozenset(("connected", "command", "message", "closed"))


class Model:
    """Everything known of one server, of `share` that are shown. `revision` is that of `settings`."""

    def __init__(self, share: int = 1) -> None:
        self.board = SlotBoard()
        self.events = EventList(max(EVENTS_KEPT // share, 500))
        self.transcripts = Transcripts(max(EVENTS_IN_ALL // share, 500))
        self.callers = CallerCounts()
        self.rate = ConnectionRate()
        self.state = ""  # `online`, `offline`, or empty before the first snapshot
        self.started_at = ""
        self.settings: Frame = {}
        self.revision = 0
        self.counters: Frame = {}
        self.status: Frame = {}  # the last reply to `status`
        self.last_caller = ("", "")  # time stamp, and address
        self.last_seq = 0
        self.seen = 0  # events of this run that were received
        self.not_shown = 0  # events of this run that were not: dropped, or too old after a reconnect
        self._snapshot_seq = 0
        self._has_begun = False  # whether the next event must have the number after `last_seq`
        self._was_away = False
        self._refused_since = 0  # mails, in sessions that ended after `counters`

    @property
    def mails_refused_today(self) -> int | None:
        """Mails refused since `mails_refused_since` of the counters; None if the server does not count them."""
        count = self.counters.get("mails_refused_today")
        return count + self._refused_since if type(count) is int else None

    def load(self, snapshot: Snapshot, now: float) -> None:
        """Take over the state at a login."""
        if self.started_at not in ("", snapshot.started_at):
            self.note("the server was restarted; its events since then follow, if it still has them")
            self.transcripts.clear()
            self.last_seq = self.seen = self.not_shown = 0
            self._has_begun = True
        self.started_at = snapshot.started_at
        self.state = snapshot.state
        self.settings = snapshot.settings
        self._count(snapshot.counters)
        self.rate.begin(self._connections())
        self._snapshot_seq = snapshot.seq
        self.board.load(snapshot.slots, now)
        callers = [(text_of(slot, "connected_at"), text_of(slot, "ip")) for slot in snapshot.slots]
        self.last_caller = max([self.last_caller, *callers])
        self._was_away = self._has_begun

    def apply(self, notices: Sequence[Streamed | Dropped], now: float, second: int) -> bool:
        """Apply events in order; return whether settings were changed."""
        has_settings = False
        items: list[Frame | Note] = []
        for notice in notices:
            if not isinstance(notice, Streamed) or notice.seq <= self.last_seq:
                continue  # gaps are found from the events' own numbers
            if notice.seq != self.last_seq + 1 and self._has_begun:
                count = notice.seq - self.last_seq - 1
                self.not_shown += count
                self.transcripts.note_gap()
                why = "this screen was not connected" if self._was_away else "they came faster than they were read"
                items.append(Note(f"{count:,} event{'' if count == 1 else 's'} not shown here: {why}"))
            self._has_begun, self._was_away = True, False
            self.last_seq = notice.seq
            self.seen += 1
            items.append(notice.record)
            is_new = notice.seq > self._snapshot_seq
            self._follow(notice.record, now, second, is_new=is_new)
            has_settings |= is_new and notice.record.get("event") == "settings"
        self.events.extend(items)
        return has_settings

    def take_status(self, fields: Frame, second: int) -> None:
        """Take over the reply to `status`."""
        self.status = fields
        self.state = text_of(fields, "state") or self.state
        counters = fields.get("counters")
        if isinstance(counters, dict):
            self._count(counters)
            self.rate.correct(second, self._connections())

    def take_slots(self, fields: Frame, now: float) -> None:
        """Take over the reply to `slots`."""
        slots = fields.get("slots")
        if isinstance(slots, list):
            self.board.load(slots, now)

    def take_settings(self, fields: Frame) -> None:
        """Take over the reply to `get`."""
        settings = fields.get("settings")
        if isinstance(settings, dict):
            self.settings, self.revision = settings, number_of(fields, "revision")

    def note(self, text: str) -> None:
        """Add a note to the list of events."""
        self.events.extend([Note(text)])

    def _follow(self, record: Frame, now: float, second: int, *, is_new: bool) -> None:
        kind = record.get("event")
        if kind in _SESSION_EVENTS:
            self.transcripts.follow(record)
            if is_new:
                self.board.follow(record, now)
            else:
                self.board.recall(record)
        if kind in ("connected", "turned_away"):
            at = None if is_new else parse_stamp(text_of(record, "time"))
            count = number_of(record, "count") if kind == "turned_away" else 1
            self.rate.add(second if at is None else int(at.timestamp()), count, is_new=is_new)
        if kind == "connected":
            ip, time = text_of(record, "ip"), text_of(record, "time")
            self.callers.add(ip, time)
            self.last_caller = max(self.last_caller, (time, ip))
        elif kind == "closed":
            self.callers.endings[close_word(text_of(record, "reason"))] += 1
            self._refused_since += number_of(record, "mails_refused") if is_new else 0
        elif is_new and kind in ("online", "offline"):
            self.state = str(kind)

    def _count(self, counters: Frame) -> None:
        self.counters = counters
        self._refused_since = 0

    def _connections(self) -> int:
        return number_of(self.counters, "connected") + turned_away_count(self.counters)


def turned_away_count(counters: Frame) -> int:
    """Return how many callers were turned away, for all reasons."""
    counts = counters.get("turned_away")
    return sum([number_of(counts, reason) for reason in counts]) if isinstance(counts, dict) else 0
