"""A monitor's link to a server: log in, have ops carried out, read events; for a thread that may wait."""

import secrets as randomness
import time
from collections import deque
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Final, Self, TypeAlias

from smtppseudo.link import wire
from smtppseudo.link.errors import (
    BadPeerError,
    BusyError,
    CertificateError,
    ChangedCertificateError,
    ClosedError,
    ConnectionLostError,
    LinkError,
    NeedsMagicWordError,
    NotAuthorizedError,
    NotPrivateError,
    OpRefusedError,
    RefusedError,
    UnknownCertificateError,
    UnreachableError,
    error_of,
)
from smtppseudo.link.incoming import (
    Dropped,
    Ending,
    Incoming,
    Reply,
    ReplyRefused,
    Snapshot,
    Streamed,
)
from smtppseudo.link.machine import ClientState, MonitorClient, Secrets
from smtppseudo.link.wire import TlsMode
from smtppseudo.monitor.codec import Frame
from smtppseudo.net.addresses import is_loopback
from smtppseudo.net.errnos import reason_of

__all__ = [
    "TIMEOUT_S",
    "BadPeerError",
    "BusyError",
    "CertificateError",
    "ChangedCertificateError",
    "ClosedError",
    "ConnectionLostError",
    "Dropped",
    "LinkError",
    "MonitorLink",
    "NeedsMagicWordError",
    "NotAuthorizedError",
    "NotPrivateError",
    "Notice",
    "OpRefusedError",
    "RefusedError",
    "Reply",
    "ReplyRefused",
    "Secrets",
    "Snapshot",
    "Streamed",
    "TlsMode",
    "UnknownCertificateError",
    "UnreachableError",
]

TIMEOUT_S: Final = 10.0
QUEUED_MAX: Final = 10_000  # events that wait to be read; a security limit

_NONCE_BYTES: Final = 18

PinFor: TypeAlias = Callable[[str, int], str | None]
Notice: TypeAlias = Streamed | Dropped | Reply | ReplyRefused


