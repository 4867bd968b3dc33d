"""Exit statuses, and errors that end a command with one line."""

from typing import Final

GOOD: Final = 0
FAILED: Final = 1
USAGE: Final = 2
UNREACHABLE: Final = 69  # sysexits(3): EX_UNAVAILABLE
DEFERRED: Final = 75  # EX_TEMPFAIL
NOT_AUTHORIZED: Final = 77  # EX_NOPERM
BAD_SETTINGS: Final = 78  # EX_CONFIG


class CommandError(Exception):
    """Ends a command: one line that says what is wrong and what to do, and the exit status."""

    def __init__(self, message: str, status: int = FAILED) -> None:
        super().__init__(message)
        self.status = status


def no_screen(error: ImportError, otherwise: str = "") -> CommandError:
    """Return the error for a screen that cannot be loaded: Textual is missing, or the screen itself."""
    if (error.name or "").startswith("smtppseudo."):
        missing = "the screen is not in this file; `pipx install .` in a clone of the repository brings it"
    else:
        missing = f"the screen needs Textual ({error}); `pip install 'textual>=8.2,<9'` brings it"
    return CommandError(missing + otherwise)
