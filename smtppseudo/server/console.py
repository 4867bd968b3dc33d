"""The console: accepts monitors, carries out their ops, and sends them events."""

import os
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from smtppseudo import __version__
from smtppseudo.config.layers import Configuration, Pinned
from smtppseudo.config.settings import MONITORS_MAX, UNAUTHENTICATED_MAX, Settings, SettingsError
from smtppseudo.events import Batch, Event, Monitor
from smtppseudo.files import CREDENTIALS_FILE, StateDir
from smtppseudo.loop.connection import Connection
from smtppseudo.loop.listener import ListenError
from smtppseudo.loop.paced import PartsConnection
from smtppseudo.loop.port import Port
from smtppseudo.loop.reactor import Reactor
from smtppseudo.monitor import rows
from smtppseudo.monitor.attempts import Attempts
from smtppseudo.monitor.credentials import WORD_ITERATIONS, Credentials, cookie_id, decoy, derive
from smtppseudo.monitor.history import chunks, event_frames, parse_subscription
from smtppseudo.monitor.session import Backend, MonitorSession, MonitorState, Request, SessionEvent, ValidProof
from smtppseudo.net.addresses import is_loopback
from smtppseudo.net.errnos import reason_of
from smtppseudo.server.blocks import Blocks
from smtppseudo.server.reception import Reception
from smtppseudo.server.recorder import Recorder
from smtppseudo.smtp.blocked import BlockError
from smtppseudo.smtp.client_limits import source_of

if TYPE_CHECKING:
    from smtppseudo.net.tls import Tls

WRITES_BURST: Final = 20
WRITE_EVERY_S: Final = 1.0
COOKIE_ITERATIONS: Final = 4_096  # 32 random bytes need no stretching
PER_SOURCE: Final = 2  # connections that are not logged in
_LIMITED: Final = ("reload", "block", "unblock")  # by `_count_write`; others are counted once their fields are checked

# Carries out an op; returns the fields of its reply, or None if it has replied itself.
Op: TypeAlias = Callable[[MonitorSession, Request], Mapping[str, object] | None]


class OpRefused(Exception):  # noqa: N818 - a reply to the monitor, not an error of the server
    """An op that is not carried out: the protocol's error code, and a text that says what is allowed."""


class Control(Protocol):
    """The server, as far as monitors may see and change it. A method that raises an error has changed nothing."""

    blocks: Blocks
    state: str  # online or offline
    started_at: str  # RFC 3339
    smtp_port: Port
    settings: Settings  # in force
    configuration: Configuration
    reception: Reception

    def counters(self) -> Mapping[str, object]: ...
    def status(self) -> Mapping[str, object]: ...
    def configure(self, configuration: Configuration, ip: str, port: int) -> None: ...  # raises OSError
    def go_online(self, by: str, ip: str, port: int) -> None: ...  # raises ListenError
    def go_offline(self, by: str, ip: str, port: int) -> None: ...  # raises OSError
    def reload(self, by: str, ip: str, port: int) -> list[str]: ...  # raises SettingsError
    def warn(self, text: str) -> None: ...


