"""Transcripts: both sides of each session, as far as this screen saw them."""

from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

from smtppseudo.monitor.codec import Frame
from smtppseudo.tui.texts import describe, number_of, remarks_on, reply_of, text_of

EVENTS_PER_SESSION: Final = 400
EVENTS_IN_ALL: Final = 10_000


class SessionKey(NamedTuple):
    """What names a session on the screen."""

    slot: int
    session: int
    ip: str
    port: int

    @classmethod
    def of(cls, record: Frame) -> "SessionKey":
        """Return the session of an event; its numbers are 0 if the event belongs to none."""
        ip, port = text_of(record, "ip"), number_of(record, "port")
        return cls(number_of(record, "slot"), number_of(record, "session"), ip, port)


class TranscriptLine(NamedTuple):
    """One line. `time` is the server's time stamp, empty for a note of the screen."""

    time: str
    side: Literal["C", "S", "-"]  # client, server, or a note
    text: str


class Transcript:
    """The latest events of one session, None where some are missing. `gap` is how many gaps the stream had then."""

    __slots__ = ("count", "events", "gap")

    def __init__(self, gap: int) -> None:
        self.count = 0  # also of those that were removed
        self.gap = gap
        self.events: deque[Frame | None] = deque(maxlen=EVENTS_PER_SESSION)

    @property
    def cut(self) -> int:
        """The number of older events that were removed."""
        return self.count - len(self.events)

    @property
    def key(self) -> SessionKey:
        """The session."""
        return SessionKey.of(next(filter(None, self.events), {}))

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing at the start but the events that were removed."""
        first = self.events[0] if self.events else None
        return self.cut > 0 or (first is not None and first.get("event") == "connected")

    def add(self, event: Frame | None) -> None:
        """Add an event, or None where some are missing."""
        self.count += 1
        self.events.append(event)

    def lines(self) -> Iterator[TranscriptLine]:
        """Yield the lines."""
        for event in self.events:
            yield from _lines(event)


def _lines(event: Frame | None) -> Iterator[TranscriptLine]:
    if event is None:
        yield TranscriptLine("", "-", "some events are missing here; they may belong to this session")
        return
    time, kind = text_of(event, "time"), event.get("event")
    if kind == "command":
        yield TranscriptLine(time, "C", text_of(event, "data") + remarks_on(event))
        yield TranscriptLine(time, "S", reply_of(event))
    elif kind == "connected":
        yield TranscriptLine(time, "-", f"connected from {text_of(event, 'ip')} port {number_of(event, 'port')}")
        yield TranscriptLine("", "-", "(the 220 greeting, one line, is not logged)")
    elif kind == "message":
        yield TranscriptLine(time, "C", f"(a message of {number_of(event, 'bytes')} bytes, thrown away)")
        yield TranscriptLine("", "-", "(the reply to it, one line, is not logged)")
    else:
        yield TranscriptLine(time, "-", describe(event))


class Transcripts:
    """The transcripts of the latest sessions. `events_max` limits the events in all of them."""

    def __init__(self, events_max: int = EVENTS_IN_ALL) -> None:
        self._all: OrderedDict[int, Transcript] = OrderedDict()
        self._events = 0
        self._events_max = events_max
        self._gap = 0  # gaps so far in the stream of events

    def get(self, key: SessionKey) -> Transcript | None:
        """Return a session's transcript; None if no event of it was seen, or all are removed."""
        found = self._all.get(key.session)  # another run of the server may have had the same number
        return found if found is not None and found.key == key else None

    def latest_of(self, ip: str) -> SessionKey | None:
        """Return the session of an address whose events are the latest."""
        return next((found.key for found in reversed(self._all.values()) if found.key.ip == ip), None)

    def clear(self) -> None:
        """Remove all: sessions of another run have the same numbers."""
        self._all.clear()
        self._events = 0

    def note_gap(self) -> None:
        """Note that events are missing, of any session."""
        self._gap += 1

    def follow(self, record: Frame) -> None:
        """Add an event of a session; remove the transcripts that were unchanged for longest over the limit."""
        session = number_of(record, "session")
        transcript = self._all.get(session)
        if transcript is None:
            transcript = self._all[session] = Transcript(self._gap)
        else:
            self._all.move_to_end(session)
        before = len(transcript.events)
        if transcript.gap != self._gap:
            transcript.gap = self._gap
            transcript.add(None)
        transcript.add(record)
        self._events += len(transcript.events) - before
        while self._events > self._events_max:
            _, oldest = self._all.popitem(last=False)
            self._events -= len(oldest.events)
