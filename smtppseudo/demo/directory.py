"""The demo's temporary directory. It is removed at the end, or by a later run if this one is killed."""

import os
import shutil
import stat
import sys
import tempfile
from pathlib import Path
from typing import Final, Self

if sys.platform != "win32":
    import fcntl

_PREFIX: Final = "smtppseudo-demo-"
_LOCK: Final = "lock"


class DemoDirectory:
    """A directory with mode 0700, for the duration of the `with` block.

    While `lock_fd` or an inherited copy of it is open, later runs do not remove the directory.
    """

    def __init__(self) -> None:
        remove_leftovers()
        while True:
            self.path = Path(tempfile.mkdtemp(prefix=_PREFIX))
            self.lock_fd = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
            if _lock(self.lock_fd) and (self.path / _LOCK).exists():
                return
            os.close(self.lock_fd)  # another run has removed the directory before it was locked

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self.lock_fd)


def remove_leftovers() -> None:
    """Remove the directories of killed runs: those of this user that no process has locked."""
    if sys.platform == "win32":
        return  # without locks, a directory in use looks the same
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        try:
            # All users can write to the parent directory: check the owner, and follow no link.
            found = path.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
                continue
            lock_fd = os.open(path / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            if _lock(lock_fd):
                shutil.rmtree(path, ignore_errors=True)
        finally:
            os.close(lock_fd)


def _lock(lock_fd: int) -> bool:
    """Try to lock the file; return whether that was done."""
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
