"""The route to a server: which ports, addresses and secrets are tried, and in which order.

The connection is made to the requested host. If the host is this machine and nothing answers at that address,
127.0.0.1 follows, because a server usually accepts monitors only there.
"""

import contextlib
import socket
from collections.abc import Mapping
from typing import NamedTuple

from smtppseudo.config.settings import MONITOR_PORT
from smtppseudo.link.errors import LinkError, NeedsMagicWordError, NotPrivateError, UnreachableError
from smtppseudo.link.keyring import Keyring
from smtppseudo.link.link import MonitorLink
from smtppseudo.link.machine import Secrets
from smtppseudo.link.wire import LOOPBACK, TlsMode
from smtppseudo.net.addresses import is_loopback
from smtppseudo.net.errnos import reason_of


class Target(NamedTuple):
    """The server to connect to. `host` None: this machine. `port` None: the port that its servers noted, else 26."""

    host: str | None = None
    port: int | None = None
    magic_word: str | None = None
    tls: TlsMode = "auto"

    def __repr__(self) -> str:
        return f"Target({self.host!r}, {self.port!r}, [redacted], {self.tls})"

    @property
    def address(self) -> str:
        """The host, for people."""
        return self.host if self.host is not None else LOOPBACK


class Route(NamedTuple):
    """A login. `note` tells the user about a detour or a problem, or is empty; `is_own`: a server of this machine."""

    link: MonitorLink
    note: str
    is_own: bool


def connect(target: Target, keyring: Keyring) -> Route:
    """Connect and log in. Raises LinkError about the first address and port that was tried.

    UnknownCertificateError and NeedsMagicWordError mean that a person can help; call again with the answer.
    """
    if target.host is None or target.host in ("localhost", LOOPBACK, "::1"):
        return _connect_here(target, keyring)
    port = target.port or MONITOR_PORT
    own = own_address(target.host)
    is_tunnel = target.host == own and is_loopback(own)  # if it is down, this machine's server is not meant
    if own is None or is_tunnel:
        return _log_in(target, port, keyring, is_own=is_tunnel)
    is_pinned = keyring.pin_for(target.host, port) is not None
    try:
        try:
            return _log_in(target, port, keyring)
        except NotPrivateError:
            if target.tls == "on" or is_pinned:
                raise  # the user asked for TLS
            # Traffic to an own address does not leave the machine.
            return _log_in(target._replace(host=own, tls="off"), port, keyring)
    except UnreachableError as error:
        if is_pinned:
            raise  # the server at 127.0.0.1 is another one
        with contextlib.suppress(UnreachableError):
            route = _connect_here(target._replace(host=LOOPBACK), keyring)
            at = f"{target.host} is this machine, but its server accepts monitors at {route.link.address} only"
            return route._replace(note=f"{at}; connected there")
        raise UnreachableError(f"{error}; {LOOPBACK} was tried as well, and nothing answers there either") from None


def _connect_here(target: Target, keyring: Keyring) -> Route:
    failures: list[UnreachableError] = []
    for port in keyring.ports() if target.port is None else (target.port,):
        try:
            return _log_in(target, port, keyring)
        except UnreachableError as error:
            failures.append(error)  # a server that was killed leaves its port noted
    raise failures[0]


def _log_in(target: Target, port: int, keyring: Keyring, *, is_own: bool = True) -> Route:
    def dial(cookies: tuple[str, ...]) -> MonitorLink:
        return MonitorLink.connect(target.host, port, Secrets(cookies, target.magic_word), tls=target.tls, pin=pin)

    pin = keyring.pin_for(target.address, port)
    cookies = keyring.cookies()
    try:
        link = dial(cookies)
    except NeedsMagicWordError:
        again = keyring.cookies()  # a server that has just started opens its port before it writes its cookie
        if again == cookies:
            raise
        link = dial(again)
    return Route(link, keyring.save_pin(target.address, port) if link.is_encrypted else "", is_own)


def shown_names(own: Mapping[str, str]) -> dict[str, str]:
    """Return for each HOST the name that its server gives itself (`own`), or HOST if the name could be another's."""
    names = list(own.values())
    return {host: name if names.count(name) == 1 and name and name not in own else host for host, name in own.items()}


def own_address(host: str) -> str | None:
    """Return the address of a host if it is one of this machine's own, else None."""
    try:
        return next(filter(_is_own, resolve(host)), None)
    except LinkError:
        return None


def resolve(host: str) -> list[str]:
    """Return the addresses of a name; this may take seconds. Raises LinkError, whose text is the reason."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, ValueError) as error:
        raise LinkError(reason_of(error)) from None
    return list(dict.fromkeys([str(address[0]) for *_, address in found]))


def _is_own(address: str) -> bool:
    if is_loopback(address.partition("%")[0]):
        return True
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind((address, 0))  # nothing is sent
    except OSError:
        return False
    return True
