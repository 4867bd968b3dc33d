"""The state of the link to the server, and what the operator can do about it."""

from typing import NamedTuple

from smtppseudo.link.errors import (
    BadPeerError,
    CertificateError,
    LinkError,
    NeedsMagicWordError,
    NotAuthorizedError,
    NotPrivateError,
)
from smtppseudo.tui.feeder import Connecting, LinkDown, LinkUp


class LinkStatus(NamedTuple):
    """Connected (`up`), failed (`error`) or connecting. `retry_at` is in monotonic seconds; None: no automatic try.

    `seen` is the last login, also after it was lost.
    """

    up: LinkUp | None = None
    error: LinkError | None = None
    retry_at: float | None = None
    is_connecting: bool = True
    seen: LinkUp | None = None

    def follow(self, update: LinkUp | LinkDown | Connecting, now: float) -> "LinkStatus":
        """Return the status after an update."""
        if isinstance(update, LinkUp):
            return LinkStatus(update, is_connecting=False, seen=update)
        if isinstance(update, Connecting):
            return self._replace(is_connecting=True, up=None)
        retry_at = None if update.retry_s is None else now + update.retry_s
        return LinkStatus(None, update.error, retry_at, is_connecting=False, seen=self.seen)

    @property
    def needs_word(self) -> bool:
        """Whether the operator must enter the magic word."""
        if self.is_connecting or self.retry_at is not None:
            return False
        return isinstance(self.error, NeedsMagicWordError | NotAuthorizedError)

    def next_step(self, now: float) -> str:
        """Return a sentence: what happens next, and what the operator can do."""
        if self.is_connecting:
            return "Connecting ..."
        if self.retry_at is not None:
            return f"Next try in {max(0, round(self.retry_at - now))} s; r tries now, s changes the address."
        if isinstance(self.error, NeedsMagicWordError | NotAuthorizedError):
            return "There is no automatic retry: r asks for the magic word, s changes the address."
        if isinstance(self.error, CertificateError):
            return "There is no automatic retry: r asks whether to trust it, s changes the address."
        if isinstance(self.error, NotPrivateError | BadPeerError):
            return "There is no automatic retry: s changes the address or the encryption, r tries again."
        return "r tries again, s changes the address."
