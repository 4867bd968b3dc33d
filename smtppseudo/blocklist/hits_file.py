"""Hits files: the latest hits of each source, for the next run of a server, and for lists from several servers.

    smtppseudo-hits 1 server=mx1,mx2 window_s=3196800 evidence=auth,errors,mail,pregreet times=32
    20.1.1.1 1795910400 1795914000
    2a01:4f8:1:2::/64 1795910411

It is ASCII text with LF. The first line has the version of the format and what the file covers; later versions may add
fields. Each other line has a source, and the times of its latest hits in seconds since 1970.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv6Address
from typing import Final, NamedTuple

from smtppseudo.blocklist.hits import Hit
from smtppseudo.blocklist.policy import DAY_S, Policy
from smtppseudo.net.addresses import source_number

MAGIC: Final = "smtppseudo-hits "
_HEADER: Final = re.compile(
    MAGIC + r"1 server=([\w.,-]*) window_s=(\d{1,18}) evidence=([a-z,]+) times=(\d{1,9})(?: .*)?", re.ASCII
)
_UNFIT: Final = re.compile(r"[^\w.,-]", re.ASCII)  # a log may name its server as it likes
_TIME_MAX: Final = 1 << 32
_SERVERS_MAX: Final = 100_000  # a security limit
_NAME_CHARS_MAX: Final = 256  # `server_name` has at most 64


class Coverage(NamedTuple):
    """What a hits file covers: its servers, and their hits of the last `window_s` seconds with this evidence.

    Of each source it has the latest hits, `times` at most. `servers` lacks servers without a name.
    """

    servers: tuple[str, ...]
    window_s: int
    evidence: frozenset[str]
    times: int

    def __str__(self) -> str:
        evidence = ",".join(sorted(self.evidence))
        return f"{self.times} hits of an address, of {self.window_s / DAY_S:.3g} days, by {evidence}"

    def suits(self, needed: "Coverage") -> bool:
        """Return whether lists for which `needed` is needed can be made of the file."""
        return self.evidence == needed.evidence and self.times >= needed.times and self.window_s >= needed.window_s


def coverage_of(policy: Policy, evidence: Iterable[str], servers: Iterable[str] = ()) -> Coverage:
    """Return what lists by this policy and evidence need."""
    return Coverage(tuple(servers), policy.span_s, frozenset(evidence), policy.kept_hits)


def render_hits(coverage: Coverage, hits: Iterable[tuple[str, Sequence[int]]]) -> Iterator[str]:
    """Render a hits file of sources and their times, line by line; a source without times is left out."""
    names, evidence = _UNFIT.sub("-", ",".join(coverage.servers)), ",".join(sorted(coverage.evidence))
    yield f"{MAGIC}1 server={names} window_s={coverage.window_s} evidence={evidence} times={coverage.times}\n"
    for source, its_times in hits:
        if its_times:
            yield f"{source} {' '.join(map(str, its_times))}\n"


def parse_coverage(line: str) -> Coverage:
    """Parse the first line of a hits file. Raises ValueError."""
    match = _HEADER.fullmatch(line.rstrip())
    if match is None:
        raise ValueError("a hits file of another version; upgrade this program")
    servers, window_s, evidence, times = match.groups()
    names = tuple(filter(None, servers.split(",")))
    return Coverage(names, int(window_s), frozenset(evidence.split(",")), int(times))


def parse_hits(line: str) -> tuple[str, list[int]]:
    """Parse another line of a hits file: a source and the times of its hits. Raises ValueError."""
    source, *words = line.split()
    number = source_number(source)
    # Readers of lists fail for host bits; the same source in two forms would be two.
    is_our_form = ":" not in source or source == f"{IPv6Address(number >> 64 << 64)}/64"
    times = [int(word) for word in words]
    if not is_our_form or not times or min(times) < 0 or max(times) >= _TIME_MAX:
        raise ValueError(f"not a source and times: {line!r}")
    return source, times


class HitsFiles:
    """Reads hits files for lists for which `needed` is needed.

    `servers` has for each name where its hits are: 0 = in logs, or the number of the file. Unless `allows_twice`, hits
    of a server in two places are an error. `damaged` counts the lines that are no hits.
    """

    def __init__(self, needed: Coverage, servers: dict[str, int], *, allows_twice: bool) -> None:
        self.damaged = 0
        self._needed = needed
        self._servers = servers
        self._allows_twice = allows_twice
        self._count = 0
        self._names = ""

    def hits_in(self, block: bytes) -> Iterator[Hit]:
        """Yield the hits in whole lines of a file. Raises ValueError if the file does not suit."""
        for line in block.decode("ascii", "replace").split("\n")[:-1]:
            if line.startswith(MAGIC):
                self._begin(parse_coverage(line))
                continue
            try:
                source, times = parse_hits(line)
            except ValueError:
                self.damaged += 1
            else:
                yield from (Hit(source, at, ("hits file",), self._names) for at in times)

    def note(self, server: str, place: int = 0) -> None:
        """Note where the hits of a server are. Raises ValueError."""
        if len(self._servers) > _SERVERS_MAX or len(server) > _NAME_CHARS_MAX:
            raise ValueError(
                f"it names more than {_SERVERS_MAX:,} servers, or one with over {_NAME_CHARS_MAX} characters"
            )
        if server and self._servers.setdefault(server, place) != place and not self._allows_twice:
            raise ValueError(f"hits of {server} were read before; they would count twice; --force counts them")

    def _begin(self, coverage: Coverage) -> None:
        if not coverage.suits(self._needed):
            raise ValueError(f"it has {coverage}; this list needs {self._needed}")
        self._count += 1
        self._names = ",".join(coverage.servers)
        for server in coverage.servers:
            self.note(server, self._count)
