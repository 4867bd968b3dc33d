"""Trust: which certificate of a server is taken for its own: the one that a person has accepted."""

import argparse
import contextlib
import sys
from collections.abc import Iterator

from smtppseudo.cli import exits
from smtppseudo.cli.places import user_config
from smtppseudo.files import StateDir
from smtppseudo.link.link import CertificateError, ChangedCertificateError, LinkError
from smtppseudo.link.pins import FILE, SHOW_COMMAND, Pins, name_of


class Trust:
    """What was accepted before, what the options say, and what is accepted now."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._given: str | None = options.pin
        self._place: tuple[str, int] | None = None  # whose certificate was to have that

    def pin_for(self, host: str, port: int) -> str | None:
        """Return the fingerprint that a server's certificate must have; None if there is none yet."""
        self._place = (host, port)
        return self._given or accepted_pin(host, port)

    def ask(self, error: CertificateError) -> None:
        """Have a person accept a certificate, if there is one. Raises CommandError."""
        host, port = error.place
        if not sys.stdin.isatty():
            raise exits.CommandError(f"{error}; if it does, give --pin {error.fingerprint}", exits.UNREACHABLE)
        print(
            f"The server at {host} port {port} shows a certificate with the fingerprint\n{error.fingerprint}.\n"
            f"On the server, `{SHOW_COMMAND}` prints the right one.\nTrust it from now on? [y/N] ",
            end="",
            file=sys.stderr,
            flush=True,
        )
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise exits.CommandError(f"{host} port {port}: its certificate is not trusted; nothing was said to it")
        self._given = error.fingerprint
        self.keep()

    def keep(self) -> None:
        """Remember what was given or accepted: the server has shown that it has it."""
        if self._given is None or self._place is None:
            return
        try:
            pins = accepted_pins()
            if pins.get(*self._place) != self._given:
                pins.accept(*self._place, self._given)
        except OSError as error:
            print(f"smtppseudo: {user_config() / FILE}: {error.strerror}; the next time asks again", file=sys.stderr)


def accepted_pin(host: str, port: int) -> str | None:
    """Return the fingerprint of the certificate that this user has accepted for a server. Raises LinkError."""
    try:
        return accepted_pins().get(host, port)
    except OSError as error:
        raise LinkError(
            f"{user_config() / FILE}: {error.strerror}; which certificates were accepted is not known, give --pin"
        ) from None


def accepted_pins() -> Pins:
    """Return this user's pins."""
    return Pins(StateDir(user_config()))


@contextlib.contextmanager
def with_pin_hint() -> Iterator[None]:
    """Add to the error of a changed certificate how the new one is accepted."""
    try:
        yield
    except ChangedCertificateError as error:
        line = f"the line of {name_of(*error.place)} in {user_config() / FILE}"
        raise exits.CommandError(
            f"{error}; if that is the new one, remove {line}, or give --pin {error.fingerprint}", exits.UNREACHABLE
        ) from None
