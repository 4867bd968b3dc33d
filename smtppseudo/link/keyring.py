"""The keyring: the cookies, monitor ports and pins that this user can read. Each call reads the files."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from smtppseudo.config.settings import MONITOR_PORT
from smtppseudo.files import COOKIE_FILE, MONITOR_PORT_FILE, StateDir, without_line_end
from smtppseudo.link.errors import LinkError
from smtppseudo.link.pins import PIN_LINE, PINS_FILE, name_of


class Keyring:
    """Keys to the servers of this machine, whose state directories are given, and pins for all servers.

    The pins are saved in `config_dir`. `pin` is the fingerprint of a certificate that the user trusts in advance
    (`--pin`), or None. It counts before the saved pins, until a server has shown that certificate.
    """

    def __init__(self, state_dirs: Sequence[Path], config_dir: Path, pin: str | None = None) -> None:
        self.state_dirs = state_dirs
        self.pins_path = config_dir / PINS_FILE
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
            return self.pin or self._saved_pin(host, port)
        except OSError as error:  # an unreadable file must not look like a server without a pin
            advice = "without this file no certificate is trusted: make it readable, or give --pin"
            raise LinkError(f"{self.pins_path}: {error.strerror}; {advice}") from None

    def accept(self, host: str, port: int, fingerprint: str) -> None:
        """Trust this certificate of a server from now on, and no other. Raises OSError."""
        name = name_of(host, port)
        others = [line for line in self._lines() if line.partition(" ")[0] != name]
        text = "".join(f"{line}\n" for line in (*others, f"{name} {fingerprint}"))
        StateDir(self.pins_path.parent).write(PINS_FILE, text)
        self.pin = None

    def save_pin(self, host: str, port: int) -> str:
        """Save `pin` for the server that has shown it; return a warning if that failed, else an empty text."""
        if self.pin is None:
            return ""
        try:
            if self._saved_pin(host, port) != self.pin:
                self.accept(host, port, self.pin)
        except OSError as error:
            result = "the accepted certificate is not saved; the next time asks again"
            return f"{self.pins_path}: {error.strerror}; {result}"
        self.pin = None
        return ""

    def _saved_pin(self, host: str, port: int) -> str | None:
        matches = [PIN_LINE.fullmatch(line) for line in self._lines()]
        return next((match[2] for match in matches if match and match[1] == name_of(host, port)), None)

    def _lines(self) -> list[str]:
        return (StateDir(self.pins_path.parent).read(PINS_FILE) or "").splitlines()

    def _read(self, name: str, pattern: str) -> Iterator[str]:
        for directory in self.state_dirs:
            try:
                text = StateDir(directory).read(name)
            except OSError:
                continue  # not for this user
            text = without_line_end(text or "")
            if re.fullmatch(pattern, text):
                yield text
