"""A scene: the screen with a fake feeder, and clocks that the test moves."""

import asyncio
import os
import selectors
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

from textual.pilot import Pilot

from smtppseudo.config.settings import Settings
from smtppseudo.files import StateDir
from smtppseudo.link.errors import (
    ConnectionLostError,
    NotAuthorizedError,
    OpRefusedError,
    UnknownCertificateError,
    UnreachableError,
)
from smtppseudo.link.incoming import Dropped, Snapshot, Streamed
from smtppseudo.link.keyring import Keyring
from smtppseudo.link.route import Target
from smtppseudo.monitor.codec import Frame
from smtppseudo.service.systemd import UnitState
from smtppseudo.tui.app import MonitorApp
from smtppseudo.tui.feeder import EventBatch, Feeder, LinkDown, LinkUp, PolledReply, ResumePoint, Update
from smtppseudo.tui.main_screen import MainScreen
from smtppseudo.tui.model import Model
from smtppseudo.tui.server_view import Dependencies, ServerView, ServiceControl

WALL = datetime(2026, 6, 1, 14, 30, tzinfo=UTC)
SECOND = 1_740_000_000  # since the epoch
STARTED_AT = "2026-05-31T08:15:00.000Z"


class FakeSource(Feeder):
    """Delivers what the test puts into `updates`. `replies` are those to ops by name: fields, or an error."""

    def __init__(self) -> None:
        self.updates: list[Update] = []
        self.replies: dict[str, Any] = {"get": {"settings": settings(), "origins": {}, "revision": 7}}
        self.asked: list[tuple[str, dict[str, object]]] = []
        self.started: list[tuple[Target, ResumePoint]] = []
        self.retries = 0
        self.is_stopped = False

    def start(self, target: Target, after: ResumePoint) -> None:
        """Record the start."""
        self.started.append((target, after))

    def take(self) -> list[Update]:
        """Return the updates and remove them."""
        updates, self.updates = self.updates, []
        return updates

    def ask(self, op: str, **fields: object) -> "Future[Frame]":
        """Record a request, and reply to it at once."""
        self.asked.append((op, fields))
        future: Future[Frame] = Future()
        reply = self.replies.get(op, {})
        if isinstance(reply, Exception):
            future.set_exception(reply)
        else:
            future.set_result(reply)
        return future

    def refresh_slots(self) -> None:
        """Record the request."""
        self.asked.append(("slots", {}))

    def retry(self) -> None:
        """Record the retry."""
        self.retries += 1

    def stop(self) -> None:
        """Record the stop."""
        self.is_stopped = True

    def refuse(self, op: str, code: str, text: str) -> None:
        """Refuse an op from now on."""
        self.replies[op] = OpRefusedError(text, code)


class FakeKeyring(Keyring):
    """No keys. `accepted` are the accepted certificates."""

    def __init__(self) -> None:
        super().__init__([], Path(os.devnull))
        self.accepted: list[tuple[str, int, str]] = []

    def accept(self, host: str, port: int, fingerprint: str) -> None:
        """Record a certificate."""
        self.accepted.append((host, port, fingerprint))


class FakeStore(StateDir):
    """Files in memory."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}

    def read(self, name: str) -> str | None:
        """Return a file."""
        return self.files.get(name)

    def write(self, name: str, text: str, mode: int = 0) -> None:
        """Replace a file."""
        self.files[name] = text


class Scene:
    """The application and its fake surroundings. `clock` is its monotonic time.

    `behind` is a command that is run behind the screen for every action, as on Windows.
    """

    def __init__(
        self,
        target: Target | None = None,
        unit: UnitState | None = None,
        *others: Target,
        behind: list[str] | None = None,
    ) -> None:
        self.sources: list[FakeSource] = []
        self.store = FakeStore()
        self.clock = 1_000.0
        self.keyring = FakeKeyring()
        self.wall = WALL
        self.unit = unit or UnitState(reason="systemd does not run here.")
        self.obstacle = ""
        dependencies = Dependencies(
            self.keyring,
            self.store,
            lambda keyring: self._make_source(),
            lambda: self.clock,
            lambda: self.wall,
            UTC,
            ServiceControl(
                lambda: self.unit,
                lambda action: behind or ["sudo", "smtppseudo", action.value],
                lambda action: self.obstacle,
                needs_terminal=not behind,
            ),
        )
        self.app = MonitorApp([target or Target("127.0.0.1", 26), *others], dependencies)
        self.pilot: Pilot[None]

    @property
    def source(self) -> FakeSource:
        """The source in use."""
        return self.sources[-1]

    @property
    def main(self) -> MainScreen:
        """The main screen."""
        assert isinstance(self.app.page, MainScreen)
        return self.app.page

    @property
    def view(self) -> ServerView:
        """The server that is shown."""
        return self.app.page.selected

    async def tell(self, *updates: Update) -> None:
        """Let the application process updates, and draw."""
        self.source.updates += updates
        self.app.tick()
        await self.pilot.pause()

    async def tell_all(self, servers: Sequence[Sequence[Update]]) -> None:
        """Let the application process updates of each of its servers, and draw."""
        for source, updates in zip(self.sources, servers, strict=True):
            source.updates += updates
            for login in [update for update in updates if isinstance(update, LinkUp)]:
                source.replies["get"] = {"settings": login.snapshot.settings, "origins": {}, "revision": 7}
        self.clock += 1
        self.app.tick()
        await self.pilot.pause()

    async def settle(self, looks: Callable[[], bool], what: str) -> None:
        """Wait until something is true."""
        for _ in range(400):
            if looks():
                return
            await self.pilot.pause(0.01)
        raise AssertionError(f"not so: {what}:\n{self.text()}")

    def text(self) -> str:
        """Return the text on the screen."""
        return text_on(self.app)

    def _make_source(self) -> FakeSource:
        self.sources.append(FakeSource())
        return self.sources[-1]


def text_on(app: MonitorApp) -> str:
    """Return the text on an application's screen."""
    lines = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip) for strip in lines)


