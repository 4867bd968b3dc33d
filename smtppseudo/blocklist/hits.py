"""Hits in the logs: the sessions with evidence against their callers, and why these list a source, or do not."""

from bisect import insort
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Final, NamedTuple

from smtppseudo.blocklist.evidence import HitFinder, evidence_of
from smtppseudo.blocklist.formats import rfc3339
from smtppseudo.blocklist.policy import DAY_S, KEPT_HITS_MAX, Policy, entry_of
from smtppseudo.logread.scan import Row
from smtppseudo.smtp.client_limits import source_of

_PLACE_CHARS_MAX: Final = 256  # of address and server name; a security limit: sessions that did not close are kept
_SHOWN: Final = 5  # in an explanation


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


def explain(source: str, hits: Iterable[Hit], policy: Policy, never: str | None, now: int) -> tuple[str, bool]:
    """Return an explanation in lines, and whether the source is listed. `never` is why it may not be listed."""
    latest: list[Hit] = []
    count = 0
    for hit in hits:
        count += 1
        insort(latest, hit, key=attrgetter("at"))
        del latest[:-KEPT_HITS_MAX]
    times = [hit.at for hit in latest]
    entry = entry_of(policy, source, times, now)
    rule = f"{policy.min_hits} within {_span(policy.window_s)} list it, for {_span(policy.expire_s)} after the latest"
    if never is not None:
        lines = [f"{source} is never listed: {never}."]
    elif entry is not None:
        lines = [f"{source} is listed until {rfc3339(entry.expires)}."]
    else:
        lines = [f"{source} is not listed."]
        if (last := policy.listed_at(times)) is not None:
            lines.append(f"It was listed until {rfc3339(last + policy.expire_s)}.")
    lines.append(f"Hits in the logs: {count}; {rule if never is None else 'they do not count'}.")
    if count > _SHOWN:
        lines.append(f"The latest {_SHOWN}:")
    for hit in latest[-_SHOWN:]:
        place = f" ({hit.server})" if hit.server else ""
        lines.append(f"  {rfc3339(hit.at)} {', '.join(hit.evidence)}{place}")
    return "\n".join(lines) + "\n", entry is not None and never is None


def _span(seconds: int) -> str:
    return str(timedelta(seconds=seconds)) if seconds % DAY_S else f"{seconds // DAY_S} days"
