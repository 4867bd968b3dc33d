"""Slots as the screen knows them, from the snapshot and later events."""

import re
from collections.abc import Iterable
from functools import partial
from ipaddress import ip_address
from itertools import groupby
from typing import Final, Literal, TypeAlias

from smtppseudo.monitor.codec import Frame
from smtppseudo.tui.query import Query
from smtppseudo.tui.texts import close_word, number_of, reply_of, text_of
from smtppseudo.tui.transcripts import SessionKey

Column: TypeAlias = Literal["slot", "state", "ip", "port", "helo", "sender", "last", "reply", "idle"]
COLUMNS: Final[tuple[Column, ...]] = ("slot", "state", "ip", "port", "helo", "sender", "last", "reply", "idle")

_ECHO_CHARS: Final = 64  # the server cuts names and addresses at the same length
_FROM: Final = re.compile(r"FROM:\s*(\S+)", re.IGNORECASE)


class SlotRow:
    """One slot. `idle_since` is in the screen's own monotonic seconds.

    `last` and `reply` are the last command before QUIT and its reply: that a session quit shows in its state.
    """

    __slots__ = ("helo", "idle_since", "ip", "last", "port", "reason", "reply", "sender", "session", "slot", "state")

    def __init__(self, slot: int) -> None:
        self.slot = slot
        self.begin("free", 0, "", 0, 0.0)

    def begin(self, state: str, session: int, ip: str, port: int, now: float) -> None:
        """Set state and caller, and clear the rest."""
        self.state = state
        self.session = session
        self.ip = ip
        self.port = port
        self.helo = self.sender = self.last = self.reply = self.reason = ""
        self.idle_since = now

    @property
    def key(self) -> SessionKey:
        """The session in the slot."""
        return SessionKey(self.slot, self.session, self.ip, self.port)

    def take(self, frame: Frame, now: float) -> None:
        """Take over a slot from the server's list."""
        before = (self.session, self.port, self.last, self.reply)
        state = text_of(frame, "state")
        self.begin(state, number_of(frame, "session"), text_of(frame, "ip"), number_of(frame, "port"), now)
        self.helo, self.sender = text_of(frame, "helo"), text_of(frame, "mail_from")
        self.last, self.reply = text_of(frame, "last"), text_of(frame, "error")
        is_same = before[:2] == (self.session, self.port) and before[2] != ""
        if is_same and (_is_quit(self.last) or self.last == before[2]):
            self.last, self.reply = before[2:]  # the events said more
        self.reason = text_of(frame, "reason")
        self.idle_since = now - number_of(frame, "idle_ms") / 1000

    def follow_command(self, record: Frame) -> None:
        """Follow a `command` event."""
        data = text_of(record, "data")
        if _is_quit(data) and self.last:
            return
        self.last, self.reply = data, reply_of(record)
        verb = data[:5].upper()
        if verb in ("HELO ", "EHLO "):
            self.helo = (data[5:].split(None, 1) or [""])[0][:_ECHO_CHARS] or self.helo
        elif verb == "MAIL " and (match := _FROM.match(data[5:].lstrip())):
            self.sender = match[1][:_ECHO_CHARS]

    @property
    def state_text(self) -> str:
        """The state; of a closed session, how it ended."""
        return close_word(self.reason) if self.reason else self.state

    def text(self) -> str:
        """Return the text that a filter looks at, in lower case."""
        fields = (str(self.slot), self.state_text, self.ip, str(self.port), self.helo, self.sender, self.last)
        return " ".join((*fields, self.reply)).lower()


def _is_quit(data: str) -> bool:
    return data[:4].upper() == "QUIT"