class JumpingSelector(selectors.DefaultSelector):
    """A selector that does not wait for time to pass: it counts the wait in `skipped_s`, and returns at once.

    While a thread of the application runs, it waits as usual.
    """

    def __init__(self) -> None:
        super().__init__()
        self.skipped_s = 0.0
        self._threads_before = set(threading.enumerate())

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return the ready descriptors."""
        ready = super().select(0)
        if ready or timeout is None or timeout <= 0 or set(threading.enumerate()) - self._threads_before:
            return ready or super().select(timeout)
        self.skipped_s += timeout
        return []


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer when there is nothing else to do."""

    def __init__(self) -> None:
        self._jumping = JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Return seconds: the real ones and those skipped."""
        return time.monotonic() + self._jumping.skipped_s


def play(scene: Scene, act: Callable[[Scene], Awaitable[None]], size: tuple[int, int] = (80, 24)) -> None:
    """Run the application without a terminal, and act on it. Pauses and timers take no time."""

    async def run() -> None:
        async with scene.app.run_test(size=size, notifications=True) as pilot:
            scene.pilot = pilot
            await pilot.pause()
            await act(scene)

    with asyncio.Runner(loop_factory=JumpingLoop) as runner, patch("textual._time.get_time", runner.get_loop().time):
        runner.run(run())


def settings(**changes: object) -> Frame:
    """Return a server's settings."""
    return {**Settings(hostname="mx.example.net")._asdict(), **changes}


def stamp(seconds: float) -> str:
    """Return the time stamp of a moment before the scene's time."""
    at = WALL - timedelta(seconds=seconds)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03}Z"


def link_up(
    slots: list[Frame] | None = None,
    *,
    seq: int = 0,
    is_own: bool = True,
    note: str = "",
    state: str = "online",
    started_at: str = STARTED_AT,
    address: str = "127.0.0.1",
    count: int = 25,
    **changes: object,
) -> LinkUp:
    """Return a login. Other slots than those given are free."""
    given = {slot["slot"]: slot for slot in slots or []}
    whole = [given.get(number, {"slot": number, "state": "free"}) for number in range(1, count + 1)]
    snapshot = Snapshot(seq, state, started_at, whole, settings(**changes), counters())
    return LinkUp(snapshot, f"{address} port 26", address, 26, "smtppseudo 1.0.0", "cookie", note, is_own)


def counters(connected: int = 1_204, turned_away: int = 3) -> Frame:
    """Return a server's counters."""
    return {
        "connected": connected,
        "turned_away": {"slots": 0, "client": turned_away},
        "closed": {"quit": 1_000},
        "mails_refused": {"mail": 9_310},
        "mails_refused_today": 1_018,
        "mails_refused_since": "2026-06-01T00:00:00.000Z",
        "commands": 5_400,
        "received_bytes": 182_400,
        "sent_bytes": 371_020,
        "wasted_s": 9_204.5,
        "faults": 0,
        "slots": 25,
        "slots_in_use": 4,
    }


def status(monitors: int = 2, **more: object) -> PolledReply:
    """Return a reply to `status`."""
    fields: Frame = {"state": "online", "counters": counters(), "uptime_s": 22_500, "monitors": monitors}
    return PolledReply("status", {**fields, "lost_log_lines": 0, **more})


def event(seq: int, kind: str, seconds: float = 0, **fields: object) -> Streamed:
    """Return an event of `seconds` ago."""
    return Streamed(seq, {"time": stamp(seconds), "event": kind, **fields})


def session_events(
    seq: int,
    slot: int,
    ip: str,
    helo: str,
    sender: str,
    seconds: float = 0,
    *,
    is_open: bool = False,
) -> list[Streamed | Dropped]:
    """Return the events of a session."""
    who: dict[str, object] = {"slot": slot, "session": 1_000 + seq, "ip": ip, "port": 40_000 + seq}
    said = [
        (f"HELO {helo}", 250, f"Hello {helo} from {ip}, pleased to meet you."),
        (f"MAIL FROM:{sender}", 553, f"Sender {sender} is Invalid!"),
    ]
    if not is_open:
        said.append(("QUIT", 221, "Server Disconnecting"))
    events: list[Streamed | Dropped] = [event(seq, "connected", seconds, **who, local_port=25)]
    for at, (data, code, reply) in enumerate(said, 1):
        events.append(event(seq + at, "command", seconds - at, **who, data=data, code=code, reply=reply))
    if not is_open:
        sums = {"duration_ms": 1_240, "received_bytes": 62, "sent_bytes": 171, "commands": 3}
        events.append(event(seq + len(events), "closed", seconds - 4, **who, reason="quit", **sums))
    return events


