"""Evidence: which events count against a caller, and which sessions are hits.

Honest senders connect, too: their mail is refused, they bounce it, and they do not return. Spammers connect again and
again, or do what no honest sender does. The default therefore excludes what an honest sender may do often:

- `connected`: after a 421 or 521 alone, some senders retry for days;
- `bounce`, and the `rcpt` and `data` that follow it: honest servers send bounces of mail with a forged sender, and
  callouts that test whether an address exists, in any number.
"""

import re
from collections.abc import Hashable
from typing import Final

VERBS: Final = ("MAIL", "RCPT", "DATA", "AUTH")

OPEN_MAX: Final = 100_000
LONGEST_SESSION_S: Final = 604_800  # as session_timeout_s allows
_FORGOTTEN_AT_ONCE: Final = 1_000

_BLANK: Final = r"(?: |\\x0[9a-d])"  # white space, as `events.escape` renders it
_TARGET: Final = rf"{_BLANK}+(?:/|https?://|\*)"  # of an HTTP request, whose method may be a command of mail
_VERB: Final = re.compile(rf"{_BLANK}*({'|'.join(VERBS)})(?!{_TARGET})(?:{_BLANK}|$)", re.IGNORECASE)
_NULL_PATH: Final = re.compile(rf"{_BLANK}*FROM:{_BLANK}*<>", re.IGNORECASE)


def evidence_of(event: str, data: str, reason: str, *, pregreet: bool) -> tuple[str, ...]:
    """Return the kinds of evidence in an event, by its name and its fields in the form of the log."""
    if event == "command":
        found: tuple[str, ...] = ()
        if match := _VERB.match(data):
            verb = match[1].lower()
            found = ("bounce" if verb == "mail" and _NULL_PATH.match(data, match.end(1)) else verb,)
        return (*found, "pregreet") if pregreet else found
    if event == "closed":
        return ("errors",) if reason == "errors" else ()
    return ("connected",) if event == "connected" else ()


class HitFinder:
    """Finds hits: a session becomes a hit at its first evidence, and only once.

    `key` identifies a session from `connected` to `closed`. If the log lacks these events, a key that became a hit
    more than a week ago belongs to another session. At most `open_max` hits that did not close are remembered.
    """

    def __init__(self, kinds: frozenset[str], open_max: int = OPEN_MAX) -> None:
        self._kinds = kinds
        self._open_max = open_max
        self._counted_at: dict[Hashable, int] = {}

    def is_hit(self, key: Hashable, event: str, evidence: tuple[str, ...], at: int) -> bool:
        """Return whether this event makes its session a hit. Events come in order; `at` is in seconds since 1970."""
        if event == "connected":
            self._counted_at.pop(key, None)
        before = self._counted_at.pop(key, None) if event == "closed" else self._counted_at.get(key)
        if self._kinds.isdisjoint(evidence) or (before is not None and at - before <= LONGEST_SESSION_S):
            return False
        if event != "closed":
            if len(self._counted_at) >= self._open_max:
                for oldest in list(self._counted_at)[:_FORGOTTEN_AT_ONCE]:
                    del self._counted_at[oldest]
            self._counted_at[key] = at
        return True
