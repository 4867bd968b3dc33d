"""A connection: one socket and the machine that speaks on it, SMTP or monitor."""

import socket
from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from smtppseudo.events import CloseReason
from smtppseudo.loop.reactor import READ, WRITE, Reactor
from smtppseudo.loop.stutter import EVERY_S as STUTTER_EVERY_S
from smtppseudo.net.addresses import plain_address
from smtppseudo.net.errnos import DONTWAIT, DONTWAIT_MORE, GONE, NEEDS_NONBLOCKING, TlsError

if TYPE_CHECKING:
    from smtppseudo.net.tls import Tls, TlsSocket

RECEIVE_BYTES: Final = 2048  # larger buffers cost more than they spare: commands are short
_FEW_BYTES: Final = 128  # a command or two: answering is cheaper than asking whether the peer is still there
STALL_TIMEOUT_S: Final = 30.0
LINGER_S: Final = 2.0
HANDSHAKE_TIMEOUT_S: Final = 30.0
BACKLOG_BYTES_MAX: Final = 16 << 20


class Machine(Protocol):
    """What speaks on a connection; see `SmtpSession` for the duties of its owner."""

    close_reason: CloseReason | None

    @property
    def has_more(self) -> bool: ...  # `data_to_send` gave a part; the rest is asked for in a later turn
    @property
    def paces(self) -> bool: ...  # that turn is when `deadline` has come
    @property
    def seconds_per_byte(
        self,
    ) -> float: ...  # pace of `next_part`; 0 = unpaced
    @property
    def reads(self) -> bool: ...  # `receive` may be called meanwhile
    @property
    def awaits_tls(self) -> bool: ...  # a handshake follows on what was said, and may take the `close_reason` away
    def secured(self, now: float) -> None: ...  # the handshake is done
    def receive(self, data: bytes, now: float) -> Sequence[Any]: ...
    def data_to_send(self, now: float) -> bytes: ...
    def flushed(self, now: float) -> None: ...
    @property
    def deadline(self) -> float: ...
    @property
    def expires_at(self) -> float: ...
    def tick(self, now: float) -> Sequence[Any]: ...
    def end(self, reason: CloseReason) -> None: ...
    def closed(self, reason: CloseReason, now: float, unsent_bytes: int = 0) -> Sequence[Any]: ...


class Owner(Protocol):
    """Who made the connection and wants to know."""

    reactor: Reactor
    tls: "Tls | None"  # None where there is no certificate
    backlog_bytes: int  # of answers that the kernel has not taken, of all connections of this owner; kept by these

    def record(self, machine: Any, events: Sequence[Any]) -> None:
        """Something happened: what the machine's `receive`, `tick` or `closed` returned."""

    def released(self, connection: "Connection", now: float) -> None:
        """The connection is closed, its last events are recorded."""

    def report_fault(self, error: Exception) -> None:
        """A bug of ours ended the connection."""


class Phase(Enum):
    """Where the connection stands."""

    HANDSHAKING = "TLS is being agreed on; the machine neither hears nor says anything"
    OPEN = "reads and writes"
    PACED = "the machine says more in its time; what the peer says meanwhile is read while the machine takes it"
    READ_PAUSED = "the same, and the machine takes no more: what the peer says stays with the kernel"
    FLUSHING = "the kernel has not taken all; nothing is read meanwhile"
    LINGERING = "all is said; what still arrives is dropped, so that no RST overtakes the last reply"
    CLOSED = "the socket is gone"


_HANDSHAKING: Final = Phase.HANDSHAKING
_OPEN: Final = Phase.OPEN
_PACED: Final = Phase.PACED
_READ_PAUSED: Final = Phase.READ_PAUSED
_FLUSHING: Final = Phase.FLUSHING
_LINGERING: Final = Phase.LINGERING
_CLOSED: Final = Phase.CLOSED


