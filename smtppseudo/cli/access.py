"""Access: the options and questions with which a command reaches a server and logs in."""

import argparse
import codecs
import contextlib
import os
import queue
import shlex
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, TypeVar

from smtppseudo.cli import exits
from smtppseudo.cli.messages import ask, is_terminal, say
from smtppseudo.cli.options import host_and_port, port
from smtppseudo.cli.places import user_config, usual_places
from smtppseudo.events import printable
from smtppseudo.files import COOKIE_FILE, SYSTEM_STATE, without_line_end
from smtppseudo.link import errors
from smtppseudo.link.keyring import Keyring
from smtppseudo.link.link import MonitorLink
from smtppseudo.link.machine import MAX_WORD_CHARS, checked_word
from smtppseudo.link.pins import PINS_FILE, SHOW_COMMAND, name_of, parse_fingerprint
from smtppseudo.link.route import Target, connect
from smtppseudo.link.wire import LOOPBACK

T = TypeVar("T")

_QUEUED_MAX: Final = 50  # values of servers that wait to be used


def add_access(command: argparse.ArgumentParser, *, has_several: bool = False) -> None:
    """Add the arguments that name a server, or several, and the secrets for it."""
    add = command.add_argument
    if has_several:
        add("hosts", nargs="*", metavar="HOST", help="a server, or HOST:PORT (this machine)")
    else:
        add("--host", metavar="HOST", help="the server, or HOST:PORT (this machine)")
    add("--monitor-port", type=port, metavar="PORT", help="its monitor port (noted in the state directory, else 26)")
    state_dir_help = "the state directory of a server on this machine (this user's and the service's)"
    add("--state-dir", metavar="DIR", help=state_dir_help)
    add("--magic-file", metavar="FILE", help="a file that holds the magic word and that others cannot read")
    way = command.add_mutually_exclusive_group()
    way.add_argument("--tls", action="store_const", const="on", help="use TLS also to this machine")
    cleartext_help = "use no TLS to another machine; anyone on the network path can then read and change the traffic"
    way.add_argument("--cleartext", dest="tls", action="store_const", const="off", help=cleartext_help)
    command.set_defaults(tls="auto")
    pin_help = "trust the certificate with this fingerprint from now on (the one accepted at the first connection)"
    add("--pin", type=_fingerprint, metavar="SHA256:...", help=pin_help)


