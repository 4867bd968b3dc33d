"""A connection: one socket and the machine that speaks on it, SMTP or monitor."""

import socket
from collections.abc import Sequence
from enum import Enum
from typing import Any, Final, Protocol

from smtppseudo.events import CloseReason
from smtppseudo.net.addresses import plain_address
from smtppseudo.net.errnos import DONTWAIT, DONTWAIT_MORE, NEEDS_NONBLOCKING
from smtppseudo.net.reactor import READ, WRITE, Reactor

RECEIVE_OCTETS: Final = 2048  # larger buffers cost more than they spare: commands are short
STALL_TIMEOUT_S: Final = 30.0
LINGER_S: Final = 2.0


class Machine(Protocol):
    """What speaks on a connection; see `SmtpSession` for the duties of its owner."""

    close_reason: CloseReason | None

    @property
    def has_more(self) -> bool: ...  # `data_to_send` gave a part; the rest is asked for in a later turn
    def receive(self, octets: bytes, now: float) -> Sequence[Any]: ...
    def data_to_send(self, now: float) -> bytes: ...
    def flushed(self, now: float) -> None: ...
    @property
    def deadline(self) -> float: ...
    @property
    def expires_at(self) -> float: ...
    def tick(self, now: float) -> None: ...
    def end(self, reason: CloseReason) -> None: ...
    def closed(self, reason: CloseReason, now: float, unsent_octets: int = 0) -> Sequence[Any]: ...


class Owner(Protocol):
    """Who made the connection and wants to know."""

    reactor: Reactor

    def record(self, machine: Any, events: Sequence[Any]) -> None:
        """Something happened: what the machine's `receive` or `closed` returned."""

    def released(self, connection: "Connection", now: float) -> None:
        """The connection is closed, its last events are recorded."""

    def report_fault(self, error: Exception) -> None:
        """A bug of ours ended the connection."""


class Phase(Enum):
    """Where the connection stands."""

    OPEN = "reads and writes"
    FLUSHING = "the kernel has not taken all; nothing is read meanwhile"
    LINGERING = "all is said; what still arrives is dropped, so that no RST overtakes the last reply"
    CLOSED = "the socket is gone"


_OPEN: Final = Phase.OPEN
_FLUSHING: Final = Phase.FLUSHING
_LINGERING: Final = Phase.LINGERING
_CLOSED: Final = Phase.CLOSED


