"""The keyring: the cookies, monitor ports and pins that this user can read. Each call reads the files."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from smtppseudo.config.settings import MONITOR_PORT
from smtppseudo.files import COOKIE_FILE, MONITOR_PORT_FILE, StateDir, without_line_end
from smtppseudo.link.errors import LinkError
from smtppseudo.link.pins import Pins


class Keyring:
    """Keys to the servers of this machine, whose state directories are given, and pins for all servers.

    `pin` is the fingerprint of a certificate that the user trusts in advance (`--pin`), or None. It counts before
    the saved pins, until a server has shown that certificate.
    """

    def __init__(self, state_dirs: Sequence[Path], pins: Pins, pin: str | None = None) -> None:
        self.state_dirs = state_dirs
        self._pins = pins
        self.pin = pin

    def cookies(self) -> tuple[str, ...]:
        """Return the cookies that this user can read."""
        return tuple(self._read(COOKIE_FILE, r"[0-9a-f]{64}"))

    def ports(self) -> tuple[int, ...]:
        """Return the monitor ports that servers noted in their state directories, or 26 if there are none."""
        ports = map(int, self._read(MONITOR_PORT_FILE, r"[1-9][0-9]{0,4}"))
        return tuple(port for port in ports if port < 1 << 16) or (MONITOR_PORT,)

    def pin_for(self, host: str, port: int) -> str | None:
        """Return the fingerprint that a server's certificate must have, or None. Raises LinkError."""
        try:
            return self.pin or self._pins.get(host, port)
        except OSError as error:
            advice = "without this file no certificate is trusted: make it readable, or give --pin"
            raise LinkError(f"{self._pins.path}: {error.strerror}; {advice}") from None

    def accept(self, host: str, port: int, fingerprint: str) -> None:
        """Trust this certificate of a server from now on, and no other. Raises OSError."""
        self._pins.accept(host, port, fingerprint)
        self.pin = None

    def save_pin(self, host: str, port: int) -> str:
        """Save `pin` for the server that has shown it; return a warning if that failed, else an empty text."""
        if self.pin is None:
            return ""
        try:
            if self._pins.get(host, port) != self.pin:
                self._pins.accept(host, port, self.pin)
        except OSError as error:
            result = "the accepted certificate is not saved; the next time asks again"
            return f"{self._pins.path}: {error.strerror}; {result}"
        self.pin = None
        return ""

    def _read(self, name: str, pattern: str) -> Iterator[str]:
        for directory in self.state_dirs:
            try:
                text = StateDir(directory).read(name)
            except OSError:
                continue  # not for this user
            text = without_line_end(text or "")
            if re.fullmatch(pattern, text):
                yield text