class Console:
    """Owns the monitors' connections. `tls` is the server's side of TLS; None without a certificate."""

    def __init__(
        self, control: Control, reactor: Reactor, recorder: Recorder, state_dir: StateDir, cookie: str
    ) -> None:
        self.reactor = reactor
        self.tls: Tls | None = None
        self.backlog_bytes = 0
        self._control = control
        self._recorder = recorder
        self._state_dir = state_dir
        self._connections: dict[MonitorSession, PartsConnection[MonitorSession]] = {}  # in the order of arrival
        self._attempts = Attempts()
        self._writes = Attempts(WRITES_BURST, WRITE_EVERY_S)
        self._cookie = derive(cookie, os.urandom(16), COOKIE_ITERATIONS)
        self._cookie_id = cookie_id(cookie)
        self._word = self._read_word()
        self._decoy_secret = self._word.server_key if self._word else os.urandom(32)
        self._ops: dict[str, Op] = {
            "slots": self._slots,
            "subscribe": self._subscribe,
            "status": lambda *_: control.status(),
            "get": self._get,
            "set": self._set,
            "unset": self._unset,
            "start": lambda session, _: self._switch(control.go_online, session),
            "stop": lambda session, _: self._switch(control.go_offline, session),
            "reload": lambda by, _: {"need_restart": control.reload("monitor", by.ip, by.port)},
            "disconnect": self._disconnect,
            "block": lambda by, request: control.blocks.block(request.fields, control.settings, by.ip, by.port),
            "unblock": lambda by, request: control.blocks.unblock(request.fields, by.ip, by.port),
            "blocked": lambda _, request: control.blocks.blocked(request.fields),
            "magic_word": self._magic_word,
        }

    @property
    def monitors(self) -> int:
        """How many monitors are logged in."""
        return sum(session.state is MonitorState.AUTHENTICATED for session in self._connections)

    def accept(self, sock: socket.socket, ip: str, port: int, now: float, *, by_tls: bool) -> None:
        """Start the session of a new connection. Where too many are not logged in, an older one makes room."""
        leaving = leaving_for(ip, self._connections, UNAUTHENTICATED_MAX // 2)
        if leaving is not None:
            leaving.fail("busy", "too many connections that are not logged in")
            self._connections[leaving].end("errors", now)
        try:  # let the kernel detect monitors that vanish without closing
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if hasattr(socket, "TCP_KEEPIDLE"):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)
        except OSError:
            pass  # a dead monitor then stays until a send to it fails
        backend = Backend(
            f"smtppseudo {__version__}",
            self._control.settings.server_name,
            self._cookie_id,
            lambda user: self._word if user == "magic" else self._cookie if user == "cookie" else None,
            lambda user: decoy(self._decoy_secret, user, WORD_ITERATIONS),
            lambda user: self._attempts.wait_s(_guesser(ip), self.reactor.clock.now) if user == "magic" else 0.0,
            self.tls.channel if by_tls and self.tls else b"",
        )
        session = MonitorSession(backend, os.urandom(18).hex(), ip, port, now, awaits_tls=by_tls)
        connection = self._connections[session] = PartsConnection(sock, session, self)
        connection.begin(now)

    def record(self, machine: MonitorSession, events: Sequence[SessionEvent]) -> None:
        """Handle what a monitor's session returned: carry out requests, record events."""
        for event in events:
            if isinstance(event, Request):
                self._reply(machine, event)
            elif isinstance(event, ValidProof):
                self._admit(machine, event)
            else:
                if isinstance(event, Monitor) and event.action == "not_authorized":
                    self._attempts.count(_guesser(machine.ip), self.reactor.clock.now)
                self._record(machine, event)

    def on_handshake(self, machine: MonitorSession, parameters: tuple[str, str], error: OSError | None) -> None:
        """Record nothing: a login follows, or the connection is closed."""

    def released(self, connection: Connection[MonitorSession], now: float) -> None:
        """Forget a closed connection."""
        del self._connections[connection.machine]

    def publish(self, batch: Batch) -> None:
        """Send a batch of events to the monitors that subscribed to them."""
        now = self.reactor.clock.now
        for_all: list[tuple[bytes, int]] | None = None  # most want all events, which are rendered once
        for session in list(self._connections):
            if session.subscription is None:
                continue
            wanted = session.subscription.select(batch)
            if wanted is batch:
                pieces = for_all = for_all or list(chunks(event_frames(batch)))
            else:
                pieces = list(chunks(event_frames(wanted)))
            for data, count in pieces:
                if session in self._connections:
                    session.outbox.put_events(data, count)
                    self._connections[session].push(now)

    def close(self, now: float) -> None:
        """End all connections, with `bye`."""
        for connection in list(self._connections.values()):
            connection.end("shutdown", now)

    def _read_word(self) -> Credentials | None:
        """Return the credentials of the magic word; None if no word is set or the file cannot be used."""
        try:
            text = self._state_dir.read(CREDENTIALS_FILE)
            return None if text is None else Credentials.from_text(text)
        except (OSError, ValueError) as error:
            path = self._state_dir.path / CREDENTIALS_FILE
            self._control.warn(f"{path}: {reason_of(error)}; `smtppseudo magic-word` sets the word again")
            return None

    def _record(self, session: MonitorSession, event: Event) -> None:
        self._recorder.record(event, session.ip, session.port)

    def _admit(self, session: MonitorSession, proof: ValidProof) -> None:
        if session.close_reason is not None:
            return
        if self.monitors >= MONITORS_MAX:
            session.fail("busy", f"{MONITORS_MAX} monitors are logged in already")
            self._record(session, Monitor("busy", proof.user))
            return
        self._record(session, Monitor("login", proof.user))
        session.admit(proof, self.reactor.clock.now)
        session.snapshot_seq = self._recorder.seq
        control = self._control
        head = {
            "type": "snapshot",
            "seq": session.snapshot_seq,
            "state": control.state,
            "started_at": control.started_at,
            "settings": _jsonable(control.settings),
            "counters": control.counters(),
        }
        # The rows must be those of `seq`, so they are taken now; they are rendered as the monitor reads.
        session.outbox.put_lazily(self._slot_frames(head, rows.take_rows(control.reception.slots)))

    def _slot_frames(self, head: dict[str, object], taken: list[rows.Row] | None = None) -> Iterator[bytes]:
        clock, control = self.reactor.clock, self._control
        if taken is None:  # taken with the first frame, so that unread replies take no memory
            taken = rows.take_rows(control.reception.slots)
        yield from rows.frames(head, rows.show(taken, control.settings.slots, clock.now, clock.stamp_at))

    def _reply(self, session: MonitorSession, request: Request) -> None:
        op = self._ops.get(request.op)
        if op is None:
            session.refuse(request.id, "unknown_op", f"ops are ping, {', '.join(self._ops)}")
            return
        try:
            if request.op in _LIMITED:
                self._count_write()
            fields = op(session, request)
        except OpRefused as error:
            session.refuse(request.id, *error.args)
        except Pinned as error:
            session.refuse(request.id, "pinned", str(error))
        except (SettingsError, BlockError) as error:
            session.refuse(request.id, "bad_value", str(error))
        except ListenError as error:
            session.refuse(request.id, "io", f"cannot listen on {error}")
        except OSError as error:
            session.refuse(request.id, "io", f"the server could not do that: {error.strerror}; nothing was changed")
        else:
            if fields is not None:
                session.reply(request.id, **fields)

    def _slots(self, session: MonitorSession, request: Request) -> None:
        session.outbox.put_lazily(self._slot_frames({"type": "reply", "id": request.id, "ok": True}))

    def _subscribe(self, session: MonitorSession, request: Request) -> None:
        history, seq = self._recorder.history, self._recorder.seq
        try:
            subscription = parse_subscription(session.snapshot_seq + 1, request.fields)
        except ValueError as error:
            raise OpRefused("bad_value", str(error)) from None
        if subscription.from_seq > seq + 1:
            raise OpRefused("bad_value", f"from_seq must be at most {seq + 1}")
        session.subscription = subscription
        session.reply(request.id, oldest_seq=history.oldest_seq)
        session.outbox.put_lazily(chain.from_iterable(map(event_frames, history.replay(subscription))))

    def _get(self, session: MonitorSession, request: Request) -> Mapping[str, object]:
        settings, configuration = _jsonable(self._control.settings), self._control.configuration
        return {"settings": settings, "origins": dict(configuration.origins), "revision": configuration.revision}

    def _set(self, session: MonitorSession, request: Request) -> Mapping[str, object]:
        changes = request.fields.get("changes")
        if not isinstance(changes, dict) or not changes:
            raise OpRefused("bad_value", "changes must be an object of keys and values")
        return self._configure(session, request, self._control.configuration.with_set(changes, self._control.warn))

    def _unset(self, session: MonitorSession, request: Request) -> Mapping[str, object]:
        keys = request.fields.get("keys")
        if not isinstance(keys, list) or not keys or not all(isinstance(key, str) for key in keys):
            raise OpRefused("bad_value", "keys must be a list of keys")
        return self._configure(session, request, self._control.configuration.with_unset(keys, self._control.warn))

    def _configure(self, session: MonitorSession, request: Request, changed: Configuration) -> Mapping[str, object]:
        revision = self._control.configuration.revision
        if request.fields.get("revision", revision) != revision:
            raise OpRefused("conflict", "somebody else has changed the settings; get them again")
        self._count_write()
        self._control.configure(changed, session.ip, session.port)
        return {"revision": changed.revision}

    def _switch(self, switch: Callable[[str, str, int], None], session: MonitorSession) -> Mapping[str, object]:
        switch("monitor", session.ip, session.port)
        places = [f"{address} port {number}" for address, number in self._control.smtp_port.places]
        return {"state": self._control.state, "smtp": places}

    def _disconnect(self, session: MonitorSession, request: Request) -> Mapping[str, object]:
        slot, end = request.fields.get("slot"), self._control.reception.end
        if type(slot) is not int or not end(slot, "disconnected", self.reactor.clock.now):
            raise OpRefused("bad_value", "there is no open session in that slot")
        return {}

    def _magic_word(self, session: MonitorSession, request: Request) -> Mapping[str, object]:
        if not (is_loopback(session.ip) or session.is_secured):
            raise OpRefused("not_authorized", "set the magic word over TLS or from the server's own machine")
        try:
            word = Credentials.from_fields(request.fields, WORD_ITERATIONS)
        except ValueError as error:
            raise OpRefused("bad_value", str(error)) from None
        self._count_write()
        self._state_dir.write(CREDENTIALS_FILE, word.to_text() + "\n")
        self._word = word
        self._decoy_secret = word.server_key
        self._record(session, Monitor("magic_word", session.user))
        for other, connection in list(self._connections.items()):
            if other is not session:  # a login that has begun with the old word, too
                connection.end("disconnected", self.reactor.clock.now)
        return {}

    def _count_write(self) -> None:
        """Limit the rate of writes, of all monitors together: the server waits for the disk at each."""
        now = self.reactor.clock.now
        if self._writes.wait_s("", now) > 0:
            raise OpRefused("rate", "too many changes in a short time; try again in a second")
        self._writes.count("", now)


def leaving_for(ip: str, sessions: Iterable[MonitorSession], per_side: int) -> MonitorSession | None:
    """Return the connection that must be closed before one from `ip` may enter; None if there is room.

    Of connections that are not logged in, `per_side` may be from loopback addresses, as many from others (a security
    limit), and two from one source. A failed connection leaves first, then the one that has waited longest without
    `auth`, then the one that has waited longest with it. So connections that only wait keep nobody out.
    """
    waiting = [session for session in sessions if session.state is not MonitorState.AUTHENTICATED]
    side = [session for session in waiting if is_loopback(session.ip) == is_loopback(ip)]
    same = [session for session in side if source_of(session.ip) == source_of(ip)]
    full = same if len(same) >= PER_SOURCE else side if len(side) >= per_side else ()
    return min(full, key=lambda session: session.claim, default=None)  # the oldest of equals


def _guesser(ip: str) -> str:
    """Return whose wrong magic words are counted together: a local user has 16 million loopback addresses."""
    return "loopback" if is_loopback(ip) else source_of(ip)


def _jsonable(settings: Any) -> dict[str, object]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in settings._asdict().items()}
