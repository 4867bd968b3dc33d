"""Transcripts: both sides of each session, as far as this screen saw them."""

from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple, TypeAlias

from smtppseudo.monitor.codec import Frame
from smtppseudo.tui.texts import closing, marks_of, number_of, reply_of, text_of

Side: TypeAlias = Literal["C", "S", "-"]  # the client, the server, or a note of ours

EVENTS_PER_SESSION: Final = 400
EVENTS_IN_ALL: Final = 10_000


class Line(NamedTuple):
    """One line; `time` is the server's stamp, empty for a note of the screen's own."""

    time: str
    side: Side
    text: str


class Transcript:
    """What was seen of one session, as events; lines are made of them when somebody looks."""

    __slots__ = ("_events", "cut", "gap", "session")

    def __init__(self, session: int, gap: int) -> None:
        self.session = session
        self.cut = 0  # events that there was no room for, at the start
        self.gap = gap
        self._events: deque[Frame | None] = deque(maxlen=EVENTS_PER_SESSION)  # None: some were missed here

    def __len__(self) -> int:
        """How many events are kept."""
        return len(self._events)

    @property
    def is_whole(self) -> bool:
        """Whether it begins with the connect, or with what there was no room for."""
        first = self._events[0] if self._events else None
        return self.cut > 0 or (first is not None and first.get("event") == "connected")

    def add(self, event: Frame | None) -> int:
        """Add an event, or a gap; return by how many that makes it longer."""
        events = self._events
        if len(events) == EVENTS_PER_SESSION:
            self.cut += 1
            events.append(event)
            return 0
        events.append(event)
        return 1

    def lines(self) -> Iterator[Line]:
        """Yield its lines."""
        for event in self._events:
            yield from _lines(event)


def _lines(event: Frame | None) -> Iterator[Line]:
    if event is None:
        yield Line("", "-", "events were left out around here, of this session perhaps")
        return
    time, kind = text_of(event, "time"), event.get("event")
    if kind == "command":
        yield Line(time, "C", text_of(event, "data") + marks_of(event))
        yield Line(time, "S", reply_of(event))
    elif kind == "connected":
        yield Line(time, "-", f"connected from {text_of(event, 'ip')} port {number_of(event, 'port')}")
    elif kind == "closed":
        yield Line(time, "-", f"closed: {closing(event)}")
    elif kind == "message":
        yield Line(time, "C", f"(a message of {number_of(event, 'data')} bytes, thrown away)")


class Transcripts:
    """The transcripts of the sessions seen last. `events_max` bounds what they hold together."""

    def __init__(self, events_max: int = EVENTS_IN_ALL) -> None:
        self._all: OrderedDict[int, Transcript] = OrderedDict()
        self._events = 0
        self._events_max = events_max
        self._gap = 0  # how often events were missed

    def get(self, session: int) -> Transcript | None:
        """Return a session's transcript, if anything was seen of it and is still kept."""
        return self._all.get(session)

    def clear(self) -> None:
        """Forget all: another run's sessions have the same numbers."""
        self._all.clear()
        self._events = 0

    def note_gap(self) -> None:
        """Say that events were missed, of any session."""
        self._gap += 1

    def follow(self, record: Frame) -> None:
        """Take in an event of a session."""
        session = number_of(record, "session")
        transcript = self._all.get(session)
        if transcript is None:
            transcript = self._all[session] = Transcript(session, self._gap)
        else:
            self._all.move_to_end(session)
        if transcript.gap != self._gap:
            transcript.gap = self._gap
            self._events += transcript.add(None)
        self._events += transcript.add(record)
        while self._events > self._events_max:
            _, oldest = self._all.popitem(last=False)
            self._events -= len(oldest)
