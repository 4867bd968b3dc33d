"""A server that the screen shows: its model and the link to it."""

import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from functools import partial
from typing import Final, NamedTuple

from smtppseudo.events import printable
from smtppseudo.files import StateDir
from smtppseudo.link.errors import (
    BadPeerError,
    CertificateError,
    LinkError,
    NeedsMagicWordError,
    NotAuthorizedError,
    NotPrivateError,
    OpRefusedError,
)
from smtppseudo.link.keyring import Keyring
from smtppseudo.link.pins import name_of
from smtppseudo.link.route import Target
from smtppseudo.service.commands import ServiceAction, argv_for, problem_with, query_service
from smtppseudo.service.systemd import UnitState
from smtppseudo.tui.background import in_thread, reply_to
from smtppseudo.tui.feeder import Connecting, EventBatch, Feeder, LinkDown, LinkUp, PolledReply, ResumePoint, Update
from smtppseudo.tui.model import Model

_SLOTS_AFTER_GAP_S: Final = 2.0
_SLOTS_EVERY_S: Final = 5.0  # while data events are off: then events do not say what changes in a slot


class ServiceControl(NamedTuple):
    """How to query the service of this machine, and how to change it. `run` gets the bare terminal.

    Without `needs_terminal`, as on Windows, commands ask nothing and are run behind the screen.
    """

    ask: Callable[[], UnitState] = query_service
    argv_for: Callable[[ServiceAction], list[str]] = argv_for
    problem_with: Callable[[ServiceAction], str] = problem_with
    run: Callable[[list[str]], object] = subprocess.run
    needs_terminal: bool = sys.platform != "win32"


class Dependencies(NamedTuple):
    """What the screen uses of the outside world; tests replace it."""

    keyring: Keyring
    store: StateDir
    make_source: Callable[[Keyring], Feeder] = Feeder
    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], datetime] = partial(datetime.now, UTC)
    zone: tzinfo | None = None  # None: this machine's
    service: ServiceControl = ServiceControl()


class LinkStatus(NamedTuple):
    """Connected (`up`), failed (`error`) or connecting. `retry_at` is in monotonic seconds; None: no automatic try.

    `seen` is the last login, also after it was lost.
    """

    up: LinkUp | None = None
    error: LinkError | None = None
    retry_at: float | None = None
    is_connecting: bool = True
    seen: LinkUp | None = None

    def follow(self, update: LinkUp | LinkDown | Connecting, now: float) -> "LinkStatus":
        """Return the status after an update."""
        if isinstance(update, LinkUp):
            return LinkStatus(update, is_connecting=False, seen=update)
        if isinstance(update, Connecting):
            return self._replace(is_connecting=True, up=None)
        retry_at = None if update.retry_s is None else now + update.retry_s
        return LinkStatus(None, update.error, retry_at, is_connecting=False, seen=self.seen)

    @property
    def needs_word(self) -> bool:
        """Whether the operator must enter the magic word."""
        if self.is_connecting or self.retry_at is not None:
            return False
        return isinstance(self.error, NeedsMagicWordError | NotAuthorizedError)

    def next_step(self, now: float) -> str:
        """Return a sentence: what happens next, and what the operator can do."""
        if self.is_connecting:
            return "Connecting ..."
        if self.retry_at is not None:
            return f"Next try in {max(0, round(self.retry_at - now))} s; r tries now, s changes the address."
        if isinstance(self.error, NeedsMagicWordError | NotAuthorizedError):
            return "There is no automatic retry: r asks for the magic word, s changes the address."
        if isinstance(self.error, CertificateError):
            return "There is no automatic retry: r asks whether to trust it, s changes the address."
        if isinstance(self.error, NotPrivateError | BadPeerError):
            return "There is no automatic retry: s changes the address or the encryption, r tries again."
        return "r tries again, s changes the address."