class MonitorLink:
    """A login on a server's monitor port, made by `connect`.

    `snapshot` is how things stood at the login; events come after `request("subscribe")`. `request`,
    `next_events` and `events` are for one thread; `post` and `close` may be called from any, and `close` ends
    what waits there with ClosedError. After any LinkError but OpRefusedError the link is of no more use.
    """

    def __init__(self, link_wire: wire.Wire, place: tuple[str, int], snapshot: Snapshot, timeout_s: float) -> None:
        self.address, self.port = place
        self.snapshot = snapshot
        self._wire = link_wire
        self._timeout_s = timeout_s
        self._queue: deque[Notice] = deque()
        self._left_out = 0  # events that the queue had no room for
        self._answers: dict[int, Reply | ReplyRefused | None] = {}  # to what is waited for, by its number
        self._failure: LinkError | None = None

    @classmethod
    def connect(
        cls,
        host: str | None,
        port: int,
        secrets: Secrets,
        *,
        timeout_s: float = TIMEOUT_S,
        tls: TlsMode = "auto",
        pin_for: PinFor = lambda host, port: None,  # noqa: ARG005
    ) -> "MonitorLink":
        """Connect and log in; return when the snapshot is there.

        `host` None means this machine. Each step may take `timeout_s`, looking the name up aside. Under TLS, which
        `tls` says where to use, the server's certificate must have the fingerprint that `pin_for` gives for host and
        port as they were asked for (see `pins`); else it is a CertificateError, and nothing is said to whoever is
        there. Without TLS all on the way could read and change all but the magic word itself. Raises LinkError (a
        refused secret is not tried again), what `pin_for` raises, and ValueError for a magic word that cannot be one.
        """
        client = MonitorClient(secrets, randomness.token_urlsafe(_NONCE_BYTES))
        sock = wire.connect(host, port, timeout_s)
        asked = (host or wire.THIS_MACHINE[0], port)
        try:
            address, port = sock.getpeername()[:2]
        except OSError as error:
            sock.close()
            raise ConnectionLostError(f"{_name(asked)}: {reason_of(error)}; try again") from None
        by_tls = tls == "on" or (tls == "auto" and not is_loopback(address))
        try:
            link_wire = wire.Wire(wire.secure(sock, asked, timeout_s, pin_for(*asked)) if by_tls else sock, client)
        except BaseException:
            sock.close()
            raise
        try:
            snapshot, rest = _log_in(link_wire, _name((address, port)), timeout_s)
        except BaseException:
            link_wire.close()
            raise
        link = cls(link_wire, (address, port), snapshot, timeout_s)
        link._sort(rest)
        return link

    @property
    def place(self) -> str:
        """The other end, as in `127.0.0.1 port 26`."""
        return _name((self.address, self.port))

    @property
    def server(self) -> str:
        """What the server says it is, as in `smtppseudo 0.1.0`."""
        return self._wire.client.server

    @property
    def user(self) -> str:
        """How the login was done: `cookie` or `magic`."""
        return self._wire.client.user

    @property
    def is_private(self) -> bool:
        """Whether nobody on the way can read along, or change anything."""
        return self._wire.is_secured or is_loopback(self.address)

    def request(self, op: str, **fields: object) -> Frame:
        """Have an op carried out; return the reply's own fields.

        Raises OpRefusedError, another LinkError when the connection is gone or no reply comes within the
        time-out, and ValueError for a request over 16 KiB.
        """
        request_id = self._wire.request(op, **fields)
        self._answers = {request_id: None}
        give_up_at = time.monotonic() + self._timeout_s
        while (answer := self._answers[request_id]) is None:
            if self._failure is not None:
                raise self._failure
            left_s = give_up_at - time.monotonic()
            if left_s <= 0 or not self._read(left_s):  # events may come without end, and no reply
                # A reply that comes after this would answer nobody.
                self._wire.close()
                self._failure = ConnectionLostError(f"{self.place}: no reply within {self._timeout_s:g} s; try again")
        if isinstance(answer, ReplyRefused):
            raise OpRefusedError(answer.message or answer.code, answer.code)
        return answer.fields

    def post(self, op: str, **fields: object) -> int:
        """Ask for an op without waiting; the reply comes among the events, with the number returned as its `id`."""
        return self._wire.request(op, **fields)

    def next_events(self, timeout_s: float | None = None) -> list[Notice]:
        """Wait for events, or replies to what was posted; return all that are there, none after the time-out.

        Raises LinkError when the connection is gone and all that came before is read.
        """
        give_up_at = None if timeout_s is None else time.monotonic() + timeout_s
        left_s = timeout_s
        while not self._queue and self._failure is None and self._read(left_s):
            if give_up_at is not None:
                left_s = give_up_at - time.monotonic()
                if left_s <= 0:
                    break
        if not self._queue and self._failure is not None:
            raise self._failure
        notices: list[Notice] = [Dropped(self._left_out)] if self._left_out else []
        notices += self._queue
        self._queue.clear()
        self._left_out = 0
        return notices

    def events(self) -> Iterator[Notice]:
        """Yield what `next_events` returns, one by one, until the connection is gone (LinkError)."""
        while True:
            yield from self.next_events()

    def close(self) -> None:
        """Close the connection."""
        self._wire.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self, timeout_s: float | None) -> bool:
        found = self._wire.read(timeout_s)
        if found is None:
            return False
        self._sort(found)
        return True

    def _sort(self, found: list[Incoming]) -> None:
        for value in found:
            if isinstance(value, Reply | ReplyRefused) and value.id in self._answers:
                self._answers[value.id] = value
            elif isinstance(value, Notice):
                self._queue.append(value)
                if len(self._queue) > QUEUED_MAX:
                    oldest = self._queue.popleft()
                    self._left_out += oldest.count if isinstance(oldest, Dropped) else 1
            elif isinstance(value, Ending):
                self._failure = error_of(value, self.place)


def _log_in(link_wire: wire.Wire, place: str, timeout_s: float) -> tuple[Snapshot, list[Incoming]]:
    """Play the login; return the snapshot, and what came with it. Raises LinkError."""
    client, state, give_up_at = link_wire.client, link_wire.client.state, time.monotonic() + timeout_s
    if link_wire.needs_tls(timeout_s):
        raise UnreachableError(f"{place}: the server speaks TLS there, and nothing else; see --tls")
    while True:
        # Each step has its own time; a long snapshot may take its time, as long as it comes.
        if client.state is not state or state is ClientState.AUTHENTICATED:
            state, give_up_at = client.state, time.monotonic() + timeout_s
        left_s = give_up_at - time.monotonic()
        found = link_wire.read(left_s) if left_s > 0 else None
        if found is None:
            raise UnreachableError(f"{place}: {_SILENT_IN.get(state, _SILENT).format(timeout_s)}")
        for at, value in enumerate(found):
            if isinstance(value, Ending):
                raise error_of(value, place)
            if isinstance(value, Snapshot):
                return value, found[at + 1 :]


_SILENT: Final = "the login was not answered within {:g} s; try again"
_SILENT_IN: Final = {
    ClientState.AWAITS_HELLO: "no hello within {:g} s; is that a monitor port, and one without TLS (see --tls)?"
}


def _name(place: tuple[str, int]) -> str:
    return f"{place[0]} port {place[1]}"
