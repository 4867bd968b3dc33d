"""The feeder: a thread that keeps the screen fed: connects, logs in, subscribes, comes back when the link is lost.

It hands over what came as `News`, which the screen takes ten times a second. Where the screen does not keep up,
the feeder stops reading; then the server leaves events out, and says how many.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final, NamedTuple, Protocol, TypeAlias

from smtppseudo.link.errors import (
    ClosedError,
    ConnectionLostError,
    LinkError,
    NeedsMagicWordError,
    RefusedError,
    UnreachableError,
)
from smtppseudo.link.incoming import Dropped, OpReply, Snapshot, Streamed
from smtppseudo.link.keyring import Keyring
from smtppseudo.link.link import MonitorLink, Notice
from smtppseudo.link.route import Route, Target, connect
from smtppseudo.monitor.codec import Frame

PAUSES_S: Final = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
POLL_S: Final = 5.0  # between questions how the server does
SILENT_S: Final = 10.0  # without an answer the connection is taken for dead
BACKLOG_EVENTS: Final = 1_000  # that wait for the screen, before reading stops
_LOOK_S: Final = 0.25
_COOKIE_TRIES: Final = 3


class Dialling(NamedTuple):
    """A connection is being made."""


class Opened(NamedTuple):
    """Logged in; events follow, from where the last login left off where that is possible."""

    snapshot: Snapshot
    place: str
    address: str
    port: int
    server: str
    user: str
    note: str
    is_own: bool


class Batch(NamedTuple):
    """Events, and notes that some were left out."""

    notices: list[Streamed | Dropped]


class Status(NamedTuple):
    """The answer to `status`."""

    reply: OpReply


class Slots(NamedTuple):
    """The answer to `slots`."""

    reply: OpReply


class Broken(NamedTuple):
    """There is no connection. `retry_s` None means that a person must do something before it is tried again."""

    error: LinkError
    retry_s: float | None


News: TypeAlias = Dialling | Opened | Batch | Status | Slots | Broken


class Seen(NamedTuple):
    """How far a run of the server was seen."""

    started_at: str = ""
    seq: int = 0


class Feed(Protocol):
    """What the screen needs of a feeder."""

    def start(self, target: Target, seen: Seen) -> None:
        """Begin; events follow on what was seen."""
        ...

    def take(self) -> list[News]:
        """Return what came since the last call, in order."""
        ...

    def ask(self, op: str, **fields: object) -> "Future[Frame]":
        """Have an op carried out; the future gives the reply's fields, or raises LinkError."""
        ...

    def refresh_slots(self) -> None:
        """Have the slots listed anew, among the news."""
        ...

    def retry(self) -> None:
        """Try to connect now, instead of waiting for the next time."""
        ...

    def stop(self) -> None:
        """End, without waiting for anybody."""
        ...


