"""A connection: one socket and the machine that speaks on it, SMTP or monitor."""

import socket
from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar, cast

from smtppseudo.events import CloseReason
from smtppseudo.loop.reactor import Reactor
from smtppseudo.loop.selector import READ, WRITE
from smtppseudo.net.errnos import DONTWAIT, DONTWAIT_MORE, GONE, NEEDS_NONBLOCKING, TlsError
from smtppseudo.net.stream import Stream

if TYPE_CHECKING:
    from smtppseudo.net.tls import Tls, TlsSocket

RECEIVE_BYTES: Final = 2048  # commands are short; a larger buffer costs more time than it saves
_FEW_BYTES: Final = 128  # a command or two: replying is cheaper than asking whether the peer is still there
STALL_TIMEOUT_S: Final = 30.0
LINGER_S: Final = 2.0
HANDSHAKE_TIMEOUT_S: Final = 30.0
BACKLOG_BYTES_MAX: Final = 16 << 20


class Machine(Protocol):
    """The machine of a connection. `SmtpSession` documents its methods and the duties of its owner."""

    close_reason: CloseReason | None

    @property
    def awaits_tls(self) -> bool: ...
    @property
    def deadline(self) -> float: ...
    @property
    def expires_at(self) -> float: ...
    def secured(self, now: float) -> None: ...
    def receive(self, data: bytes, now: float) -> Sequence[Any]: ...
    def data_to_send(self, now: float) -> bytes: ...
    def flushed(self, now: float) -> None: ...
    def tick(self, now: float) -> Sequence[Any]: ...
    def end(self, reason: CloseReason) -> None: ...
    def closed(self, reason: CloseReason, now: float, unsent_bytes: int = 0) -> Sequence[Any]: ...


M_co = TypeVar("M_co", bound=Machine, covariant=True)
M_contra = TypeVar("M_contra", bound=Machine, contravariant=True)


class Owner(Protocol[M_contra]):
    """The object that made the connection; the connection reports to it."""

    reactor: Reactor
    tls: "Tls | None"  # None without a certificate
    backlog_bytes: int  # of data that the kernel has not taken, of all connections of this owner, which keep the sum

    # The events are those that the machine's `receive`, `tick` or `closed` returned.
    def record(self, machine: M_contra, events: Sequence[Any]) -> None: ...
    # A TLS handshake has ended: with an error, or with a version and a cipher.
    def on_handshake(self, machine: M_contra, parameters: tuple[str, str], error: OSError | None) -> None: ...
    # The connection is closed, and its last events are recorded.
    def released(self, connection: "Connection[M_contra]", now: float) -> None: ...


class Phase(Enum):
    """The state of a connection."""

    HANDSHAKING = "the TLS handshake is under way"
    OPEN = "reads and writes"
    PACED = "the rest of a reply waits for its time; reads while the machine accepts data"
    READ_PAUSED = "the same, but the machine accepts no more; further data stays in the kernel"
    FLUSHING = "the kernel has not taken all data; reads nothing"
    LINGERING = "everything is sent; drops what still arrives, so that no RST overtakes the last reply"
    CLOSED = "the socket is closed"


# Module names, because member access on an Enum is slow in Python 3.11.
_HANDSHAKING, _OPEN, _PACED, _READ_PAUSED, _FLUSHING, _LINGERING, _CLOSED = Phase


