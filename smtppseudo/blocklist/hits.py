"""Hits in the logs: the sessions with evidence against their callers."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final, NamedTuple

from smtppseudo.blocklist.evidence import HitFinder, evidence_of
from smtppseudo.logread.scan import Row
from smtppseudo.smtp.client_limits import source_of

_PLACE_CHARS_MAX: Final = 256  # of address and server name; a security limit: sessions that did not close are kept


class Hit(NamedTuple):
    """A session with evidence: its source, and the time (seconds since 1970) and kinds of its first evidence.

    `server` is the name of the server, if it has one.
    """

    source: str
    at: int
    evidence: tuple[str, ...]
    server: str = ""


def hits_in(rows: Iterable[Row], sessions: HitFinder) -> Iterator[Hit]:
    """Yield the hits in rows of a log, in their order. `sessions` remembers the rows of earlier calls."""
    for time, event, session, ip, port, data, _, marks, reason, _, _, server in rows:
        if not session or len(ip) + len(server) > _PLACE_CHARS_MAX:  # no server of ours wrote that
            continue
        evidence = evidence_of(event, data, reason, pregreet="pregreet" in marks)
        if not evidence and event not in ("connected", "closed"):
            continue
        at = int(datetime.fromisoformat(time).timestamp())
        if sessions.is_hit((server, session, ip, port), event, evidence, at):
            try:
                yield Hit(source_of(ip), at, evidence, server)
            except ValueError:
                continue  # not an address: somebody edited the log
