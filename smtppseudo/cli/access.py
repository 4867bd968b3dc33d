"""Access: how a command finds its server and logs in there: address, cookie, magic word."""

import argparse
import contextlib
import os
import re
import shlex
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from smtppseudo.cli import exits
from smtppseudo.cli.options import port
from smtppseudo.cli.places import usual_places
from smtppseudo.cli.trust import Trust, with_pin_hint
from smtppseudo.config.settings import MONITOR_PORT
from smtppseudo.files import COOKIE_FILE, MONITOR_PORT_FILE, SYSTEM_STATE, StateDir
from smtppseudo.link.link import (
    LinkError,
    MonitorLink,
    NeedsMagicWordError,
    NotAuthorizedError,
    OpRefusedError,
    RefusedError,
    TlsMode,
    UnknownCertificateError,
    UnreachableError,
)
from smtppseudo.link.machine import MAX_WORD_CHARS, Secrets, checked_word
from smtppseudo.link.pins import parse_fingerprint

MONITOR_PORT_DEFAULT: Final = MONITOR_PORT


def add_access(command: argparse.ArgumentParser) -> None:
    """Add the options that say how to reach a server and log in; the host is an argument of its own."""
    command.add_argument(
        "--monitor-port", type=port, metavar="PORT", help="its monitor port (that in the state directory, else 26)"
    )
    command.add_argument(
        "--state-dir",
        metavar="DIR",
        help="the state directory of a server on this machine (this user's and the service's)",
    )
    command.add_argument(
        "--magic-file", metavar="FILE", help="a file that holds the magic word and that others cannot read"
    )
    way = command.add_mutually_exclusive_group()
    way.add_argument(
        "--tls",
        action="store_const",
        const="on",
        default="auto",
        help="use TLS to this machine, too, as to all others",
    )
    way.add_argument(
        "--cleartext",
        action="store_const",
        const="off",
        default="auto",
        dest="tls",
        help="use no TLS to another machine; everybody on the way can then read and change the traffic",
    )
    command.add_argument(
        "--pin",
        type=_fingerprint,
        metavar="SHA256:...",
        help="trust the certificate with this fingerprint from now on (the one accepted at the first connection)",
    )


def add_host(command: argparse.ArgumentParser) -> None:
    """Add the server as an argument."""
    command.add_argument("host", nargs="?", metavar="HOST", help="the server (this machine)")


def add_host_option(command: argparse.ArgumentParser) -> None:
    """Add the server as an option."""
    command.add_argument("--host", metavar="HOST", help="the server (this machine)")


