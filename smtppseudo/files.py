"""Atomic replacement of files; the state directory; the directories of a service."""

import contextlib
import errno
import os
import sys
from pathlib import Path
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
BLOCKED_FILE: Final = "blocked.json"

SECRET_MODE: Final = 0o600


def open_log(path: Path) -> int:
    """Open or create a log file, which can be renamed while it is open; return its descriptor. Raises OSError."""
    if sys.platform == "win32":
        import _winapi  # noqa: PLC0415
        import msvcrt  # noqa: PLC0415

        append, share_all, open_always = 4, 7, 4
        handle = _winapi.CreateFile(str(path), _winapi.GENERIC_READ | append, share_all, 0, open_always, 0, 0)
        return msvcrt.open_osfhandle(handle, os.O_APPEND)
    return os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o640)


def is_root() -> bool:
    """Return whether this process runs as root; never on Windows."""
    return hasattr(os, "geteuid") and os.geteuid() == 0


def without_line_end(text: str) -> str:
    """Return a text without the LF or CRLF at its end, if it has one."""
    return text.removesuffix("\n").removesuffix("\r")


class Replacement:
    """A new version of a file, written beside it. `commit` renames it into place; without that the file is unchanged.

    It gets exactly `mode`, whatever the umask. Every method raises OSError.
    """

    def __init__(self, path: Path, mode: int) -> None:
        if path.exists() and not path.is_file():
            raise OSError(0, "not a regular file")  # such as a device, which others need
        self._path = path
        self._mode = mode
        self._is_committed = False
        self._temporary = _temporary_of(path)
        self._temporary.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        for name in ("O_NOFOLLOW", "O_CLOEXEC", "O_BINARY"):  # not every system has each
            flags |= getattr(os, name, 0)
        self._fd = os.open(self._temporary, flags, mode)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        if not self._is_committed:
            self._temporary.unlink(missing_ok=True)

    def write(self, text: str) -> None:
        """Append text, as UTF-8."""
        data = text.encode("utf-8")
        while data:
            data = data[os.write(self._fd, data) :]

    def commit(self, *, sync: bool) -> None:
        """Replace the file. With `sync`, the new version is on the disk when this returns."""
        if hasattr(os, "fchmod"):
            os.fchmod(self._fd, self._mode)  # the umask may have taken bits away
        if sync:
            os.fsync(self._fd)
        fd, self._fd = self._fd, -1
        os.close(fd)
        try:
            self._temporary.replace(self._path)
        except OSError as error:
            if error.errno == errno.EBUSY:  # such as a single file mounted into a container
                raise OSError(errno.EBUSY, "a mount point cannot be replaced; mount its directory instead") from None
            raise
        self._is_committed = True
        if sync:
            _sync_directory(self._path.parent)


def replace(path: Path, text: str, mode: int, *, sync: bool = True) -> None:
    """Replace a whole file, as `Replacement` does. Raises OSError."""
    with Replacement(path, mode) as new:
        new.write(text)
        new.commit(sync=sync)


class StateDir:
    """A directory of small files. Each is replaced whole: a crash leaves the old version or the new one.

    Every method raises OSError.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, name: str) -> str | None:
        """Return a file's text, without a byte order mark; None if there is no such file."""
        try:
            return (self.path / name).read_bytes().decode("utf-8-sig", "replace")
        except (FileNotFoundError, NotADirectoryError):
            return None

    def write(self, name: str, text: str, mode: int = SECRET_MODE) -> None:
        """Replace a file, and sync it. Create the directory if it is missing."""
        self.path.mkdir(mode=0o750, parents=True, exist_ok=True)
        if sys.platform == "win32":
            from smtppseudo.win32 import make_private  # noqa: PLC0415

            make_private(self.path)
        replace(self.path / name, text, mode)

    def remove(self, name: str) -> None:
        """Remove a file if it exists."""
        (self.path / name).unlink(missing_ok=True)

    def write_cookie(self, secret: str, mode: int, monitor_port: int) -> None:
        """Write the cookie and, beside it, the monitor port.

        The cookie lets monitors that can read a file of this machine log in without the magic word.
        """
        self.write(COOKIE_FILE, secret + "\n", mode)
        self.write(MONITOR_PORT_FILE, f"{monitor_port}\n", 0o644)

    def remove_cookie(self, secret: str) -> None:
        """Remove both files, unless another server has replaced the cookie."""
        if (self.read(COOKIE_FILE) or "").strip() == secret:
            self.remove(COOKIE_FILE)
            self.remove(MONITOR_PORT_FILE)

    def remove_leftovers(self) -> None:
        """Remove temporary files that a crash in `write` left."""
        for name in (COOKIE_FILE, CREDENTIALS_FILE, MONITOR_PORT_FILE, SETTINGS_FILE, BLOCKED_FILE):
            _temporary_of(self.path / name).unlink(missing_ok=True)


def _temporary_of(path: Path) -> Path:
    """Return the path of a file's temporary: always the same, so that crashes leave at most one."""
    return path.with_name(f".{path.name}.new")


def _sync_directory(path: Path) -> None:
    """Sync a directory, so that a rename in it survives a power cut; ignore errors: the file is replaced anyway."""
    if os.name != "posix":
        return
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
