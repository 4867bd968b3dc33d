"""A scene: the screen with a feed that says what it is told, and clocks that stand still."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from typing import Any

from textual.pilot import Pilot

from smtppseudo.config.settings import Settings
from smtppseudo.link.errors import OpRefusedError
from smtppseudo.link.incoming import Dropped, OpReply, Snapshot, Streamed
from smtppseudo.link.route import Target
from smtppseudo.monitor.codec import Frame
from smtppseudo.service.systemd import UnitState
from smtppseudo.tui.app import MonitorApp, Surroundings
from smtppseudo.tui.feeder import Batch, News, Opened, Seen, Status
from smtppseudo.tui.screens.service import Service

WALL = datetime(2026, 6, 1, 14, 30, tzinfo=UTC)
STARTED_AT = "2026-06-01T08:15:00.000Z"


class FakeFeed:
    """Says what it is told. `answers` are the replies to ops by name: fields, or an error; `asked` what was asked."""

    def __init__(self) -> None:
        self.news: list[News] = []
        self.answers: dict[str, Any] = {"get": {"settings": settings(), "origins": {}, "revision": 7}}
        self.asked: list[tuple[str, dict[str, object]]] = []
        self.started: list[tuple[Target, Seen]] = []
        self.retries = 0
        self.is_stopped = False

    def start(self, target: Target, seen: Seen) -> None:
        """Begin."""
        self.started.append((target, seen))

    def take(self) -> list[News]:
        """Give out what there is."""
        news, self.news = self.news, []
        return news

    def ask(self, op: str, **fields: object) -> "Future[Frame]":
        """Answer."""
        self.asked.append((op, fields))
        future: Future[Frame] = Future()
        reply = self.answers.get(op, {})
        if isinstance(reply, Exception):
            future.set_exception(reply)
        else:
            future.set_result(reply)
        return future

    def refresh_slots(self) -> None:
        """Note it."""
        self.asked.append(("slots", {}))

    def retry(self) -> None:
        """Note it."""
        self.retries += 1

    def stop(self) -> None:
        """Note it."""
        self.is_stopped = True

    def refuse(self, op: str, code: str, text: str) -> None:
        """Refuse an op from now on."""
        self.answers[op] = OpRefusedError(text, code)


class FakeStore:
    """Files in memory."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}

    def read(self, name: str) -> str | None:
        """Return a file."""
        return self.files.get(name)

    def write(self, name: str, text: str) -> None:
        """Replace a file."""
        self.files[name] = text


class Scene:
    """The application, and what it stands on. `clock` is its monotonic time."""

    def __init__(self, target: Target | None = None, unit: UnitState | None = None) -> None:
        self.feeds: list[FakeFeed] = []
        self.store = FakeStore()
        self.clock = 1_000.0
        self.accepted: list[tuple[str, int, str]] = []
        self.wall = WALL
        self.unit = unit or UnitState(reason="systemd does not run here.")
        self.obstacle = ""
        surroundings = Surroundings(
            self._make_feed,
            self.store,
            lambda *accepted: self.accepted.append(accepted),
            lambda: 26,
            lambda: self.clock,
            lambda: self.wall,
            UTC,
            Service(
                lambda: self.unit,
                lambda action: ["sudo", "smtppseudo", action.value],
                lambda action: self.obstacle,
            ),
        )
        self.app = MonitorApp(target or Target("127.0.0.1", 26), surroundings)
        self.pilot: Pilot[None]

    @property
    def feed(self) -> FakeFeed:
        """The feed in use."""
        return self.feeds[-1]

    async def tell(self, *news: News) -> None:
        """Have the application take in news, and draw."""
        self.feed.news += news
        self.app.tick()
        await self.pilot.pause()

    async def settle(self, looks: Callable[[], bool], what: str) -> None:
        """Wait until something is so."""
        for _ in range(400):
            if looks():
                return
            await self.pilot.pause(0.01)
        raise AssertionError(f"not so: {what}:\n{self.text()}")

    def text(self) -> str:
        """Return what is on the screen, as plain text."""
        lines = self.app.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in strip) for strip in lines)

    def _make_feed(self) -> FakeFeed:
        self.feeds.append(FakeFeed())
        return self.feeds[-1]