class Connection(Generic[M_co]):
    """Carries bytes between a socket and its machine, and time to the machine.

    It reads nothing while the kernel has not taken a whole reply: a peer that does not read costs the memory of one. It
    is closed (`stalled`) after 30 s without progress, or at once if the replies to all such peers exceed 16 MiB.
    """

    __slots__ = ("_owner", "_phase", "_unsent", "due_tick", "machine", "sock")

    def __init__(self, sock: socket.socket, machine: M_co, owner: Owner[M_co]) -> None:
        self.sock: Stream = sock
        self.machine = machine
        self._owner = owner
        self._phase = _OPEN
        self._unsent = b""
        self.due_tick = 0
        if NEEDS_NONBLOCKING:
            sock.setblocking(False)

    @property
    def is_waiting(self) -> bool:
        """Whether everything is sent, and the connection waits for the peer, perhaps only for its end."""
        return self._phase in (_OPEN, _HANDSHAKING, _LINGERING)

    def begin(self, now: float, *, is_watched: bool = False) -> None:
        """Watch the socket and send the machine's first data. `is_watched`: for another object, so far."""
        reactor = self._owner.reactor
        try:
            if is_watched:
                reactor.rewatch(self.sock.fileno(), self, READ)
            else:
                reactor.watch(self.sock.fileno(), self)
        except OSError:  # the kernel cannot watch one more (ENOSPC, ENOMEM)
            self._release("fault", now)
            return
        reactor.wheel.schedule(self, self.machine.deadline)
        self._send_next(now)

    def ready(self, now: float) -> None:
        """Read or write."""
        if self._phase is not _OPEN:
            self._continue(now)
            return
        # The same as `_receive`, then `_send_next`, in one frame: this saves 3 % of a session's instructions.
        try:
            data = self.sock.recv(RECEIVE_BYTES, DONTWAIT)
        except OSError as error:
            self._on_error(error, now)
            return
        if not 0 < len(data) <= _FEW_BYTES and not self._is_served(data, now):
            return
        machine = self.machine
        self._owner.record(machine, machine.receive(data, now))
        data = machine.data_to_send(now)
        if not data:
            self._on_nothing_to_send(now)
        elif machine.close_reason is not None:
            self._send(data, now)
        else:
            try:
                sent = self.sock.send(data, DONTWAIT)
            except OSError as error:
                self.on_short_send(data, error, now)
                return
            if sent != len(data):
                self.on_short_send(data, sent, now)

    def _continue(self, now: float) -> None:
        if self._phase is _FLUSHING:
            self._send(self._unsent or self.machine.data_to_send(now), now)
        elif self._phase is _HANDSHAKING:
            self._shake_hands(now)
        elif self._phase is _LINGERING:
            self._receive(now)

    def due(self, now: float) -> None:
        """Handle the deadline that has passed."""
        machine = self.machine
        if self._phase is _OPEN:
            if now < machine.deadline:  # a reply has moved it
                self._owner.reactor.wheel.schedule(self, machine.deadline)
                return
            machine.tick(now)
            self.push(now)
        elif self._phase is _HANDSHAKING:
            self._fail_handshake(TimeoutError("timed out"), now)
        elif self._phase is not _CLOSED:
            self.close("session" if now >= machine.expires_at else "stalled", now)

    def push(self, now: float) -> None:
        """Send what the machine has to send now."""
        if self._phase is _OPEN:
            self._send_next(now)
            if self._phase is _OPEN:
                self._owner.reactor.wheel.schedule(self, self.machine.deadline)

    def end(self, reason: CloseReason, now: float) -> None:
        """Close from our side. The last reply is passed to the kernel; the connection does not wait for the peer."""
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
            self._set_unsent(data)
        self.close(reason, now)

    def close(self, reason: CloseReason, now: float) -> None:
        """Close now and say nothing more."""
        reactor = self._owner.reactor
        reactor.wheel.cancel(self)
        reactor.unwatch_own(self.sock.fileno())  # we accepted it, and we start no process
        self._release(reason, now)

    def fault(self, error: Exception, /) -> None:
        """Close only this connection after a bug."""
        reactor = self._owner.reactor
        reactor.fault(error)
        try:
            self.end("fault", reactor.clock.now)
        except Exception as again:  # noqa: BLE001 - the bug is in closing too; it still costs one connection
            reactor.fault(again)

    def on_short_send(self, data: bytes, sent: int | OSError, now: float) -> None:
        """Wait for the kernel, which has taken only `sent` bytes, or close after an error."""
        if isinstance(sent, int):
            self._wait_for_kernel(data[sent:], now, progress=sent > 0)
        elif isinstance(sent, BlockingIOError | InterruptedError):
            self._wait_for_kernel(data, now, progress=False)
        else:
            self._set_unsent(data)
            self._on_error(sent, now)

    def _receive(self, now: float) -> bytes:
        try:
            data = self.sock.recv(RECEIVE_BYTES, DONTWAIT)
        except OSError as error:
            self._on_error(error, now)
            return b""
        return data if self._is_served(data, now) else b""

    def _on_error(self, error: OSError, now: float) -> None:
        if not isinstance(error, BlockingIOError | InterruptedError):
            self.close("tls" if isinstance(error, TlsError) else "reset", now)

    def _is_served(self, data: bytes, now: float) -> bool:
        """Return whether the peer is still there, so that the data is served; else close the connection."""
        # The kernel still returns data that came before an RST: it can be hundreds of commands.
        try:
            if data and (
                len(data) <= _FEW_BYTES or self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) not in GONE
            ):
                return True
        except OSError as error:
            self._on_error(error, now)
        else:
            self.close("reset" if data else "peer", now)
        return False

    def _send_next(self, now: float) -> None:
        data = self.machine.data_to_send(now)
        if data:
            self._send(data, now)
        else:
            self._on_nothing_to_send(now)

    def _send(self, data: bytes, now: float) -> None:
        machine = self.machine
        reason = machine.close_reason
        sent: int | OSError
        try:
            sent = self.sock.send(data, DONTWAIT if reason is None or reason == "tls" else DONTWAIT_MORE)
        except OSError as error:
            sent = error
        if sent != len(data):
            self.on_short_send(data, sent, now)
            return
        if self._phase is not _OPEN:
            if not self._read_again(_OPEN, now):
                return
            self._owner.reactor.wheel.schedule(self, machine.deadline)
        if reason is not None:
            self._finish(now)

    def _on_nothing_to_send(self, now: float) -> None:
        if self.machine.close_reason is not None:
            self._finish(now)
        elif self._phase is _OPEN or self._read_again(_OPEN, now):
            # The machine's deadline may be earlier now.
            self._owner.reactor.wheel.schedule(self, self.machine.deadline)

    def _read_again(self, phase: Phase, now: float) -> bool:
        """Enter a phase that reads. Return False if the socket cannot be watched for that; it is closed then."""
        before, self._phase = self._phase, phase
        if before is _FLUSHING:
            self._set_unsent(b"")
            self.machine.flushed(now)
        return self._rewatch(READ, now)

    def _wait_for_kernel(self, unsent: bytes, now: float, *, progress: bool) -> None:
        self._set_unsent(unsent)
        if self._phase is not _FLUSHING:
            if self._owner.backlog_bytes > BACKLOG_BYTES_MAX:
                self.close("stalled", now)
                return
            self._phase = _FLUSHING
            if not self._rewatch(WRITE, now):
                return
        elif not progress:
            return
        self._owner.reactor.wheel.schedule(self, min(now + STALL_TIMEOUT_S, self.machine.expires_at))

    def _rewatch(self, mask: int, now: float) -> bool:
        """Change what the socket is watched for. Return False if the kernel cannot (ENOMEM); it is closed then."""
        try:
            self._owner.reactor.rewatch(self.sock.fileno(), self, mask)
        except OSError:
            self.close("fault", now)
            return False
        return True

    def _set_unsent(self, unsent: bytes) -> None:
        self._owner.backlog_bytes += len(unsent) - len(self._unsent)
        self._unsent = unsent

    def _finish(self, now: float) -> None:
        """Close, everything being sent. After too many errors, or HTTP, the peer may still be sending: linger first."""
        reason = self.machine.close_reason
        if reason == "tls" and self.machine.awaits_tls:
            self._start_tls(now)
            return
        if reason in ("errors", "http"):
            try:
                self.sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # the peer has left
            else:
                self._phase = _LINGERING
                self._owner.reactor.wheel.schedule(self, now + LINGER_S)
                return
        self.close(reason or "peer", now)

    def _start_tls(self, now: float) -> None:
        owner = self._owner
        # The certificate may be gone, and the room, too: it is not kept while a tarpit sends the reply.
        if owner.tls is None or not owner.tls.has_room:
            self.close("tls", now)
            return
        self.sock = owner.tls.wrap(self.sock)
        self._phase = _HANDSHAKING
        if self._rewatch(READ, now):
            owner.reactor.wheel.schedule(self, min(now + HANDSHAKE_TIMEOUT_S, self.machine.expires_at))

    def _shake_hands(self, now: float) -> None:
        """Do the next step of the TLS handshake. After too many in this turn, do nothing: the socket stays ready."""
        owner, machine, sock = self._owner, self.machine, cast("TlsSocket", self.sock)
        if owner.tls is not None and not owner.tls.may_step(owner.reactor.turns):
            return
        try:
            if not sock.shake_hands(DONTWAIT):
                owner.reactor.rewatch(sock.fileno(), self, WRITE if sock.unsent else READ)
                return
        except OSError as error:
            self._fail_handshake(error, now)
            return
        owner.on_handshake(machine, sock.parameters, None)
        self._phase = _OPEN
        if self._rewatch(READ, now):
            machine.secured(now)
            owner.reactor.wheel.schedule(self, machine.deadline)
            self.ready(now)  # the last bytes of the handshake may have brought more
            self.push(now)

    def _fail_handshake(self, error: OSError, now: float) -> None:
        self._owner.on_handshake(self.machine, ("", ""), error)
        self.close("tls", now)

    def _release(self, reason: CloseReason, now: float) -> None:
        self._phase = _CLOSED
        owner, machine = self._owner, self.machine
        if unsent_bytes := len(self._unsent):
            self._set_unsent(b"")
        try:
            self.sock.close()
        except OSError:
            pass  # ECONNRESET from close(2): closed all the same
        try:
            owner.record(machine, machine.closed(reason, now, unsent_bytes))
        finally:
            owner.released(self, now)