def _fingerprint(text: str) -> str:
    try:
        return parse_fingerprint(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


class Access:
    """Access to the server `host`. `words` has the magic word once it is known: the servers of a command share it."""

    def __init__(self, options: argparse.Namespace, host: str | None, words: list[str]) -> None:
        self.name = host or LOOPBACK
        self._words = words
        self._target = Target(*host_and_port(host, options.monitor_port), tls=options.tls)
        self._keyring = user_keyring(options.state_dir, options.pin)

    def connect(self) -> MonitorLink:
        """Connect and log in; ask the user for what is missing. Raises LinkError and CommandError."""
        while True:  # each question is asked once: its answer is used in the next round
            try:
                return self.dial()
            except errors.LinkError as error:
                self.answer(error)

    def dial(self) -> MonitorLink:
        """Connect and log in without a question. Raises LinkError."""
        word = self._words[0] if self._words else None
        route = connect(self._target._replace(magic_word=word), self._keyring)
        if route.note:
            say(route.note)
        return route.link

    def answer(self, error: Exception) -> None:
        """Ask the user for what the last try lacked. Raises the error if that would not help, and CommandError."""
        if isinstance(error, errors.UnknownCertificateError):
            self._ask_trust(error)
        elif not isinstance(error, errors.NeedsMagicWordError):
            raise error
        elif not self._words:
            self._ask_word(error.place)

    def _ask_trust(self, error: errors.UnknownCertificateError) -> None:
        if not is_terminal(sys.stdin):
            raise exits.CommandError(f"{error}; if it is the same, give --pin {error.fingerprint}", exits.UNREACHABLE)
        place = "{} port {}".format(*error.place)
        reply = ask(
            f"The server at {place} shows a certificate with the fingerprint\n{error.fingerprint}.\n"
            f"On the server, `{SHOW_COMMAND}` prints the right one.\nTrust it from now on? [y/N] "
        )
        if reply.strip().lower() not in ("y", "yes"):
            raise exits.CommandError(f"{place}: its certificate is not trusted; nothing was sent to it")
        self._keyring.pin = error.fingerprint
        if warning := self._keyring.save_pin(*error.place):
            say(warning)

    def _ask_word(self, place: str) -> None:
        if not is_terminal(sys.stdin):
            cookies = " or ".join(str(directory / COOKIE_FILE) for directory in self._keyring.state_dirs)
            ways = f"use sudo, give it with --magic-file FILE, or be a user who can read {cookies}"
            raise exits.CommandError(f"{place} needs the magic word; {ways}", exits.NOT_AUTHORIZED)
        self._words.append(_checked(ask_word(f"Magic word of {place}: ")))


def hosts_of(hosts: Sequence[str | None], pin: str | None) -> list[str | None]:
    """Return each HOST once; None is this machine. Raises CommandError if a pin is for several."""
    if pin is not None and len(hosts) > 1:
        raise exits.CommandError("--pin is the certificate of one HOST; give one HOST", exits.USAGE)
    return list(dict.fromkeys(hosts)) or [None]


def access_to(options: argparse.Namespace, hosts: Sequence[str | None]) -> list[Access]:
    """Return the access to each of these servers, as `hosts_of` returns them. Raises CommandError."""
    words = [] if options.magic_file is None else [read_word(Path(options.magic_file))]
    return [Access(options, host, words) for host in hosts_of(hosts, options.pin)]


def run_all(
    accesses: Sequence[Access], act: Callable[[Access], Iterable[T]], turn_s: float | None = None
) -> Iterator[tuple[Access, T | exits.CommandError] | None]:
    """Call `act` for each server in a thread of its own; yield what it yields, or the error that ended it.

    What only the user can answer is asked here, and `act` called again. After `turn_s` without a value, yield None.
    """
    found: queue.Queue[tuple[Access, T | Exception | None]] = queue.Queue(_QUEUED_MAX)

    def run(access: Access) -> None:
        try:
            for value in act(access):
                found.put((access, value))
            found.put((access, None))
        except Exception as error:  # noqa: BLE001 - raised below, if it is a bug
            found.put((access, error))

    waiting, running = list(accesses), 0
    while waiting or running:
        for access in waiting:
            threading.Thread(target=run, args=(access,), daemon=True).start()
        running, waiting = running + len(waiting), []
        try:
            access, value = found.get(timeout=turn_s)
            if value is None:
                running -= 1
            elif isinstance(value, Exception):
                running -= 1
                with explained():
                    access.answer(value)
                waiting = [access]
            else:
                yield access, value
        except queue.Empty:
            yield None
        except exits.CommandError as error:
            yield access, error


@contextlib.contextmanager
def explained(bad_value: int = exits.FAILED) -> Iterator[None]:
    """Turn a LinkError into the error that ends the command; `bad_value` is the exit status for a refused value."""
    try:
        yield
    except errors.LinkError as error:
        hint = ""
        if isinstance(error, errors.ChangedCertificateError):
            line = f"the line of {name_of(*error.place)} in {user_config() / PINS_FILE}"
            hint = f"; if the server has a new certificate, remove {line}, or give --pin {error.fingerprint}"
        status = exits.UNREACHABLE
        if isinstance(error, errors.NotAuthorizedError | errors.NeedsMagicWordError):
            status = exits.NOT_AUTHORIZED
        elif isinstance(error, errors.OpRefusedError):
            status = {"not_authorized": exits.NOT_AUTHORIZED, "bad_value": bad_value}.get(error.code, exits.FAILED)
        elif isinstance(error, errors.RefusedError) and error.code == "rate":
            status = exits.NOT_AUTHORIZED  # too many wrong words
        raise exits.CommandError(f"{error}{hint}", status) from None


@contextlib.contextmanager
def logged_in(options: argparse.Namespace, bad_value: int = exits.FAILED) -> Iterator[MonitorLink]:
    """Log in to the server that the options name; `bad_value` as for `explained`."""
    (access,) = access_to(options, [options.host])
    with explained(bad_value), access.connect() as link:
        yield link


def user_keyring(state_dir: str | None, pin: str | None = None) -> Keyring:
    """Return this user's keyring, with the given state directory or the usual ones."""
    return Keyring(state_dirs(state_dir), user_config(), pin)


def state_dirs(given: str | None) -> list[Path]:
    """Return the state directories of servers on this machine: the given one, or the user's and the service's."""
    if given is not None:
        return [Path(given)]
    own = usual_places().state
    return [own] if os.name == "nt" or own == SYSTEM_STATE else [own, SYSTEM_STATE]


def read_word(path: Path) -> str:
    """Return the magic word in a file, which is its only line. Raises CommandError."""
    advice = "--magic-file must be a file that this user can read"
    with exits.file_error(path, advice, exits.NOT_AUTHORIZED), path.open("rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        data = file.read(2 * MAX_WORD_CHARS)
    if os.name == "posix" and mode & 0o007:
        remedy = f"`chmod o= {shlex.quote(str(path))}` prevents that"
        raise exits.CommandError(f"{path}: every user can read or write it; {remedy}", exits.NOT_AUTHORIZED)
    return _checked(word_in(data), f"{path}: ")


def word_in(line: bytes) -> str:
    """Return the magic word in a line, without byte order mark and line end."""
    return without_line_end(line.removeprefix(codecs.BOM_UTF8).decode("latin-1"))


def ask_word(prompt: str) -> str:
    """Read a magic word from the terminal without echo. Raises CommandError."""
    import getpass

    try:
        return getpass.getpass(printable(prompt))
    except EOFError:
        raise exits.CommandError("no magic word was typed; nothing was done", exits.NOT_AUTHORIZED) from None


def _checked(word: str, prefix: str = "") -> str:
    try:
        return checked_word(word)
    except ValueError as error:
        raise exits.CommandError(f"{prefix}{error}", exits.NOT_AUTHORIZED) from None
