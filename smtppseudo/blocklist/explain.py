"""Explain: why a source is listed, or is not."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from smtppseudo.blocklist.formats import rfc3339
from smtppseudo.blocklist.hits import Hit
from smtppseudo.blocklist.policy import Policy, entry_of

_SHOWN: Final = 5


def explain(source: str, hits: Sequence[Hit], policy: Policy, never: str | None, now: int) -> tuple[str, bool]:
    """Return an explanation in lines, and whether the source is listed. `never` is why it may not be listed."""
    latest = sorted(hits, key=lambda hit: hit.at)
    times = [hit.at for hit in latest]
    entry = entry_of(policy, source, times, now)
    rule = f"{policy.min_hits} within {_span(policy.window_s)} list it, for {_span(policy.expire_s)} after the latest"
    is_listed = entry is not None and never is None
    if never is not None:
        lines = [f"{source} is never listed: {never}."]
    elif entry is not None:
        lines = [f"{source} is listed until {rfc3339(entry.expires)}."]
    else:
        lines = [f"{source} is not listed."]
        last = policy.listed_at(times)
        if last is not None:
            lines.append(f"It was listed until {rfc3339(last + policy.expire_s)}.")
    lines.append(f"Hits in the logs: {len(hits)}; {rule if never is None else 'they do not count'}.")
    if len(latest) > _SHOWN:
        lines.append(f"The latest {_SHOWN}:")
    for hit in latest[-_SHOWN:]:
        place = f" ({hit.server})" if hit.server else ""
        lines.append(f"  {rfc3339(hit.at)} {', '.join(hit.evidence)}{place}")
    return "\n".join(lines) + "\n", is_listed


def _span(seconds: int) -> str:
    days, rest = divmod(seconds, 86_400)
    return f"{days} days" if not rest else str(timedelta(seconds=seconds))
