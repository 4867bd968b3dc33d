"""Trust: which certificate of a server is taken for its own: the one that a person has accepted."""

import argparse
import contextlib
import sys
from collections.abc import Iterator

from smtppseudo.cli import exits
from smtppseudo.cli.places import user_config
from smtppseudo.net.client import CertificateError, ChangedCertificateError
from smtppseudo.net.pins import FILE, SHOW_COMMAND, Pins, name_of
from smtppseudo.statedir import StateDir


class Trust:
    """What was accepted before, what the options say, and what is accepted now."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._pins = Pins(StateDir(user_config()))
        self._given: str | None = options.pin

    def pin_for(self, host: str, port: int) -> str | None:
        """Return the fingerprint that a server's certificate must have; None if there is none yet."""
        if self._given is not None:
            return self._given
        try:
            return self._pins.get(host, port)
        except OSError as error:
            raise exits.CommandError(f"{user_config() / FILE}: {error.strerror}; give --pin") from None

    def ask(self, error: CertificateError) -> None:
        """Have a person accept a certificate, if there is one. Raises CommandError."""
        host, port = error.place
        if not sys.stdin.isatty():
            raise exits.CommandError(f"{error}; if it does, give --pin {error.fingerprint}", exits.UNREACHABLE)
        print(
            f"The server at {host} port {port} shows a certificate with the fingerprint\n{error.fingerprint}.\n"
            f"On the server, `{SHOW_COMMAND}` prints what it must be.\nTrust it from now on? [y/N] ",
            end="",
            file=sys.stderr,
            flush=True,
        )
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise exits.CommandError(f"{host} port {port}: its certificate is not trusted; nothing was said to it")
        self._given = error.fingerprint

    def keep(self, host: str, port: int) -> None:
        """Remember what was given or accepted, now that it has proved right."""
        if self._given is None:
            return
        try:
            if self._pins.get(host, port) != self._given:
                self._pins.accept(host, port, self._given)
        except OSError as error:
            print(f"smtppseudo: {user_config() / FILE}: {error.strerror}: the next time asks again", file=sys.stderr)


@contextlib.contextmanager
def told_how() -> Iterator[None]:
    """Add to the error of a changed certificate how the new one is accepted."""
    try:
        yield
    except ChangedCertificateError as error:
        line = f"the line of {name_of(*error.place)} in {user_config() / FILE}"
        raise exits.CommandError(
            f"{error}; if that is the new one, remove {line}, or give --pin {error.fingerprint}", exits.UNREACHABLE
        ) from None