class Feeder:
    """The thread, for one target. Every method is for any other thread."""

    def __init__(self, keys: Keyring, clock: Callable[[], float] = time.monotonic) -> None:
        self._keys = keys
        self._clock = clock
        self._target = Target()
        self._seen = Seen()
        self._cookie_tries = 0  # how often a cookie that is missing now may still be waited for
        self._room = threading.Event()
        self._wake = threading.Event()
        self._lock = threading.Lock()  # for all that follows
        self._news: deque[News] = deque()
        self._backlog = 0
        self._link: MonitorLink | None = None
        self._futures: dict[int, Future[Frame]] = {}
        self._slots_id: int | None = None
        self._status_id: int | None = None
        self._is_stopped = False

    def start(self, target: Target, seen: Seen) -> None:
        """Begin; events follow on what was seen."""
        self._target, self._seen = target, seen
        threading.Thread(target=self._run, name="feeder", daemon=True).start()

    def take(self) -> list[News]:
        """Return what came since the last call, in order."""
        with self._lock:
            news, self._news = list(self._news), deque()
            self._backlog = 0
            self._room.set()
        return news

    def ask(self, op: str, **fields: object) -> "Future[Frame]":
        """Have an op carried out; the future gives the reply's fields, or raises LinkError."""
        future: Future[Frame] = Future()
        future.set_running_or_notify_cancel()  # what is asked cannot be taken back
        with self._lock:
            if self._link is None:
                future.set_exception(ConnectionLostError("there is no connection to the server now"))
                return future
            try:
                self._futures[self._link.post(op, **fields)] = future
            except (LinkError, ValueError) as error:
                future.set_exception(error)
        return future

    def refresh_slots(self) -> None:
        """Have the slots listed anew, among the news; one such question at a time."""
        with self._lock:
            if self._link is not None and self._slots_id is None:
                try:
                    self._slots_id = self._link.post("slots")
                except LinkError:
                    pass  # the thread finds that out by itself

    def retry(self) -> None:
        """Try to connect now, instead of waiting for the next time."""
        self._wake.set()

    def stop(self) -> None:
        """End, without waiting for anybody: a name that is being looked up may take long."""
        with self._lock:
            self._is_stopped = True
            if self._link is not None:
                self._link.close()
        self._room.set()
        self._wake.set()

    def _run(self) -> None:
        tries = 0
        while not self._is_stopped:
            self._wake.clear()
            self._put(Dialling())
            try:
                route = connect(self._target, self._keys)
                tries = 0
                with route.link:
                    self._follow(route)
            except LinkError as error:
                pause_s = self._pause_s(error, tries)
                self._break(error, pause_s)
                tries += 1
                self._wake.wait(pause_s)

    def _pause_s(self, error: LinkError, tries: int) -> float | None:
        """Return when to try again; None if not before a person says so: a refused secret above all."""
        usual = PAUSES_S[min(tries, len(PAUSES_S) - 1)]
        if isinstance(error, NeedsMagicWordError) and self._cookie_tries > 0:
            self._cookie_tries -= 1
            return usual  # nothing was sent, and a server that starts writes its cookie soon
        return usual if isinstance(error, UnreachableError | RefusedError) else None

    def _break(self, error: LinkError, pause_s: float | None) -> None:
        with self._lock:
            if self._is_stopped:
                self._wake.set()
            self._link = self._slots_id = self._status_id = None
            futures, self._futures = self._futures, {}
            self._news.append(Broken(error, pause_s))
        for future in futures.values():
            future.set_exception(ConnectionLostError(f"the connection is lost ({error}); check whether it was done"))

    def _follow(self, route: Route) -> None:
        """Hand over what comes, until the link is gone. Raises LinkError."""
        link = route.link
        self._open(route)
        heard_at = asked_at = self._clock()
        self._ask_status()
        while True:
            notices = link.next_events(_LOOK_S)
            now = self._clock()
            if notices:
                heard_at = now
                self._sort(notices)
            elif now - heard_at >= SILENT_S:
                raise ConnectionLostError(f"{link.place}: no answer for {SILENT_S:g} s")
            if self._status_id is None and now - asked_at >= POLL_S:
                asked_at = now
                self._ask_status()
            if self._backlog >= BACKLOG_EVENTS:
                self._room.wait()

    def _open(self, route: Route) -> None:
        link, snapshot = route.link, route.link.snapshot
        if snapshot.started_at != self._seen.started_at:
            self._seen = Seen(snapshot.started_at)
        link.request("subscribe", from_seq=self._seen.seq + 1)
        self._cookie_tries = _COOKIE_TRIES if link.user == "cookie" else 0
        opened = Opened(snapshot, link.place, link.address, link.port, link.server, link.user, route.note, route.is_own)
        with self._lock:
            if self._is_stopped:
                raise ClosedError("not wanted any more")
            self._link = link
            self._news.append(opened)

    def _ask_status(self) -> None:
        with self._lock:
            if self._link is not None:
                self._status_id = self._link.post("status")

    def _sort(self, notices: list[Notice]) -> None:
        """Hand over events in batches, and the answers between them, each where it came."""
        events: list[Streamed | Dropped] = []
        done: list[tuple[Future[Frame], OpReply]] = []
        news: list[News] = []
        with self._lock:
            for notice in notices:
                if isinstance(notice, Streamed | Dropped):
                    events.append(notice)
                elif (answer := self._answer(notice, done)) is not None:
                    news += [Batch(events), answer]
                    events = []
            self._news.extend([*news, Batch(events)])
            self._backlog += len(notices)
            if self._backlog >= BACKLOG_EVENTS:
                self._room.clear()
        last = next((notice.seq for notice in reversed(notices) if isinstance(notice, Streamed)), 0)
        self._seen = self._seen._replace(seq=max(last, self._seen.seq))
        for future, reply in done:
            if reply.error is None:
                future.set_result(reply.fields)
            else:
                future.set_exception(reply.error)

    def _answer(self, reply: OpReply, done: list[tuple["Future[Frame]", OpReply]]) -> News | None:
        """Return the answer to a question of our own; note one that somebody waits for as done."""
        if reply.id == self._status_id:
            self._status_id = None
            return Status(reply) if reply.error is None else None
        if reply.id == self._slots_id:
            self._slots_id = None
            return Slots(reply) if reply.error is None else None
        future = self._futures.pop(reply.id, None)
        if future is not None:
            done.append((future, reply))
        return None

    def _put(self, news: News) -> None:
        with self._lock:
            self._news.append(news)
