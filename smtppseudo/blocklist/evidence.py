"""Evidence: what in a session speaks against its peer, and which sessions are hits.

A host that takes no mail hears from honest senders too: each is told no, bounces its message, and stays away. What
tells the others apart is that they come again, or do what no honest sender does. So the default leaves out what an
honest sender may do often:

- `connected`: where nothing but 421 or 521 was said, some senders retry for days;
- `bounce`, and the `rcpt` and `data` behind it: bounces of mail whose sender was forged, and callouts that ask
  whether an address exists, come from honest servers, any number from each.
"""

import re
from collections.abc import Hashable
from typing import Final

VERBS: Final = (b"MAIL", b"RCPT", b"DATA", b"AUTH")

OPEN_MAX: Final = 100_000
LONGEST_SESSION_S: Final = 604_800  # as session_timeout_s allows
_FORGOTTEN_AT_ONCE: Final = 1_000

_BLANK: Final = r"(?: |\\x0[9a-d])"  # what separates words, as `events.escape` renders it
_VERB: Final = re.compile(rf"{_BLANK}*({b'|'.join(VERBS).decode()})(?:{_BLANK}|$)", re.IGNORECASE)
_NULL_PATH: Final = re.compile(rf"{_BLANK}*FROM:{_BLANK}*<>", re.IGNORECASE)


def evidence_of(event: str, data: str, reason: str, *, pregreet: bool) -> tuple[str, ...]:
    """Say what kinds of evidence an event is, by its name and its fields as the log has them."""
    if event == "command":
        found = _of_command(data)
        return (*found, "pregreet") if pregreet else found
    if event == "closed":
        return ("errors",) if reason == "errors" else ()
    return ("connected",) if event == "connected" else ()


def _of_command(data: str) -> tuple[str, ...]:
    match = _VERB.match(data)
    if match is None:
        return ()
    verb = match[1].lower()
    if verb == "mail" and _NULL_PATH.match(data, match.end(1)):
        return ("bounce",)
    return (verb,)


class Sessions:
    """Finds hits: a session is one at its first event that counts, and once only.

    A session is told by its `key`, from `connected` to `closed`; where the log lacks these, a key that counted more
    than a week ago is another session's. At most `open_max` sessions that counted and did not close are remembered.
    """

    __slots__ = ("_counted_at", "_kinds", "_open_max")

    def __init__(self, kinds: frozenset[str], open_max: int = OPEN_MAX) -> None:
        self._kinds = kinds
        self._open_max = open_max
        self._counted_at: dict[Hashable, int] = {}

    def is_hit(self, key: Hashable, event: str, evidence: tuple[str, ...], at: int) -> bool:
        """Take in an event of a session, in their order; `at` is in seconds since 1970."""
        if event == "connected":
            self._counted_at.pop(key, None)
        before = self._counted_at.pop(key, None) if event == "closed" else self._counted_at.get(key)
        if self._kinds.isdisjoint(evidence) or (before is not None and at - before <= LONGEST_SESSION_S):
            return False
        if event != "closed":
            self._remember(key, at)
        return True

    def _remember(self, key: Hashable, at: int) -> None:
        if len(self._counted_at) >= self._open_max:
            for oldest in list(self._counted_at)[:_FORGOTTEN_AT_ONCE]:
                del self._counted_at[oldest]
        self._counted_at[key] = at