class Connection:
    """Carries octets between a socket and its machine, and time to the machine.

    While the kernel has not taken an answer whole, nothing more is read: a peer that does not read its
    replies costs one answer's memory, and is closed (`stalled`) when nothing was taken for 30 s.
    """

    __slots__ = ("_deadline", "_owner", "_phase", "_sock", "_unsent", "due_tick", "machine")

    def __init__(self, sock: socket.socket, machine: Machine, owner: Owner) -> None:
        self._sock = sock
        self.machine = machine
        self._owner = owner
        self._phase = _OPEN
        self._unsent = b""
        self._deadline = 0.0
        self.due_tick = 0
        if NEEDS_NONBLOCKING:
            sock.setblocking(False)

    def begin(self, now: float) -> None:
        """Send the machine's first words and watch the socket."""
        reactor = self._owner.reactor
        try:
            reactor.watch(self._sock.fileno(), self)
        except OSError:  # the kernel has no room for one more (ENOSPC, ENOMEM)
            self._release("fault", now)
            return
        reactor.wheel.schedule(self, self.machine.deadline)
        self._send_on(now)

    def ready(self, mask: int, now: float) -> None:
        """Read or write."""
        if self._phase is _OPEN:
            octets = self._receive(now)
            if octets:
                machine = self.machine
                self._owner.record(machine, machine.receive(octets, now))
                self._send_on(now)
        elif self._phase is _FLUSHING:
            self._send(self._unsent or self.machine.data_to_send(now), now)
        elif self._phase is _LINGERING:
            self._receive(now)

    def due(self, now: float) -> None:
        """See which deadline has passed, if any."""
        machine = self.machine
        if self._phase is _OPEN:
            if now < machine.deadline:
                self._owner.reactor.wheel.schedule(self, machine.deadline)
                return
            machine.tick(now)
            self.push(now)
        elif self._phase is not _CLOSED:
            if now < self._deadline:
                self._owner.reactor.wheel.schedule(self, self._deadline)
            else:
                self._close("session" if now >= machine.expires_at else "stalled", now)

    def local_ip(self) -> str:
        """Ask the kernel which of our addresses the peer called; empty once the connection is closed."""
        try:
            return plain_address(self._sock.getsockname())
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
        if self._phase is _OPEN:
            self._unsent = machine.data_to_send(now)
            try:
                self._unsent = self._unsent[self._sock.send(self._unsent, DONTWAIT) :]
            except OSError:
                pass  # it is closed all the same
        self._close(reason, now)

    def fault(self, error: Exception) -> None:
        """Close this connection alone after a bug of ours."""
        self._owner.report_fault(error)
        self.end("fault", self._owner.reactor.clock.now)

    def _receive(self, now: float) -> bytes:
        try:
            octets = self._sock.recv(RECEIVE_OCTETS, DONTWAIT)
        except (BlockingIOError, InterruptedError):
            return b""
        except OSError:
            self._close("reset", now)
            return b""
        if not octets:
            self._close("peer", now)
        return octets

    def _send_on(self, now: float) -> None:
        octets = self.machine.data_to_send(now)
        if octets:
            self._send(octets, now)
        elif self.machine.close_reason is not None:
            self._finish(now)
        else:
            # Nothing to say yet: the machine may want to say it earlier than it was to be looked at.
            self._owner.reactor.wheel.schedule(self, self.machine.deadline)

    def _send(self, octets: bytes, now: float) -> None:
        last = self.machine.close_reason is not None
        try:
            sent = self._sock.send(octets, DONTWAIT_MORE if last else DONTWAIT)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            self._unsent = octets
            self._close("reset", now)
            return
        if sent < len(octets):
            self._wait_for_kernel(octets[sent:], now, progress=sent > 0)
            return
        if self.machine.has_more:
            self._wait_for_kernel(b"", now, progress=True)  # the rest in the next turn: others first
            return
        if self._phase is _FLUSHING:
            self._unsent = b""
            self._phase = _OPEN
            self.machine.flushed(now)
            self._owner.reactor.rewatch(self._sock.fileno(), self, READ)
            self._owner.reactor.wheel.schedule(self, self.machine.deadline)
        if last:
            self._finish(now)

    def _wait_for_kernel(self, unsent: bytes, now: float, *, progress: bool) -> None:
        self._unsent = unsent
        reactor = self._owner.reactor
        if self._phase is _OPEN:
            self._phase = _FLUSHING
            reactor.rewatch(self._sock.fileno(), self, WRITE)
        elif not progress:
            return
        self._deadline = min(now + STALL_TIMEOUT_S, self.machine.expires_at)
        reactor.wheel.schedule(self, self._deadline)

    def _finish(self, now: float) -> None:
        """Close, all being said; where the peer may still be sending, only when it has heard us."""
        if self.machine.close_reason != "errors":
            self._close(self.machine.close_reason or "peer", now)
            return
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._close("errors", now)
            return
        self._phase = _LINGERING
        self._deadline = now + LINGER_S
        self._owner.reactor.wheel.schedule(self, self._deadline)

    def _close(self, reason: CloseReason, now: float) -> None:
        reactor = self._owner.reactor
        reactor.wheel.cancel(self)
        reactor.unwatch(self._sock.fileno())
        self._release(reason, now)

    def _release(self, reason: CloseReason, now: float) -> None:
        self._phase = _CLOSED
        owner, machine = self._owner, self.machine
        try:
            self._sock.close()
        except OSError:
            pass  # ECONNRESET from close(2): closed all the same
        try:
            owner.record(machine, machine.closed(reason, now, len(self._unsent)))
        finally:
            owner.released(self, now)
