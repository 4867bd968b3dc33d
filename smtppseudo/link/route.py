"""The route: how the screen gets from the address that somebody typed to a login.

An address of this machine is tried as it is, and then by 127.0.0.1, for that is where a server answers monitors
unless it was told otherwise.
"""

import contextlib
import socket
from typing import NamedTuple, Protocol

from smtppseudo.link.link import (
    MonitorLink,
    NeedsMagicWordError,
    NotPrivateError,
    Secrets,
    TlsMode,
    UnreachableError,
)
from smtppseudo.net.addresses import is_loopback
from smtppseudo.net.errnos import reason_of

PORT = 26
LOOPBACK = "127.0.0.1"
TIMEOUT_S = 10.0


class Target(NamedTuple):
    """What to connect to. `host` None is this machine, `port` None the port that its servers wrote down, or 26."""

    host: str | None = None
    port: int | None = None
    magic_word: str | None = None
    tls: TlsMode = "auto"  # off: in clear text to another machine, too, though all on the way can read along

    def __repr__(self) -> str:
        return f"Target({self.host!r}, {self.port!r}, [redacted], {self.tls})"

    @property
    def address(self) -> str:
        """What to call it."""
        return self.host if self.host is not None else LOOPBACK


class Keyring(Protocol):
    """What this user can find of the servers of this machine."""

    def cookies(self) -> tuple[str, ...]:
        """Return their cookies, those that can be read."""
        ...

    def ports(self) -> tuple[int, ...]:
        """Return the monitor ports that they wrote down."""
        ...

    def pin_for(self, host: str, port: int) -> str | None:
        """Return the fingerprint that a server's certificate must have; None if there is none yet. Raises LinkError."""
        ...


class Route(NamedTuple):
    """A login. `note` says what is worth knowing of how it came about; `is_own` whether it is this machine's server."""

    link: MonitorLink
    note: str
    is_own: bool


def connect(target: Target, keys: Keyring) -> Route:
    """Connect and log in. Raises LinkError: what it says is of the first thing that was tried."""
    if target.host is None or target.host in ("localhost", LOOPBACK, "::1"):
        return _connect_here(target, keys)
    own = own_address(target.host)
    if own is None:
        return Route(_log_in(target.host, target.port or PORT, target, keys), "", is_own=False)
    port = target.port or PORT
    try:
        try:
            link = _log_in(own, port, target, keys)
        except NotPrivateError:
            # What is said to an address of one's own never leaves the machine.
            link = _log_in(own, port, target._replace(tls="off"), keys)
    except UnreachableError as error:
        with contextlib.suppress(UnreachableError):
            route = _connect_here(target._replace(host=LOOPBACK), keys)
            at = f"{target.host} is this machine, but its server answers monitors at {route.link.address} only"
            return route._replace(note=f"{at}; connected there")
        raise UnreachableError(f"{error}; {LOOPBACK} was tried as well, and nothing answers there either") from None
    return Route(link, "", is_own=True)


def _connect_here(target: Target, keys: Keyring) -> Route:
    noted = keys.ports() if target.port is None else (target.port,)
    failure: UnreachableError | None = None
    for port in noted or (PORT,):
        try:
            return Route(_log_in(target.host, port, target, keys), "", is_own=True)
        except UnreachableError as error:
            failure = failure or error  # the port may be that of a server that was killed
    raise failure or UnreachableError("there is no port to try")


def _log_in(host: str | None, port: int, target: Target, keys: Keyring) -> MonitorLink:
    def dial(cookies: tuple[str, ...]) -> MonitorLink:
        secrets = Secrets(cookies, target.magic_word)
        return MonitorLink.connect(host, port, secrets, timeout_s=TIMEOUT_S, tls=target.tls, pin_for=keys.pin_for)

    cookies = keys.cookies()
    try:
        return dial(cookies)
    except NeedsMagicWordError:
        again = keys.cookies()
        if again == cookies:
            raise
        return dial(again)  # a server that was just starting had not written its cookie yet


def own_address(host: str) -> str | None:
    """Return the address that a name means if it is one of this machine's own, else None."""
    try:
        addresses = resolve(host)
    except UnresolvedError:
        return None
    return next((address for address in addresses if _is_own(address)), None)


class UnresolvedError(Exception):
    """A name leads to no address; the text says why, for a person."""


def resolve(host: str) -> list[str]:
    """Return the addresses of a name, which may take seconds. Raises UnresolvedError."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, ValueError) as error:
        raise UnresolvedError(reason_of(error)) from None
    return list(dict.fromkeys([str(address[0]) for *_, address in found]))


def _is_own(address: str) -> bool:
    if is_loopback(address.partition("%")[0]):
        return True
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:  # nothing is sent
        try:
            sock.bind((address, 0))
        except OSError:
            return False
    return True
