"""The credentials file: what the state directory keeps of the magic word, enough to check it, not to log in."""

from collections.abc import Callable

from smtppseudo.files import CREDENTIALS_FILE, StateDir
from smtppseudo.monitor.credentials import Credentials
from smtppseudo.net.errnos import reason_of


class CredentialsFile:
    """Reads and writes the credentials. `on_trouble` is called when a file cannot be read."""

    def __init__(self, state_dir: StateDir, on_trouble: Callable[[str], None]) -> None:
        self._state_dir = state_dir
        self._on_trouble = on_trouble

    def read(self) -> Credentials | None:
        """Return the credentials; None if no magic word is set or the file cannot be used."""
        try:
            text = self._state_dir.read(CREDENTIALS_FILE)
            return None if text is None else Credentials.from_text(text)
        except (OSError, ValueError) as error:
            path = self._state_dir.path / CREDENTIALS_FILE
            self._on_trouble(f"{path}: {reason_of(error)}; `smtppseudo magic-word` sets the word again")
            return None

    def write(self, credentials: Credentials) -> None:
        """Replace the credentials. Raises OSError."""
        self._state_dir.write(CREDENTIALS_FILE, credentials.to_text() + "\n")