class SlotBoard:
    """All slots, and the order of the used ones on the screen: by default first the open ones, then the latest."""

    def __init__(self) -> None:
        self.rows: dict[int, SlotRow] = {}
        self.open_count = 0
        self.ip_width = 0  # of the longest address so far
        self.sort: Column = "state"
        self.is_reversed = False
        self.query = Query()
        self.touched: set[int] = set()
        self._order: list[SlotRow] | None = None
        self._free: str | None = None

    @property
    def order(self) -> list[SlotRow]:
        """The rows to show, in order."""
        if self._order is None:
            rows = [row for row in self.rows.values() if row.state != "free"]
            if self.query:
                rows = [row for row in rows if self.query.matches(row.state, row.ip, row.text())]
            rows.sort(key=lambda row: row.slot)
            rows.sort(key=partial(_sort_key, self.sort), reverse=self.is_reversed)  # sorting is stable
            self._order = rows
        return self._order

    @property
    def free(self) -> str:
        """The slots that were never used, as ranges; empty if there are none, or a filter leaves them out."""
        if self._free is None:
            wanted = not self.query or self.query.kinds == ("free",)
            free = [number for number, row in sorted(self.rows.items()) if row.state == "free"] if wanted else []
            runs = [[number for _, number in run] for _, run in groupby(enumerate(free), lambda at: at[1] - at[0])]
            self._free = ", ".join([f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs])
        return self._free

    def load(self, slots: Iterable[Frame], now: float) -> None:
        """Take over the server's list of slots."""
        rows: dict[int, SlotRow] = {}
        for frame in slots:
            number = number_of(frame, "slot")
            row = rows[number] = self.rows.get(number) or SlotRow(number)
            row.take(frame, now)
        self.rows = rows
        self.open_count = [row.state for row in rows.values()].count("open")
        self.ip_width = max([self.ip_width, *[len(row.ip) for row in rows.values()]])
        self.touched.update(rows)
        self._order = self._free = None

    def follow(self, record: Frame, now: float) -> None:
        """Follow a session's event."""
        number, session = number_of(record, "slot"), number_of(record, "session")
        row = self.rows.get(number)
        if row is None or session < row.session:
            return  # a slot that the server did not list, or an older session
        kind = record.get("event")
        if kind == "connected" or session != row.session:
            self._set_state(row, "open")
            self.ip_width = max(self.ip_width, len(text_of(record, "ip")))
            row.begin("open", session, text_of(record, "ip"), number_of(record, "port"), now)
        if kind == "command":
            row.follow_command(record)
        elif kind == "closed":
            self._set_state(row, "closed")
            row.reason = text_of(record, "reason")
        row.idle_since = now
        self.touched.add(number)

    def recall(self, record: Frame) -> None:
        """Take from an older event what the list of slots does not say: the reply, and what came before QUIT."""
        row = self.rows.get(number_of(record, "slot"))
        if row is not None and record.get("event") == "command" and row.key == SessionKey.of(record):
            row.follow_command(record)
            self.touched.add(row.slot)

    def sort_by(self, sort: Column, *, is_reversed: bool) -> None:
        """Sort by a column."""
        self.sort, self.is_reversed = sort, is_reversed
        self._order = None

    def filter(self, query: Query) -> None:
        """Show only matching slots."""
        self.query = query
        self._order = self._free = None

    def drain(self) -> set[int] | None:
        """Return the slots that changed since the last call; None if the order may have changed, too."""
        touched, self.touched = self.touched, set()
        if touched and (self.sort not in ("slot", "state") or self.query):
            self._order = None
        return None if self._order is None else touched

    def _set_state(self, row: SlotRow, state: str) -> None:
        if row.state == state:
            return
        self._order = None
        if row.state == "free":
            self._free = None
        self.open_count += (state == "open") - (row.state == "open")
        row.state = state


def _sort_key(column: Column, row: SlotRow) -> tuple[object, ...]:
    """Return what a column is sorted by; empty cells come last."""
    if column == "state":
        return (row.state != "open", row.state != "open" and -row.idle_since)
    if column == "idle":
        return (-row.idle_since,)
    if column == "ip":
        try:
            address = ip_address(row.ip)
        except ValueError:
            return (0, 0, row.ip)
        return (address.version, int(address))
    value = getattr(row, column)
    return (not value, value.lower() if isinstance(value, str) else value)
