"""A link: a login on a server's monitor port. It sends requests and fetches events, for a thread that may wait."""

import contextlib
import hashlib
import secrets as randomness
import socket
import time
from collections import deque
from typing import Final, Self, TypeAlias

from smtppseudo.link import wire
from smtppseudo.link.errors import ConnectionLostError, LinkError, NotPrivateError, UnreachableError
from smtppseudo.link.incoming import Dropped, Incoming, OpReply, Snapshot, Streamed, get_message
from smtppseudo.link.machine import ClientState, MonitorClient, Secrets
from smtppseudo.link.pins import PINNED
from smtppseudo.monitor.codec import Frame
from smtppseudo.net.addresses import is_loopback
from smtppseudo.net.errnos import reason_of

TIMEOUT_S: Final = 10.0
LOGIN_TIMES: Final = 6  # times the time-out for a whole login with its snapshot; a security limit
SERVER_NAME_CHARS_MAX: Final = 64
QUEUED_MAX: Final = 1_000  # events that arrive while a request waits for its reply; a security limit

Notice: TypeAlias = Streamed | Dropped | OpReply


class MonitorLink:
    """A login on a server's monitor port, made by `connect`.

    `snapshot` is the server's state at the login, `server` its program and version, `place` the address and port that
    answered, as in `127.0.0.1 port 26`. `user` is the secret of the login: `cookie` or `magic`.

    Events come after `request("subscribe")`. One thread calls `request` and `next_events`; any thread may call `post`
    and `close`. `close` ends a waiting call with ClosedError. After any LinkError except OpRefusedError the link cannot
    be used any more.
    """

    def __init__(
        self, link_wire: wire.Wire, place: tuple[str, int], timeout_s: float, snapshot: Snapshot, rest: list[Incoming]
    ) -> None:
        self.address, self.port = place
        self.place, self.server, self.user = link_wire.client.place, link_wire.client.server, link_wire.client.user
        self.is_encrypted = link_wire.is_encrypted
        self.snapshot = snapshot
        self._wire = link_wire
        self._timeout_s = timeout_s
        self._queue: deque[Notice] = deque()
        self._dropped_count = 0  # events that did not fit into the queue
        self._replies: dict[int, OpReply | None] = {}  # to the awaited request
        self._failure: LinkError | None = None
        self._sort(rest)

    @classmethod
    def connect(
        cls,
        host: str | None,
        port: int,
        secrets: Secrets,
        *,
        timeout_s: float = TIMEOUT_S,
        tls: wire.TlsMode = "auto",
        pin: str | None = None,
    ) -> "MonitorLink":
        """Connect, log in, and return when the snapshot has come.

        `host` None means this machine. Something must come every `timeout_s`, and everything in `LOGIN_TIMES` as long;
        looking up the name is not counted. With TLS, the server's certificate must have the fingerprint `pin`;
        otherwise a CertificateError is raised, and no secret was sent. With `pin`, TLS is always used. Raises LinkError
        (do not retry a refused secret), and ValueError for an invalid magic word.
        """
        requested = (host or wire.LOOPBACK, port)
        if tls == "off" and pin is not None:
            raise NotPrivateError(f"{_name(requested)}: {PINNED}; leave out --cleartext, or remove the pin")
        client = MonitorClient(secrets, randomness.token_urlsafe(), _name(requested))
        with contextlib.ExitStack() as closing:
            sock = closing.enter_context(wire.connect_socket(host, port, timeout_s))
            try:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                address, port = sock.getpeername()[:2]
            except OSError as error:
                raise ConnectionLostError(f"{_name(requested)}: {reason_of(error)}; try again") from None
            client.place = _name((address, port))  # the address that answered
            secured = None
            if tls == "on" or pin is not None or (tls == "auto" and not is_loopback(address)):
                secured = wire.secure(sock, requested, timeout_s, pin)
                client.channel = hashlib.sha256(secured.certificate).digest()
            link_wire = wire.Wire(secured or sock, client)
            closing.callback(link_wire.close)
            link = cls(link_wire, (address, port), timeout_s, *_log_in(link_wire, timeout_s))
            closing.pop_all()  # after a login, `close` does it
        return link

    @property
    def server_name(self) -> str:
        """The setting `server_name` at the login; empty if the server has none."""
        return get_message(self.snapshot.settings, "server_name")[:SERVER_NAME_CHARS_MAX]

    @property
    def is_private(self) -> bool:
        """Whether nobody on the way can read or change the traffic."""
        return self.is_encrypted or is_loopback(self.address)

    def request(self, op: str, **fields: object) -> Frame:
        """Send a request and wait; return the reply's own fields. Raises LinkError, and ValueError above 16 KiB."""
        request_id = self._wire.request(op, **fields)
        self._replies = {request_id: None}
        give_up_at = time.monotonic() + self._timeout_s
        while (reply := self._replies[request_id]) is None:
            if self._failure is not None:
                raise self._failure
            if not self._read(give_up_at - time.monotonic()):  # events may come without end, but no reply
                self._wire.close()  # nobody would wait for a late reply
                self._failure = ConnectionLostError(f"{self.place}: no reply within {self._timeout_s:g} s; try again")
        if reply.error is not None:
            raise reply.error
        return reply.fields

    def post(self, op: str, **fields: object) -> int:
        """Send a request without waiting; its reply comes from `next_events`, with the returned number as its `id`."""
        return self._wire.request(op, **fields)

    def next_events(self, timeout_s: float = TIMEOUT_S) -> list[Notice]:
        """Wait for events and for replies to posted requests; return all that have come, or none after the time-out.

        Stops reading as soon as something has come: a slow reader slows the server down, not this process's memory.
        Raises LinkError when the connection is lost and everything before that was returned.
        """
        give_up_at = time.monotonic() + timeout_s
        while not self._queue and self._failure is None and self._read(timeout_s):
            timeout_s = give_up_at - time.monotonic()
        if not self._queue and self._failure is not None:
            raise self._failure
        notices: list[Notice] = [Dropped(self._dropped_count)] if self._dropped_count else []
        notices += self._queue
        self._queue.clear()
        self._dropped_count = 0
        return notices

    def close(self) -> None:
        """Close the connection."""
        self._wire.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _read(self, timeout_s: float) -> bool:
        """Wait for bytes and sort them; return whether any came. After a negative time-out none do."""
        found = self._wire.read(timeout_s) if timeout_s >= 0 else None
        self._sort(found or [])
        return found is not None

    def _sort(self, found: list[Incoming]) -> None:
        for value in found:
            if isinstance(value, LinkError):
                self._failure = value
            elif isinstance(value, OpReply) and value.id in self._replies:
                self._replies[value.id] = value
            elif not isinstance(value, Snapshot):
                self._queue.append(value)
                if len(self._queue) > QUEUED_MAX:
                    oldest = self._queue.popleft()
                    self._dropped_count += oldest.count if isinstance(oldest, Dropped) else 1


def _log_in(link_wire: wire.Wire, timeout_s: float) -> tuple[Snapshot, list[Incoming]]:
    """Log in; return the snapshot and the values that came after it. Raises LinkError."""
    place, give_up_at = link_wire.client.place, time.monotonic() + LOGIN_TIMES * timeout_s
    if link_wire.needs_tls(timeout_s):
        raise UnreachableError(f"{place}: this port accepts only TLS; give --tls")
    while True:
        left_s = min(timeout_s, give_up_at - time.monotonic())
        found = link_wire.read(left_s) if left_s > 0 else None
        if found is None:
            missing = f"no reply to the login within {timeout_s:g} s; try again"
            if link_wire.client.state is ClientState.AWAITS_HELLO:
                missing = f"no hello within {timeout_s:g} s; is that a monitor port? with TLS, give --tls"
            raise UnreachableError(f"{place}: {missing}")
        for index, value in enumerate(found):
            if isinstance(value, LinkError):
                raise value
            if isinstance(value, Snapshot):
                return value, found[index + 1 :]


def _name(place: tuple[str, int]) -> str:
    return f"{place[0]} port {place[1]}"
