"""The feeder: a thread that connects to the server, reads events and replies, and reconnects when the link is lost.

The screen takes the updates ten times a second. If it cannot keep up, the feeder stops reading; then the server
drops events and reports how many.
"""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final, NamedTuple, TypeAlias

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

BACKLOG_EVENTS: Final = 1_000  # the limit of events that wait for the screen; then reading stops
_RETRY_AFTER_S: Final = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
_STATUS_EVERY_S: Final = 5.0
_SILENCE_MAX_S: Final = 10.0  # the status is asked for more often, so a silent connection is dead
_READ_S: Final = 0.25
_COOKIE_TRIES: Final = 3


class Connecting(NamedTuple):
    """The feeder is connecting."""


class LinkUp(NamedTuple):
    """Logged in. Events follow, from the resume point if the server still has them."""

    snapshot: Snapshot
    place: str
    address: str
    port: int
    server: str
    user: str
    note: str
    is_own: bool


class LinkDown(NamedTuple):
    """There is no connection. `retry_s` None: the operator must act before the next try."""

    error: LinkError
    retry_s: float | None


class EventBatch(NamedTuple):
    """Events in order, and how many were dropped between them."""

    notices: list[Streamed | Dropped]


class PolledReply(NamedTuple):
    """The reply to a request of the feeder itself: `status` or `slots`."""

    op: str
    fields: Frame


Update: TypeAlias = Connecting | LinkUp | LinkDown | EventBatch | PolledReply


class ResumePoint(NamedTuple):
    """The last event that was received, and when that run of the server started."""

    started_at: str = ""
    seq: int = 0


class Feeder:
    """The thread, for one target. All public methods may be called from any other thread."""

    def __init__(self, keys: Keyring, clock: Callable[[], float] = time.monotonic) -> None:
        self._keys = keys
        self._clock = clock
        self._target = Target()
        self._resume = ResumePoint()
        self._cookie_tries = 0  # tries left after a login by cookie, while the cookie file is missing
        self._room = threading.Event()
        self._wake = threading.Event()
        self._lock = threading.Lock()  # for everything below
        self._updates: deque[Update] = deque()
        self._backlog = 0
        self._link: MonitorLink | None = None
        self._futures: dict[int, Future[Frame]] = {}
        self._polled: dict[int, str] = {}  # requests of the feeder itself: number and op
        self._is_stopped = False

    def start(self, target: Target, after: ResumePoint) -> None:
        """Connect; deliver the events after the resume point."""
        self._target, self._resume = target, after
        threading.Thread(target=self._run, name="feeder", daemon=True).start()

    def take(self) -> list[Update]:
        """Return the updates since the last call, in order."""
        with self._lock:
            updates, self._updates = list(self._updates), deque()
            self._backlog = 0
            self._room.set()
        return updates

    def ask(self, op: str, **fields: object) -> "Future[Frame]":
        """Send a request; the future gets the reply's fields, or LinkError."""
        future: Future[Frame] = Future()
        future.set_running_or_notify_cancel()  # a request that was sent cannot be cancelled
        try:
            with self._lock:
                if self._link is None:
                    raise ConnectionLostError("there is no connection to the server now")
                self._futures[self._link.post(op, **fields)] = future
        except (LinkError, ValueError) as error:
            future.set_exception(error)
        return future

    def refresh_slots(self) -> None:
        """Ask for the list of slots; the reply is among the updates."""
        with contextlib.suppress(LinkError):  # the thread gets the same error
            self._poll("slots")

    def retry(self) -> None:
        """Connect now instead of waiting for the next try."""
        self._wake.set()

    def stop(self) -> None:
        """Disconnect and stop, without waiting for the thread."""
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
            with self._lock:
                self._updates.append(Connecting())
            try:
                route = connect(self._target, self._keys)
                tries = 0
                with route.link:
                    self._follow(route)
            except LinkError as error:
                retry_s = self._retry_s(error, tries)
                self._report_loss(error, retry_s)
                tries += 1
                self._wake.wait(retry_s)

    def _retry_s(self, error: LinkError, tries: int) -> float | None:
        """Return the seconds until the next try; None if the operator must act first, as after a wrong password."""
        usual = _RETRY_AFTER_S[min(tries, len(_RETRY_AFTER_S) - 1)]
        if isinstance(error, NeedsMagicWordError) and self._cookie_tries > 0:
            self._cookie_tries -= 1
            return usual  # nothing was sent, and a server that starts soon writes its cookie
        return usual if isinstance(error, UnreachableError | RefusedError) else None

    def _report_loss(self, error: LinkError, retry_s: float | None) -> None:
        with self._lock:
            if self._is_stopped:
                self._wake.set()
            self._link, self._polled = None, {}
            futures, self._futures = self._futures, {}
            self._updates.append(LinkDown(error, retry_s))
        for future in futures.values():
            future.set_exception(ConnectionLostError(f"the connection is lost ({error}); check whether it was done"))

    def _follow(self, route: Route) -> None:
        """Deliver events and replies until the link is lost. Raises LinkError."""
        link, snapshot = route.link, route.link.snapshot
        if snapshot.started_at != self._resume.started_at:
            self._resume = ResumePoint(snapshot.started_at)
        link.request("subscribe", from_seq=self._resume.seq + 1)
        self._cookie_tries = _COOKIE_TRIES if link.user == "cookie" else 0
        up = LinkUp(snapshot, link.place, link.address, link.port, link.server, link.user, route.note, route.is_own)
        with self._lock:
            if self._is_stopped:
                raise ClosedError("the feeder was stopped")
            self._link = link
            self._updates.append(up)
        heard_at = asked_at = self._clock()
        self._poll("status")
        while True:
            notices = link.next_events(_READ_S)
            now = self._clock()
            if notices:
                heard_at = now
                self._deliver(notices)
            elif now - heard_at >= _SILENCE_MAX_S:
                raise ConnectionLostError(f"{link.place}: no reply for {_SILENCE_MAX_S:g} s")
            if now - asked_at >= _STATUS_EVERY_S:
                asked_at = now
                self._poll("status")
            if self._backlog >= BACKLOG_EVENTS:
                self._room.wait()

    def _poll(self, op: str) -> None:
        """Send a request, unless the last one of this op has no reply yet. Raises LinkError."""
        with self._lock:
            if self._link is not None and op not in self._polled.values():
                self._polled[self._link.post(op)] = op

    def _deliver(self, notices: list[Notice]) -> None:
        """Queue events in batches, with the replies between them in their order, and complete futures."""
        events: list[Streamed | Dropped] = []
        replies: list[tuple[Future[Frame], OpReply]] = []
        updates: list[Update] = []
        with self._lock:
            for notice in notices:
                if isinstance(notice, Streamed | Dropped):
                    events.append(notice)
                elif (op := self._polled.pop(notice.id, None)) is not None and notice.error is None:
                    updates += [EventBatch(events), PolledReply(op, notice.fields)]
                    events = []
                elif notice.id in self._futures:
                    replies.append((self._futures.pop(notice.id), notice))
            self._updates.extend([*updates, EventBatch(events)])
            self._backlog += len(notices)
            if self._backlog >= BACKLOG_EVENTS:
                self._room.clear()
        last = next((notice.seq for notice in reversed(notices) if isinstance(notice, Streamed)), 0)
        self._resume = self._resume._replace(seq=max(last, self._resume.seq))
        for future, reply in replies:
            if reply.error is None:
                future.set_result(reply.fields)
            else:
                future.set_exception(reply.error)
