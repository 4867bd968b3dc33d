"""Standing: how the screen stands with its server, in words."""

from typing import NamedTuple

from smtppseudo.link.errors import (
    BadPeerError,
    CertificateError,
    LinkError,
    NeedsMagicWordError,
    NotAuthorizedError,
    NotPrivateError,
)
from smtppseudo.tui.feeder import Broken, Dialling, Opened


class Standing(NamedTuple):
    """Connected (`opened`), not (`error`), or on the way; `retry_at` is monotonic seconds, None: not by itself."""

    opened: Opened | None = None
    error: LinkError | None = None
    retry_at: float | None = None
    is_dialling: bool = True

    def follow(self, news: Opened | Broken | Dialling, now: float) -> "Standing":
        """Return how it stands after something happened."""
        if isinstance(news, Opened):
            return Standing(news, is_dialling=False)
        if isinstance(news, Dialling):
            return self._replace(is_dialling=True, opened=None)
        retry_at = None if news.retry_s is None else now + news.retry_s
        return Standing(None, news.error, retry_at, is_dialling=False)

    @property
    def needs_word(self) -> bool:
        """Whether a person is to be asked for the magic word."""
        if self.is_dialling or self.retry_at is not None:
            return False
        return isinstance(self.error, NeedsMagicWordError | NotAuthorizedError)

    def next_step(self, now: float) -> str:
        """Say what happens next, and what the operator can do."""
        if self.is_dialling:
            return "Connecting ..."
        if self.retry_at is not None:
            return f"Next try in {max(0, round(self.retry_at - now))} s; r tries now, s changes the address."
        if isinstance(self.error, NeedsMagicWordError | NotAuthorizedError):
            return "It is not tried again by itself: r asks for the magic word, s changes the address."
        if isinstance(self.error, CertificateError):
            return "It is not tried again by itself: r asks whether to trust it, s changes the address."
        if isinstance(self.error, NotPrivateError | BadPeerError):
            return "It is not tried again by itself: s changes the address and how it is reached, r tries again."
        return "r tries again, s changes the address."
