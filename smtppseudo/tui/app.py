"""The application: keeps model, feeder and screen together."""

import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, tzinfo
from functools import partial
from typing import Final, NamedTuple

from textual.app import App, SystemCommand
from textual.screen import Screen

from smtppseudo.config.settings import MONITOR_PORT
from smtppseudo.link.errors import CertificateError, LinkError, UnknownCertificateError
from smtppseudo.link.route import Target
from smtppseudo.service.systemd import UnitState
from smtppseudo.tui.actions import ACTIONS
from smtppseudo.tui.feeder import Batch, Broken, Dialling, Feed, News, Opened, Seen, Slots, Status
from smtppseudo.tui.memory import Memory, Store
from smtppseudo.tui.model import Model
from smtppseudo.tui.operations import Operations, target_of
from smtppseudo.tui.screens.main import MainScreen
from smtppseudo.tui.screens.service import Service
from smtppseudo.tui.screens.setup import Wanted
from smtppseudo.tui.standing import Standing
from smtppseudo.tui.texts import shown
from smtppseudo.tui.themes import DARK, LIGHT, THEMES
from smtppseudo.tui.waiting import answer, aside, begin

TICK_S: Final = 0.1
_FLOOD_EVENTS: Final = 500  # at once: then the tables are drawn half as often, and keys come first
_FLOOD_S: Final = 0.19
_WORDS_S: Final = 0.5  # between changes of all but the tables, at the soonest
_WORDS_AT_LATEST_S: Final = 1.0  # idle times go on
_SLOTS_AGAIN_S: Final = 2.0  # after events were left out, at the soonest
_SLOTS_ASKED_S: Final = 5.0  # where data events are off, so that events do not tell all


class Surroundings(NamedTuple):
    """What the application stands on; tests give it others."""

    make_feed: Callable[[], Feed]
    store: Store
    accept: Callable[[str, int, str], None]  # a certificate's fingerprint, of a host and port. Raises OSError
    usual_port: Callable[[], int] = lambda: MONITOR_PORT
    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], datetime] = partial(datetime.now, UTC)
    zone: tzinfo | None = None  # None: this machine's
    service: Service = Service()


