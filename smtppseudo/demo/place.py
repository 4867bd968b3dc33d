"""The place: a temporary directory for a run, which nothing outlasts; what killed runs left is removed."""

import os
import shutil
import stat
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Final, Self

if sys.platform != "win32":
    import fcntl

_PREFIX: Final = "smtppseudo-demo-"
_LOCK: Final = "lock"


class Place:
    """A directory of our own while the `with` block lasts, 0700.

    Whoever holds `lock_fd`, an inherited copy included, keeps later runs from taking it for a leftover.
    """

    def __init__(self) -> None:
        remove_leftovers()
        while True:
            self.path = Path(tempfile.mkdtemp(prefix=_PREFIX))
            self.lock_fd = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
            if _take(self.lock_fd) and (self.path / _LOCK).exists():
                return
            os.close(self.lock_fd)  # another run has taken it for a leftover before we could lock it

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self.lock_fd)


def remove_leftovers() -> None:
    """Remove the directories of runs that were killed, server and all: those of ours that nobody has locked."""
    if sys.platform == "win32":
        return  # what is in use could not be told from what is not
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        try:
            # The directory is everybody's: only what is ours is looked at, and no link followed.
            found = path.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
                continue
            lock_fd = os.open(path / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            if _take(lock_fd):
                shutil.rmtree(path, ignore_errors=True)
        finally:
            os.close(lock_fd)


def _take(lock_fd: int) -> bool:
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