def play(scene: Scene, act: Callable[[Scene], Awaitable[None]], size: tuple[int, int] = (100, 40)) -> None:
    """Run the application without a terminal, and act on it."""

    async def run() -> None:
        async with scene.app.run_test(size=size) as pilot:
            scene.pilot = pilot
            await pilot.pause()
            await act(scene)

    asyncio.run(run())


def settings(**changes: object) -> Frame:
    """Return a server's settings."""
    return {**Settings(hostname="mx.example.net")._asdict(), **changes}


def stamp(seconds: float) -> str:
    """Return a time stamp, so many seconds before the scene's own time."""
    at = WALL - timedelta(seconds=seconds)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03}Z"


def opened(
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
) -> Opened:
    """Return a login; slots that are not given are free."""
    given = {slot["slot"]: slot for slot in slots or []}
    whole = [given.get(number, {"slot": number, "state": "free"}) for number in range(1, count + 1)]
    snapshot = Snapshot(seq, state, started_at, whole, settings(**changes), counters())
    return Opened(snapshot, f"{address} port 26", address, 26, "smtppseudo 1.0.0", "cookie", note, is_own)


def counters(connected: int = 1_204, turned_away: int = 3) -> Frame:
    """Return a server's counters."""
    return {
        "connected": connected,
        "turned_away": {"slots": 0, "client": turned_away},
        "closed": {"quit": 1_000},
        "commands": 5_400,
        "received_bytes": 182_400,
        "sent_bytes": 371_020,
        "wasted_s": 9_204.5,
        "faults": 0,
        "slots": 25,
        "slots_in_use": 4,
    }


def status(monitors: int = 2, **more: object) -> Status:
    """Return an answer to `status`."""
    fields: Frame = {"state": "online", "counters": counters(), "uptime_s": 22_500, "monitors": monitors}
    return Status(OpReply(1, {**fields, "lost_log_lines": 0, **more}))


def event(seq: int, kind: str, seconds: float = 0, **fields: object) -> Streamed:
    """Return an event, so many seconds ago."""
    return Streamed(seq, {"time": stamp(seconds), "event": kind, **fields})


def visit(
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


def batch(*notices: Streamed | Dropped) -> Batch:
    """Return events as the feeder hands them over."""
    return Batch(list(notices))


def left_over(slot: int, ip: str, helo: str, sender: str) -> Frame:
    """Return a slot as the session in it left it."""
    said = {"helo": helo, "mail_from": sender, "last": "QUIT", "error": "", "commands": 3}
    if slot % 3 == 0:
        said |= {
            "last": "RCPT TO:<you@example.net>",
            "error": f"550 {ip} will not find any valid users on this server.",
        }
    reason = ("quit", "peer", "idle")[slot % 3]
    frame = {"slot": slot, "state": "closed", "session": 900 + slot, "ip": ip, "port": 51_000 + slot * 37}
    return {**frame, **said, "reason": reason, "connected_at": stamp(60 * slot), "idle_ms": slot * 41_300}


CAST = (
    ("192.0.2.41", "gf.com", "<news@gf.com>"),
    ("198.51.100.7", "mail.example.org", "<alice@example.org>"),
    ("203.0.113.99", "[203.0.113.99]", "<>"),
    ("2001:db8:4:11::25", "ylmf-pc", "<win@prize.example>"),
    ("198.51.100.23", "localhost", "<root@localhost>"),
    ("192.0.2.41", "gf.com", "<offers@gf.com>"),
    ("203.0.113.5", "smtp-out.example.com", "<bounce+4711@lists.example.com>"),
)


def busy_morning() -> list[News]:
    """Return what a server has to tell after some work."""
    notices: list[Streamed | Dropped] = []
    slot = 0
    for minute in range(29, 0, -1):
        for at in range((minute * 7) % 5 + (minute % 3 == 0)):
            ip, helo, sender = CAST[(minute + at) % len(CAST)]
            slot = slot % 9 + 1
            notices += visit(len(notices) + 1, slot, ip, helo, sender, minute * 60 + 30 - at * 9)
    login = opened([left_over(number, *CAST[number % len(CAST)]) for number in range(1, 10)], seq=len(notices))
    for at, (ip, helo, sender) in enumerate(CAST[:4]):
        notices += visit(len(notices) + 1, at + 1, ip, helo, sender, 50 - at * 9, is_open=at != 1)
    return [login, batch(*notices), status()]