def model_of(*notices: Streamed | Dropped, seq: int = 0) -> Model:
    """Return a model after a login and these events."""
    model = Model()
    model.load(link_up(seq=seq).snapshot, 100.0)
    model.apply(notices, 100.0, SECOND)
    return model


def batch(*notices: Streamed | Dropped) -> EventBatch:
    """Return events as the feeder delivers them."""
    return EventBatch(list(notices))


def closed_slot(slot: int, ip: str, helo: str, sender: str) -> Frame:
    """Return a slot after its session was closed."""
    said = {"helo": helo, "mail_from": sender, "last": "QUIT", "error": "", "commands": 3}
    if slot % 3 == 0:
        said |= {
            "last": "RCPT TO:<you@example.net>",
            "error": f"550 {ip} will not find any valid users on this server.",
        }
    reason = ("quit", "peer", "idle")[slot % 3]
    frame = {"slot": slot, "state": "closed", "session": 900 + slot, "ip": ip, "port": 51_000 + slot * 37}
    return {**frame, **said, "reason": reason, "connected_at": stamp(60 * slot), "idle_ms": slot * 41_300}


FINGERPRINT = f"SHA256:{'0A:' * 32}".removesuffix(":")


def fleet_scene(count: int = 12) -> "Scene":
    """Return a scene with several servers."""
    first, *others = [Target(f"192.0.2.{number}", 26) for number in range(1, count + 1)]
    return Scene(first, None, *others)


def fleet_morning() -> list[list[Update]]:
    """Return the updates of twelve servers: two are away, one refuses the word, one has an unknown certificate."""
    servers: list[list[Update]] = []
    for number in range(1, 13):
        name = "mx-long-name.dept7" if number == 7 else f"mx{number}"
        callers = [closed_slot(slot, *CAST[(slot + number) % len(CAST)]) for slot in range(1, number)]
        login = link_up(callers, server_name=name, seq=0, accept_mail=number == 5, is_own=False)
        calls: list[Streamed | Dropped] = []
        for at in range(number % 5):
            calls += session_events(len(calls) + 1, at + 1, *CAST[(at * 3 + number) % len(CAST)], 50, is_open=at != 1)
        sums = {**counters(), "mails_refused_today": 1_018 * number % 977}
        servers.append([login, batch(*calls), status(counters=sums, lost_log_lines=12 if number == 9 else 0)])
    place = ("192.0.2.11", 26)
    servers[1].append(LinkDown(ConnectionLostError("192.0.2.2 port 26: the server ended the connection (shutdown)"), 8))
    servers[3] = [LinkDown(UnreachableError("cannot reach 192.0.2.4 port 26: Connection refused; use a tunnel"), 15)]
    servers[7] = [LinkDown(NotAuthorizedError("192.0.2.8 port 26: Not Authorized! The magic word is wrong"), None)]
    servers[9] = [link_up(server_name="mx10", state="offline", is_own=False), status(state="offline")]
    servers[10] = [LinkDown(UnknownCertificateError(FINGERPRINT, place), None)]
    return servers


CAST = (
    ("192.0.2.41", "gf.com", "<news@gf.com>"),
    ("198.51.100.7", "mail.example.org", "<alice@example.org>"),
    ("203.0.113.99", "[203.0.113.99]", "<>"),
    ("2001:db8:4:11::25", "ylmf-pc", "<win@prize.example>"),
    ("198.51.100.23", "localhost", "<root@localhost>"),
    ("192.0.2.41", "gf.com", "<offers@gf.com>"),
    ("203.0.113.5", "smtp-out.example.com", "<bounce+4711@lists.example.com>"),
)


def busy_morning() -> list[Update]:
    """Return the updates of a server that has worked for a while."""
    notices: list[Streamed | Dropped] = []
    slot = 0
    for minute in range(29, 0, -1):
        for at in range((minute * 7) % 5 + (minute % 3 == 0)):
            ip, helo, sender = CAST[(minute + at) % len(CAST)]
            slot = slot % 9 + 1
            notices += session_events(len(notices) + 1, slot, ip, helo, sender, minute * 60 + 30 - at * 9)
    login = link_up([closed_slot(number, *CAST[number % len(CAST)]) for number in range(1, 10)], seq=len(notices))
    for at, (ip, helo, sender) in enumerate(CAST[:4]):
        notices += session_events(len(notices) + 1, at + 1, ip, helo, sender, 50 - at * 9, is_open=at != 1)
    return [login, batch(*notices), status()]
