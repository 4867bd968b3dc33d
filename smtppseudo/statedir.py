"""The state directory: what outlives the process, and how local monitors find in."""

from pathlib import Path
from typing import Final

from smtppseudo.replacement import Replacement, aside_of

COOKIE: Final = "cookie"
CREDENTIALS: Final = "credentials"
MONITOR_PORT: Final = "monitor_port"
SETTINGS: Final = "settings.json"
HITS: Final = "blocklist_hits"
SECRET_MODE: Final = 0o600


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
