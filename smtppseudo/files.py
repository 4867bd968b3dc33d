"""Files that are replaced whole, and the state directory, which holds such files."""

import contextlib
import os
from pathlib import Path
from types import TracebackType
from typing import Final, Self

# Where a service of the whole system has its files.
SYSTEM_CONFIG: Final = Path("/etc/smtppseudo")
SYSTEM_STATE: Final = Path("/var/lib/smtppseudo")
SYSTEM_LOGS: Final = Path("/var/log/smtppseudo")

# The files of a state directory.
COOKIE_FILE: Final = "cookie"
CREDENTIALS_FILE: Final = "credentials"
MONITOR_PORT_FILE: Final = "monitor_port"
SETTINGS_FILE: Final = "settings.json"
HITS_FILE: Final = "blocklist_hits"

SECRET_MODE: Final = 0o600


class Replacement:
    """A new file written aside, which `commit` gives its name. Whoever leaves without leaves the old one as it was.

    The mode is as given, whatever the umask. Everything but leaving raises OSError.
    """

    __slots__ = ("_aside", "_fd", "_path")

    def __init__(self, path: Path, mode: int) -> None:
        if path.exists() and not path.is_file():
            raise OSError(0, "not a regular file")  # a device, say, that others need
        self._path = path
        self._aside = aside_of(path)
        self._aside.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
        self._fd = os.open(self._aside, flags, mode)
        try:
            if hasattr(os, "fchmod"):
                os.fchmod(self._fd, mode)
        except BaseException:
            self._abandon()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._fd >= 0:
            self._abandon()

    def write(self, text: str) -> None:
        """Add text."""
        data = text.encode("utf-8")
        while data:
            data = data[os.write(self._fd, data) :]

    def commit(self, *, sync: bool) -> None:
        """Put it in the other's place; with `sync` all is on the disk when this returns."""
        if sync:
            os.fsync(self._fd)
        fd, self._fd = self._fd, -1
        try:
            os.close(fd)
            self._aside.replace(self._path)
        except BaseException:
            self._aside.unlink(missing_ok=True)
            raise
        if sync:
            _sync_directory(self._path.parent)

    def _abandon(self) -> None:
        os.close(self._fd)
        self._fd = -1
        self._aside.unlink(missing_ok=True)


class StateDir:
    """Files of one directory, each replaced whole: after a crash there is the old one or the new one.

    Every method raises OSError.
    """

    __slots__ = ("path",)

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, name: str) -> str | None:
        """Return a file's text; None if there is none."""
        try:
            return (self.path / name).read_bytes().decode("utf-8", "replace")
        except FileNotFoundError:
            return None

    def write(self, name: str, text: str, mode: int = SECRET_MODE) -> None:
        """Replace a file: written aside, synced, renamed."""
        self.path.mkdir(mode=0o750, parents=True, exist_ok=True)
        with Replacement(self.path / name, mode) as new:
            new.write(text)
            new.commit(sync=True)

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        (self.path / name).unlink(missing_ok=True)

    def clean(self, *names: str) -> None:
        """Remove what a crash in `write` left of these files."""
        for name in names:
            aside_of(self.path / name).unlink(missing_ok=True)


def aside_of(path: Path) -> Path:
    """Return where a file is written aside: always the same place, so that a crash leaves one at most."""
    return path.with_name(f".{path.name}.new")


def _sync_directory(path: Path) -> None:
    """Bring a name that was replaced to the disk, where that can be done: it is replaced in any case."""
    if os.name != "posix":
        return
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