class ServerView:
    """A server, one of `share` that are shown. `unit` is the service of this machine, None before systemd has answered.

    `is_changed` means that a person or a reply, not an update, changed something: the screen must be redrawn.
    """

    def __init__(self, target: Target, dependencies: Dependencies, share: int = 1) -> None:
        self.dependencies = dependencies
        self.target = target
        self._share = share
        self.model = Model(share)
        self.link = LinkStatus()
        self.source = dependencies.make_source(dependencies.keyring)
        self.unit: UnitState | None = None
        self.is_changed = True
        self._slots_asked_at = 0.0
        self._slots_are_stale = False

    def now(self) -> float:
        """Return monotonic seconds."""
        return self.dependencies.monotonic()

    @property
    def second(self) -> int:
        """Whole seconds since the epoch."""
        return int(self.dependencies.wall().timestamp())

    @property
    def zone(self) -> tzinfo | None:
        """The time zone of the times shown; None: this machine's."""
        return self.dependencies.zone

    @property
    def full_target(self) -> Target:
        """The target with address and port, even if they were not given."""
        up, target = self.link.up, self.target
        port = target.port or (up.port if up is not None else self.dependencies.keyring.ports()[0])
        return target._replace(host=target.address, port=port)

    @property
    def place(self) -> str:
        """The address given, with the port if one was given."""
        address, port = self.target.address, self.target.port
        return printable(name_of(address, port) if port else address)

    def follow(self, update: Update, now: float) -> bool:
        """Apply an update; return whether the settings must be loaded."""
        model = self.model
        if isinstance(update, EventBatch):
            not_shown = model.not_shown
            has_new_settings = model.apply(update.notices, now, self.second)
            self._slots_are_stale |= model.not_shown > not_shown
            return has_new_settings
        if isinstance(update, PolledReply):
            if update.op == "status":
                model.take_status(update.fields, self.second)
            else:
                model.take_slots(update.fields, now)
        else:
            was_up = self.link.up is not None
            self.link = self.link.follow(update, now)
            if isinstance(update, LinkUp):
                model.load(update.snapshot, now)
                return True
            if isinstance(update, LinkDown) and was_up:
                model.note(printable(f"the connection is lost: {update.error}"))
        return False

    def refresh_slots(self, now: float) -> None:
        """Ask for the list of slots when events are missing, or while data events are off or sessions not logged."""
        if self.link.up is None:
            return
        model = self.model
        is_silent = model.settings.get("log_data_events") is False or model.counters.get("not_logged")
        since = now - self._slots_asked_at
        if (self._slots_are_stale and since >= _SLOTS_AFTER_GAP_S) or (is_silent and since >= _SLOTS_EVERY_S):
            self._slots_asked_at, self._slots_are_stale = now, False
            self.source.refresh_slots()

    async def load_settings(self) -> None:
        """Ask the server for its settings."""
        try:
            self.model.take_settings(await reply_to(self.source.ask("get")))
        except LinkError:
            return  # the next login asks again
        self.is_changed = True

    async def change(self, op: str, **fields: object) -> None:
        """Change something at the server. Raises LinkError, with the code `conflict` after another monitor's change."""
        try:
            await reply_to(self.source.ask(op, **fields))
        except OpRefusedError as error:
            if error.code != "conflict":
                raise
            await self.load_settings()
            text = "another monitor has changed the settings; look at them, and try again"
            raise OpRefusedError(text, error.code) from None
        await self.load_settings()

    async def load_unit(self) -> None:
        """Ask systemd for the service of this machine."""
        self.set_unit(await in_thread(self.dependencies.service.ask))

    def set_unit(self, unit: UnitState) -> None:
        """Take over the state of this machine's service."""
        self.unit = unit
        self.is_changed = True

    def connect(self, target: Target) -> None:
        """Connect to a target. The model is kept only if it is the same server."""
        is_same = target[:2] == self.full_target[:2]
        self.target = target
        self.source.stop()
        self.link = LinkStatus()
        if not is_same:
            self.model = Model(self._share)
            self.unit = None
        self.source = self.dependencies.make_source(self.dependencies.keyring)
        self.source.start(target, ResumePoint(self.model.started_at, self.model.last_seq))
        self.is_changed = True
