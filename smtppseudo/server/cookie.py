"""The cookie: lets monitors that can read a file of this machine log in without the magic word."""

import os

from smtppseudo.files import COOKIE_FILE, MONITOR_PORT_FILE, StateDir


class CookieFile:
    """A random secret in the state directory, with the monitor port in a file beside it."""

    def __init__(self, state_dir: StateDir, mode: int) -> None:
        self.secret = os.urandom(32).hex()
        self._state_dir = state_dir
        self._mode = mode

    def write(self, monitor_port: int) -> None:
        """Write both files. Raises OSError."""
        self._state_dir.write(COOKIE_FILE, self.secret + "\n", self._mode)
        self._state_dir.write(MONITOR_PORT_FILE, f"{monitor_port}\n", 0o644)

    def remove(self) -> None:
        """Remove both files, unless another server has replaced the cookie. Raises OSError."""
        if self._state_dir.read(COOKIE_FILE) == self.secret + "\n":
            for name in (COOKIE_FILE, MONITOR_PORT_FILE):
                self._state_dir.remove(name)
