"""Exit statuses, and the error that ends a command."""

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
