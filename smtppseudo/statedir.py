"""The state directory: what outlives the process, and how local monitors find in."""

import os
from pathlib import Path
from typing import Final

COOKIE: Final = "cookie"
CREDENTIALS: Final = "credentials"
MONITOR_PORT: Final = "monitor_port"
SETTINGS: Final = "settings.json"
SECRET_MODE: Final = 0o600


class StateDir:
    """Files of one directory, each replaced whole: after a crash there is the old one or the new one.

    Every method but `read` raises OSError.
    """

    __slots__ = ("path",)

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, name: str) -> str | None:
        """Return a file's text; None if there is none. Raises OSError where there is one that cannot be read."""
        try:
            return (self.path / name).read_bytes().decode("utf-8", "replace")
        except FileNotFoundError:
            return None

    def write(self, name: str, text: str, mode: int = SECRET_MODE) -> None:
        """Replace a file: written aside, synced, renamed."""
        self.path.mkdir(mode=0o750, parents=True, exist_ok=True)
        aside = self._aside(name)
        aside.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
        fd = os.open(aside, flags, mode)
        try:
            try:
                octets = text.encode("utf-8")
                while octets:
                    octets = octets[os.write(fd, octets) :]
                os.fsync(fd)
            finally:
                os.close(fd)
            aside.replace(self.path / name)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
        self._sync()

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        (self.path / name).unlink(missing_ok=True)

    def clean(self, *names: str) -> None:
        """Remove what a crash in `write` left of these files."""
        for name in names:
            self._aside(name).unlink(missing_ok=True)

    def _aside(self, name: str) -> Path:
        return self.path / f".{name}.new"  # always the same name, so that a crash leaves one at most

    def _sync(self) -> None:
        if os.name != "posix":
            return
        fd = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