def _fingerprint(text: str) -> str:
    try:
        return parse_fingerprint(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


class Access:
    """What the options say of a server, and the way in. What a person once typed serves later logins, too."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._host: str | None = options.host
        self._port: int | None = options.monitor_port
        self._tls: TlsMode = options.tls
        self._trust = Trust(options)
        self._state_dirs = state_dirs(options.state_dir)
        self._word = None if options.magic_file is None else read_word(Path(options.magic_file))

    def connect(self) -> MonitorLink:
        """Log in; ask what has to be asked if there is somebody to ask. Raises LinkError, CommandError."""
        while True:  # each question is asked once: what it brings is given the next time
            try:
                return self._connect()
            except UnknownCertificateError as error:
                self._trust.ask(error)
            except NeedsMagicWordError as error:
                self._ask_word(str(error).partition(" needs")[0])

    def _ask_word(self, place: str) -> None:
        if not sys.stdin.isatty():
            raise exits.CommandError(f"{place} needs the magic word; {self._advice()}", exits.NOT_AUTHORIZED)
        self._word = _checked(ask(f"Magic word of {place}: "))

    def _connect(self) -> MonitorLink:
        secrets = Secrets(read_cookies(self._state_dirs), self._word)
        failure: LinkError | None = None
        for monitor_port in self._ports():
            try:
                link = MonitorLink.connect(
                    self._host, monitor_port, secrets, tls=self._tls, pin_for=self._trust.pin_for
                )
            except UnreachableError as error:
                failure = failure or error  # the port may be that of a server that was killed
            else:
                self._trust.keep()
                return link
        raise failure or UnreachableError("there is no monitor port to try; give --monitor-port")

    def _ports(self) -> list[int]:
        """Return the ports to try: what was given, else those that local servers wrote down, else 26."""
        if self._port is not None:
            return [self._port]
        noted = () if self._host is not None else read_ports(self._state_dirs)
        return list(noted) or [MONITOR_PORT_DEFAULT]

    def _advice(self) -> str:
        cookies = " or ".join(str(directory / COOKIE_FILE) for directory in self._state_dirs)
        return f"give it with --magic-file FILE, or run this as a user who can read {cookies}"


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Turn what goes wrong with a link into the error that ends a command."""
    try:
        with with_pin_hint():
            yield
    except LinkError as error:
        raise exits.CommandError(str(error), _status_of(error)) from None


@contextlib.contextmanager
def logged_in(options: argparse.Namespace) -> Iterator[MonitorLink]:
    """Give a login on the server that the options mean."""
    be_safe_to_print()
    with explained(), Access(options).connect() as link:
        yield link


def _status_of(error: LinkError) -> int:
    if isinstance(error, NotAuthorizedError | NeedsMagicWordError):
        return exits.NOT_AUTHORIZED
    if isinstance(error, OpRefusedError):
        return exits.NOT_AUTHORIZED if error.code == "not_authorized" else exits.FAILED
    if isinstance(error, RefusedError) and error.code == "rate":
        return exits.NOT_AUTHORIZED  # too many wrong words
    return exits.UNREACHABLE


def be_safe_to_print() -> None:
    """Let what a server says be printed, whatever characters it holds and the terminal knows."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def state_dirs(given: str | None) -> list[Path]:
    """Return where local servers may keep their state: where the options say, else one's own and the service's."""
    if given is not None:
        return [Path(given)]
    own = usual_places().state
    return [own] if os.name == "nt" or own == SYSTEM_STATE else [own, SYSTEM_STATE]


def read_cookies(directories: Iterable[Path]) -> tuple[str, ...]:
    """Return the cookies of local servers, those that can be read: whoever cannot is not meant to."""
    return tuple(_read(directories, COOKIE_FILE, r"[0-9a-f]{64}"))


def read_ports(directories: Iterable[Path]) -> tuple[int, ...]:
    """Return the ports on which local servers answer monitors."""
    ports = map(int, _read(directories, MONITOR_PORT_FILE, r"[1-9][0-9]{0,4}"))
    return tuple(port for port in ports if port < 1 << 16)


def _read(directories: Iterable[Path], name: str, pattern: str) -> Iterator[str]:
    for directory in directories:
        try:
            text = StateDir(directory).read(name)
        except OSError:
            continue
        text = (text or "").removesuffix("\n")
        if re.fullmatch(pattern, text):
            yield text


def read_word(path: Path) -> str:
    """Return the magic word that a file holds, on its only line. Raises CommandError."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(2 * MAX_WORD_CHARS)
    except OSError as error:
        raise exits.CommandError(
            f"{path}: {error.strerror}; --magic-file must be a file that this user can read", exits.NOT_AUTHORIZED
        ) from None
    if os.name == "posix" and mode & 0o007:
        raise exits.CommandError(
            f"{path}: every user can read or write it; `chmod o= {shlex.quote(str(path))}` closes it to them",
            exits.NOT_AUTHORIZED,
        )
    text = data.decode("latin-1")
    return _checked(text.removesuffix("\n").removesuffix("\r"), str(path))


def ask(prompt: str) -> str:
    """Have something typed on the terminal, without echo. Raises CommandError."""
    import getpass

    try:
        return getpass.getpass(prompt)
    except EOFError:
        raise exits.CommandError("no magic word was typed; nothing was done", exits.NOT_AUTHORIZED) from None


def _checked(word: str, place: str = "") -> str:
    try:
        return checked_word(word)
    except ValueError as error:
        raise exits.CommandError(f"{place}: {error}" if place else str(error), exits.NOT_AUTHORIZED) from None