class MonitorApp(App[None]):
    """The application."""

    CSS_PATH = "style.tcss"
    TITLE = "smtppseudo"
    ENABLE_COMMAND_PALETTE = True

    def __init__(self, target: Target, surroundings: Surroundings) -> None:
        super().__init__()
        self._surroundings = surroundings
        self.memory = Memory.load(surroundings.store)
        self.target = target
        self.model = Model()
        self.standing = Standing()
        self.operations = Operations(self)
        self.feed: Feed = surroundings.make_feed()
        self.unit_state: UnitState | None = None
        self.main = MainScreen(self)
        self._slots_asked_at = 0.0
        self._slots_are_stale = False
        self._is_undrawn = True
        self._drawn_at = 0.0
        self._words_at = 0.0
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = self.memory.theme if self.memory.theme in (DARK, LIGHT) else DARK

    @property
    def zone(self) -> tzinfo | None:
        """The time zone that times are shown in."""
        return self._surroundings.zone

    @property
    def service(self) -> Service:
        """The service of this machine."""
        return self._surroundings.service

    def now(self) -> float:
        """Return monotonic seconds."""
        return self._surroundings.monotonic()

    def wall(self) -> datetime:
        """Return the time of day."""
        return self._surroundings.wall()

    def minute(self) -> int:
        """Return the minute, counted since the epoch."""
        return int(self.wall().timestamp()) // 60

    def usual_port(self) -> int:
        """Return the port that is tried where none is given."""
        return self._surroundings.usual_port()

    def get_default_screen(self) -> Screen[None]:
        """Return the main screen."""
        return self.main

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:  # noqa: ARG002
        """Return what the command palette offers: every action."""
        for action in ACTIONS:
            yield SystemCommand(action.title, action.help, partial(self._run, action.name))

    def on_mount(self) -> None:
        """Begin."""
        self.feed.start(self.target, Seen())
        self.set_interval(TICK_S, self.tick)

    def on_unmount(self) -> None:
        """End."""
        self.feed.stop()

    def tick(self) -> None:
        """Take in what came, ten times a second."""
        news = self.feed.take()
        now = self.now()
        for each in news:
            self._follow(each, now)
        self._is_undrawn |= bool(news)
        count = sum(len(each.notices) for each in news if isinstance(each, Batch))
        is_urgent = any(not isinstance(each, Batch) for each in news)
        if is_urgent or now - self._drawn_at >= (_FLOOD_S if count >= _FLOOD_EVENTS else 0):
            self._draw(now, words=is_urgent or now - self._words_at >= _WORDS_S)
        self._keep_slots_true(now)

    def _draw(self, now: float, *, words: bool) -> None:
        """Draw what came, and what changes with time alone; `words` are all but the tables."""
        if not self._is_undrawn and now - self._words_at < _WORDS_AT_LATEST_S:
            return
        self._is_undrawn = False
        self._drawn_at = now
        self._words_at = now if words else self._words_at
        touched = self.model.board.drain()
        self.main.redraw(touched, reorder=self.model.board.is_out_of_order(), words=words)

    def _follow(self, news: News, now: float) -> None:
        model = self.model
        if isinstance(news, Batch):
            left_out = model.dropped
            changed = model.apply(news.notices, now, self.minute())
            self._slots_are_stale |= model.dropped > left_out
            if changed:
                begin(self, self.load_settings, "settings")
        elif isinstance(news, Status):
            model.take_status(news.reply, self.minute())
        elif isinstance(news, Slots):
            model.take_slots(news.reply, now)
        else:
            self._stand(news, now)

    def _stand(self, news: Opened | Broken | Dialling, now: float) -> None:
        was_connected = self.standing.opened is not None
        self.standing = self.standing.follow(news, now)
        if isinstance(news, Opened):
            self.model.load(news.snapshot, now)
            begin(self, self.load_settings, "settings")
            if news.is_own:
                begin(self, self._ask_unit, "unit")
        elif isinstance(news, Broken):
            if was_connected:
                self.model.note(shown(f"the connection is lost: {news.error}"))
            if self.screen is self.main:
                self._ask_what_is_missing()

    def _ask_what_is_missing(self) -> None:
        if self.standing.needs_word:
            self.operations.ask_word()
        elif isinstance(self.standing.error, UnknownCertificateError):
            self.operations.ask_trust(self.standing.error)  # one that changed is refused until a person wants it

    def _keep_slots_true(self, now: float) -> None:
        """Have the slots listed anew where events do not tell all: some were left out, or none tell of data."""
        is_silent = self.model.settings.get("log_data_events") is False
        since = now - self._slots_asked_at
        if self.standing.opened is None:
            return
        if (self._slots_are_stale and since >= _SLOTS_AGAIN_S) or (is_silent and since >= _SLOTS_ASKED_S):
            self._slots_asked_at, self._slots_are_stale = now, False
            self.feed.refresh_slots()

    async def load_settings(self) -> None:
        """Ask the server for its settings."""
        try:
            self.model.take_settings(await answer(self.feed.ask("get")))
        except LinkError:
            return  # they are asked for again at the next login
        self.main.redraw_words()

    async def _ask_unit(self) -> None:
        self.show_unit(await aside(self.service.ask))

    def show_unit(self, unit: UnitState) -> None:
        """Show how the service of this machine stands."""
        self.unit_state = unit
        self.main.redraw_words()

    def retry(self) -> None:
        """Try to connect at once; first ask for a word that was refused or is missing, or about a certificate."""
        if self.standing.needs_word:
            self.operations.ask_word()
        elif isinstance(self.standing.error, CertificateError):
            self.operations.ask_trust(self.standing.error)
        elif self.standing.opened is None:
            self.feed.retry()

    def watch_server(self, wanted: Wanted, *, is_same: bool) -> None:
        """Keep what Setup says, and connect anew where that says how."""
        before = self.target
        self.target = target_of(wanted, before)
        word = wanted.word if wanted.word is not None else self.target.magic_word
        keep = word if wanted.is_kept else None
        self.memory = self.memory._replace(host=wanted.host, port=wanted.port, cleartext=wanted.cleartext)
        self.memory = self.memory.with_word(wanted.host, wanted.port, keep)
        self._save()
        if is_same and wanted.word is None and self.standing.opened is not None:
            return
        self._connect_anew(is_same_server=(wanted.host, wanted.port) == (before.address, before.port))

    def remember_new_word(self, word: str) -> None:
        """Log in with a new magic word from now on."""
        self.target = self.target._replace(magic_word=word)
        port = self.target.port or self.usual_port()
        if self.memory.word_of(self.target.address, port) is not None:
            self.memory = self.memory.with_word(self.target.address, port, word)
            self._save()

    def accept(self, error: CertificateError) -> None:
        """Trust a certificate from now on, and connect again. Raises OSError."""
        self._surroundings.accept(*error.place, error.fingerprint)
        self.feed.retry()

    def turn_theme(self) -> None:
        """Go from dark to light, or back."""
        self.theme = LIGHT if self.theme == DARK else DARK
        self.memory = self.memory._replace(theme=self.theme)
        self._save()

    def _connect_anew(self, *, is_same_server: bool) -> None:
        self.feed.stop()
        self.standing = Standing()
        if not is_same_server:
            self.model = Model()
            self.unit_state = None
        self.feed = self._surroundings.make_feed()
        self.feed.start(self.target, Seen(self.model.started_at, self.model.last_seq))
        self.main.show_model()

    def _save(self) -> None:
        try:
            self.memory.save(self._surroundings.store)
        except OSError as error:
            self.notify(
                f"{error.strerror}; what you set here is forgotten when this screen is closed",
                title="Cannot save",
                severity="warning",
                markup=False,
            )

    async def _run(self, name: str) -> None:
        await self.main.run_action(name)