class Connection:
    """Carries bytes between a socket and its machine, and time to the machine.

    While the kernel has not taken an answer whole, nothing more is read: a peer that does not read its
    replies costs one answer's memory, and is closed (`stalled`) when nothing was taken for 30 s, or at once where
    the answers of all such peers take 16 MiB.
    """

    __slots__ = ("_owner", "_phase", "_unsent", "due_tick", "machine", "sock")

    def __init__(self, sock: socket.socket, machine: Machine, owner: Owner) -> None:
        self.sock = sock
        self.machine = machine
        self._owner = owner
        self._phase = _OPEN
        self._unsent = b""
        self.due_tick = 0
        if NEEDS_NONBLOCKING:
            sock.setblocking(False)

    @property
    def is_under_tls(self) -> bool:
        """Whether it is under TLS."""
        return not isinstance(self.sock, socket.socket)

    def begin(self, now: float) -> None:
        """Send the machine's first words and watch the socket."""
        reactor = self._owner.reactor
        try:
            reactor.watch(self.sock.fileno(), self)
        except OSError:  # the kernel has no room for one more (ENOSPC, ENOMEM)
            self._release("fault", now)
            return
        reactor.wheel.schedule(self, self.machine.deadline)
        self._send_on(now)

    def ready(self, mask: int, now: float) -> None:
        """Read or write."""
        if self._phase is _OPEN:
            data = self._receive(now)
            if data:
                machine = self.machine
                self._owner.record(machine, machine.receive(data, now))
                self._send_on(now)
        elif self._phase is _FLUSHING:
            self._send(self._unsent or self.machine.data_to_send(now), now)
        elif self._phase is _PACED:
            self._hear(now)
        elif self._phase is _LINGERING:
            self._receive(now)
        elif self._phase is _HANDSHAKING:
            self._shake_hands(now)
        elif self._phase is _READ_PAUSED:
            self._close("reset", now)  # nothing else is told of a socket that is watched for nothing

    def due(self, now: float) -> None:
        """See to the deadline that has passed."""
        machine = self.machine
        if self._phase is _PACED or self._phase is _READ_PAUSED:
            if data := machine.data_to_send(now):
                self._send(data, now)
                return
            events = machine.tick(now)
            if events:
                self._owner.record(machine, events)
            self._send_on(now)
        elif self._phase is _OPEN:
            if now < machine.deadline:  # an answer has moved it
                self._owner.reactor.wheel.schedule(self, machine.deadline)
                return
            machine.tick(now)
            self.push(now)
        elif self._phase is not _CLOSED:
            self._close("session" if now >= machine.expires_at else "stalled", now)

    def reschedule(self, deadline: float) -> None:
        """Ask a machine that takes its time for more by then; it has become faster."""
        if self._phase is _PACED or self._phase is _READ_PAUSED:
            self._owner.reactor.wheel.schedule(self, deadline)

    def local_ip(self) -> str:
        """Ask the kernel which of our addresses the peer called; empty once the connection is closed."""
        try:
            return plain_address(self.sock.getsockname())
        except OSError:
            return ""

    def push(self, now: float) -> None:
        """Send what the machine has of its own accord."""
        if self._phase is _OPEN:
            self._send_on(now)
            if self._phase is _OPEN:
                self._owner.reactor.wheel.schedule(self, self.machine.deadline)

    def end(self, reason: CloseReason, now: float) -> None:
        """Close from our side: what is to be said is handed to the kernel, and nobody is waited for."""
        if self._phase is _CLOSED:
            return
        machine = self.machine
        machine.end(reason)
        if self._phase in (_OPEN, _PACED, _READ_PAUSED):
            data = machine.data_to_send(now)
            try:
                data = data[self.sock.send(data, DONTWAIT) :]
            except OSError:
                pass  # it is closed all the same
            self._keep(data)
        self._close(reason, now)

    def fault(self, error: Exception) -> None:
        """Close this connection alone after a bug of ours."""
        self._owner.report_fault(error)
        try:
            self.end("fault", self._owner.reactor.clock.now)
        except Exception as again:  # noqa: BLE001 - the bug is in closing, too: still it costs one connection
            self._owner.report_fault(again)

    def _receive(self, now: float) -> bytes:
        try:
            data = self.sock.recv(RECEIVE_BYTES, DONTWAIT)
            # What came before an RST is still given out: hundreds of commands that nobody wants answered.
            is_gone = len(data) > _FEW_BYTES and self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) in GONE
        except (BlockingIOError, InterruptedError):
            return b""
        except OSError as error:
            self._close(_reason_of(error), now)
            return b""
        if not data:
            self._close("peer", now)
        elif is_gone:
            self._close("reset", now)
            return b""
        return data

    def _send_on(self, now: float) -> None:
        data = self.machine.data_to_send(now)
        if data:
            self._send(data, now)
        elif self.machine.has_more:
            self._pace(now)
        elif self.machine.close_reason is not None:
            self._finish(now)
        elif self._phase is _OPEN or self._go_to(_OPEN, now):  # what came early was no whole command
            # Nothing to say yet: the machine may want to say it earlier than it was to be looked at.
            self._owner.reactor.wheel.schedule(self, self.machine.deadline)

    def fell_short(self, data: bytes, taken: int | OSError, now: float) -> None:
        """Wait for the kernel, which has not taken all of these, or close where it never will."""
        if isinstance(taken, int):
            self._wait_for_kernel(data[taken:], now, progress=taken > 0)
        elif isinstance(taken, BlockingIOError | InterruptedError):
            self._wait_for_kernel(data, now, progress=False)
        else:
            self._keep(data)
            self._close(_reason_of(taken), now)

    def _send(self, data: bytes, now: float) -> None:
        machine = self.machine
        last = machine.close_reason is not None and not machine.has_more
        taken: int | OSError
        try:
            taken = self.sock.send(data, DONTWAIT_MORE if last and not machine.awaits_tls else DONTWAIT)
        except OSError as error:
            taken = error
        if taken != len(data):
            self.fell_short(data, taken, now)
            return
        if machine.has_more:
            if machine.paces:
                self._pace(now)
            else:
                self._wait_for_kernel(b"", now, progress=True)  # the rest in the next turn: others first
            return
        if self._phase is not _OPEN:
            if not self._go_to(_OPEN, now):
                return
            self._owner.reactor.wheel.schedule(self, machine.deadline)
        if last:
            self._finish(now)

    def _hear(self, now: float) -> None:
        """Read, though an answer is on its way, if the machine takes it; else leave it all with the kernel.

        Who closes, or half-closes, while it is made to wait is gone: its slot is free at once.
        """
        machine = self.machine
        if machine.reads:
            data = self._receive(now)
            if data:
                self._owner.record(machine, machine.receive(data, now))
        else:
            self._phase = _READ_PAUSED
            self._rewatch(0, now)

    def _pace(self, now: float) -> None:
        """Hear what the machine takes while the rest waits for its time."""
        machine = self.machine
        if (self._phase is _READ_PAUSED and not machine.reads) or self._go_to(_PACED, now):
            every_s = machine.seconds_per_byte
            if every_s >= STUTTER_EVERY_S and not self.is_under_tls:
                self._owner.reactor.stutter.join(self, machine.deadline, every_s)
            else:
                self._owner.reactor.wheel.schedule(self, machine.deadline)

    def _go_to(self, phase: Phase, now: float) -> bool:
        """Read again; say whether that can be done."""
        before, self._phase = self._phase, phase
        if before is _FLUSHING:
            self._keep(b"")
            self.machine.flushed(now)
        return (before is not _FLUSHING and before is not _READ_PAUSED) or self._rewatch(READ, now)

    def _wait_for_kernel(self, unsent: bytes, now: float, *, progress: bool) -> None:
        self._keep(unsent)
        reactor = self._owner.reactor
        if self._phase is not _FLUSHING:
            if self._owner.backlog_bytes > BACKLOG_BYTES_MAX:
                self._close("stalled", now)
                return
            self._phase = _FLUSHING
            if not self._rewatch(WRITE, now):
                return
        elif not progress:
            return
        reactor.wheel.schedule(self, min(now + STALL_TIMEOUT_S, self.machine.expires_at))

    def _rewatch(self, mask: int, now: float) -> bool:
        """Watch for something else; close where the kernel has no room for that (ENOMEM)."""
        try:
            self._owner.reactor.rewatch(self.sock.fileno(), self, mask)
        except OSError:
            self._close("fault", now)
            return False
        return True

    def _keep(self, unsent: bytes) -> None:
        """Keep what the kernel has not taken, in place of what was kept before."""
        self._owner.backlog_bytes += len(unsent) - len(self._unsent)
        self._unsent = unsent

    def _finish(self, now: float) -> None:
        """Close, all being said; where the peer may still be sending, only when it has heard us."""
        if self.machine.awaits_tls:
            self._start_tls(now)
            return
        if self.machine.close_reason != "errors":
            self._close(self.machine.close_reason or "peer", now)
            return
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._close("errors", now)
            return
        self._phase = _LINGERING
        self._owner.reactor.wheel.schedule(self, now + LINGER_S)

    def _start_tls(self, now: float) -> None:
        tls = self._owner.tls
        if tls is None:  # the certificate was taken away meanwhile
            self._close("tls", now)
            return
        # It has the methods of a socket that are used here.
        self.sock = cast("socket.socket", tls.wrap(self.sock))
        self._phase = _HANDSHAKING
        self._owner.reactor.wheel.schedule(self, min(now + HANDSHAKE_TIMEOUT_S, self.machine.expires_at))

    def _shake_hands(self, now: float) -> None:
        reactor, tls, sock = self._owner.reactor, self._owner.tls, cast("TlsSocket", self.sock)
        if tls is not None and not tls.may_step(reactor.turns):
            return  # the socket stays ready
        try:
            done = sock.shake_hands(DONTWAIT)
        except OSError:
            self._close("tls", now)
            return
        if self._rewatch(WRITE if sock.has_unsent else READ, now) and done:
            self._phase = _OPEN
            machine = self.machine
            machine.secured(now)
            reactor.wheel.schedule(self, machine.deadline)
            if data := self._receive(now):  # the handshake's last bytes may have brought more
                self._owner.record(machine, machine.receive(data, now))
            if self._phase is _OPEN:
                self._send_on(now)

    def _close(self, reason: CloseReason, now: float) -> None:
        reactor = self._owner.reactor
        reactor.wheel.cancel(self)
        reactor.unwatch(self.sock.fileno())
        self._release(reason, now)

    def _release(self, reason: CloseReason, now: float) -> None:
        self._phase = _CLOSED
        owner, machine = self._owner, self.machine
        unsent_bytes = len(self._unsent)
        if unsent_bytes:
            self._keep(b"")
        try:
            self.sock.close()
        except OSError:
            pass  # ECONNRESET from close(2): closed all the same
        try:
            owner.record(machine, machine.closed(reason, now, unsent_bytes))
        finally:
            owner.released(self, now)


def _reason_of(error: OSError) -> CloseReason:
    return "tls" if isinstance(error, TlsError) else "reset"
