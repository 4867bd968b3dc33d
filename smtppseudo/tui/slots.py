"""Slots: the table as the screen knows it, from the snapshot and the events since."""

import re
from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_address
from typing import Final, Literal, TypeAlias

from smtppseudo.monitor.codec import Frame
from smtppseudo.tui.query import Query
from smtppseudo.tui.texts import number_of, reply_of, text_of

Column: TypeAlias = Literal["slot", "state", "ip", "port", "helo", "sender", "last", "error", "idle"]
COLUMNS: Final[tuple[Column, ...]] = ("slot", "state", "ip", "port", "helo", "sender", "last", "error", "idle")

_ECHO_CHARS: Final = 64  # of a name or an address, as the server cuts it
_FROM: Final = re.compile(r"FROM:\s*(\S+)", re.IGNORECASE)
_ERROR_FROM: Final = 400


class SlotRow:
    """What is to be seen of one slot. `idle_since` is in the screen's own monotonic seconds."""

    __slots__ = ("error", "helo", "idle_since", "ip", "last", "port", "reason", "sender", "session", "slot", "state")

    def __init__(self, slot: int) -> None:
        self.slot = slot
        self.begin("free", 0, "", 0, 0.0)

    def begin(self, state: str, session: int, ip: str, port: int, now: float) -> None:
        """Show a session of which nothing else is known yet."""
        self.state = state
        self.session = session
        self.ip = ip
        self.port = port
        self.helo = self.sender = self.last = self.error = self.reason = ""
        self.idle_since = now

    def take(self, frame: Frame, now: float) -> None:
        """Show a slot as the server lists it."""
        state = text_of(frame, "state")
        self.begin(state, number_of(frame, "session"), text_of(frame, "ip"), number_of(frame, "port"), now)
        self.helo, self.sender = text_of(frame, "helo"), text_of(frame, "mail_from")
        self.last, self.error = text_of(frame, "last"), text_of(frame, "error")
        self.reason = text_of(frame, "reason")
        self.idle_since = now - number_of(frame, "idle_ms") / 1000

    def hear(self, record: Frame, now: float) -> None:
        """Follow a command."""
        self.last = data = text_of(record, "data")
        self.error = reply_of(record) if number_of(record, "code") >= _ERROR_FROM else ""
        verb = data[:5].upper()
        if verb in ("HELO ", "EHLO "):
            self.helo = (data[5:].split(None, 1) or [""])[0][:_ECHO_CHARS] or self.helo
        elif verb == "MAIL " and (match := _FROM.match(data[5:].lstrip())):
            self.sender = match[1][:_ECHO_CHARS]
        self.idle_since = now

    @property
    def state_text(self) -> str:
        """The state, with the reason of a close."""
        return f"closed ({self.reason})" if self.reason else self.state

    def text(self) -> str:
        """All that words are looked for in, in small letters."""
        fields = (str(self.slot), self.state_text, self.ip, str(self.port), self.helo, self.sender, self.last)
        return " ".join((*fields, self.error)).lower()


class SlotBoard:
    """All slots, and in which order they are shown: those in use or used first, those never used after them."""

    def __init__(self) -> None:
        self.rows: dict[int, SlotRow] = {}
        self.open_count = 0
        self.used_count = 0
        self.sort: Column = "slot"
        self.is_reversed = False
        self.query = Query()
        self.touched: set[int] = set()
        self._order: list[SlotRow] | None = None

    @property
    def order(self) -> list[SlotRow]:
        """The rows to show, in order."""
        if self._order is None:
            self._order = self._arranged()
        return self._order

    def load(self, slots: Iterable[Frame], now: float) -> None:
        """Take all slots as the server lists them."""
        rows: dict[int, SlotRow] = {}
        for frame in slots:
            number = number_of(frame, "slot")
            row = rows[number] = self.rows.get(number) or SlotRow(number)
            row.take(frame, now)
        self.rows = rows
        states = [row.state for row in rows.values()]
        self.open_count = states.count("open")
        self.used_count = len(states) - states.count("free")
        self.touched.update(rows)
        self._order = None

    def follow(self, record: Frame, now: float) -> None:
        """Follow an event of a session."""
        number, session = number_of(record, "slot"), number_of(record, "session")
        row = self.rows.get(number)
        if row is None or session < row.session:
            return  # of a slot that the server did not list, or out of date
        kind = record.get("event")
        if kind == "connected" or session != row.session:
            self._turn(row, "open")
            row.begin("open", session, text_of(record, "ip"), number_of(record, "port"), now)
        if kind == "command":
            row.hear(record, now)
        elif kind == "closed":
            self._turn(row, "closed")
            row.reason = text_of(record, "reason")
            row.idle_since = now
        else:
            row.idle_since = now
        self.touched.add(number)

    def arrange(self, sort: Column, *, is_reversed: bool) -> None:
        """Sort by a column."""
        self.sort, self.is_reversed = sort, is_reversed
        self._order = None

    def filter(self, query: Query) -> None:
        """Show only what a query lets through."""
        self.query = query
        self._order = None

    def drain(self) -> set[int]:
        """Return the slots that changed since the last call, and see to the order."""
        touched, self.touched = self.touched, set()
        if touched and (self.sort != "slot" or self.query):
            self._order = None
        return touched

    def is_out_of_order(self) -> bool:
        """Say whether rows may have other places than when they were last shown."""
        return self._order is None

    def _turn(self, row: SlotRow, state: str) -> None:
        if row.state == state:
            return
        if row.state == "free":
            self.used_count += 1
            self._order = None
        self.open_count += (state == "open") - (row.state == "open")
        row.state = state

    def _arranged(self) -> list[SlotRow]:
        rows = list(self.rows.values())
        if self.query:
            fits = self.query.fits
            rows = [row for row in rows if fits(row.state, row.ip, row.text())]
        rows.sort(key=lambda row: row.slot)
        if self.sort != "slot":
            rows.sort(key=_KEYS[self.sort], reverse=self.is_reversed)
        elif self.is_reversed:
            rows.reverse()
        rows.sort(key=lambda row: row.state == "free")  # stable: the order within stays
        return rows


def _ip_key(row: SlotRow) -> tuple[int, int, str]:
    try:
        address = ip_address(row.ip)
    except ValueError:
        return (0, 0, row.ip)
    return (address.version, int(address), "")


_STATES: Final = {"open": 0, "closed": 1, "free": 2}
_KEYS: Final[Mapping[Column, Callable[[SlotRow], tuple[object, ...]]]] = {
    "slot": lambda row: (row.slot,),
    "state": lambda row: (_STATES.get(row.state, 3), row.reason),
    "ip": _ip_key,
    "port": lambda row: (row.port,),
    "helo": lambda row: (not row.helo, row.helo.lower()),
    "sender": lambda row: (not row.sender, row.sender.lower()),
    "last": lambda row: (not row.last, row.last.lower()),
    "error": lambda row: (not row.error, row.error),
    "idle": lambda row: (-row.idle_since,),
}
