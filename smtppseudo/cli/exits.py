"""Exit statuses, and the error that ends a command."""

import contextlib
from collections.abc import Iterator
from typing import Final

GOOD: Final = 0
FAILED: Final = 1
USAGE: Final = 2
UNREACHABLE: Final = 69  # sysexits(3): EX_UNAVAILABLE
DEFERRED: Final = 75  # EX_TEMPFAIL
NOT_AUTHORIZED: Final = 77  # EX_NOPERM
BAD_SETTINGS: Final = 78  # EX_CONFIG


class CommandError(Exception):
    """Ends the command: one line says what happened and what to do; `status` is the exit status."""

    def __init__(self, message: str, status: int = FAILED) -> None:
        super().__init__(message)
        self.status = status


@contextlib.contextmanager
def file_error(path: object, advice: str, status: int = FAILED) -> Iterator[None]:
    """Turn an OSError about a file into the error that ends the command."""
    try:
        yield
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}; {advice}", status) from None
