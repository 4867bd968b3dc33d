"""Formats of a block list. The same entries always give the same bytes.

Every format has one line for each entry, so that a list can be rendered in parts, compared with `diff`, and counted.
A renderer takes entries sorted by `order`, and the name of the host that made the list.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from itertools import groupby
from typing import Final, TypeAlias

from smtppseudo.blocklist.policy import Entry
from smtppseudo.net.addresses import source_number

# RFC 5782 section 5: every DNS list must contain these test entries. 127.0.0.1 and ::ffff:7f00:1 must not be listed.
TEST_ENTRY_4: Final = "127.0.0.2"
TEST_ENTRY_6: Final = "::ffff:7f00:2"

Renderer: TypeAlias = Callable[[Iterable[Entry], str], Iterator[str]]


def _plain(entries: Iterable[Entry], hostname: str) -> Iterator[str]:  # noqa: ARG001 - every renderer has it
    return (f"{entry.source}\n" for entry in entries)


def _json(entries: Iterable[Entry], hostname: str) -> Iterator[str]:
    yield f'{{"hostname":"{UNFIT.sub("-", hostname)}","entries":['
    comma = "\n"
    for source, last, expires in entries:
        yield f'{comma}{{"source":"{source}","last":"{rfc3339(last)}","expires":"{rfc3339(expires)}"}}'
        comma = ",\n"
    yield "\n]}\n"


def _nft(entries: Iterable[Entry], hostname: str) -> Iterator[str]:
    """Render a script for `nft -f` that creates the sets, or replaces their elements in one transaction."""
    yield (
        f"# Block list of {UNFIT.sub('-', hostname)}\ntable inet smtppseudo {{\n"
        "    set blocklist4 {\n        type ipv4_addr\n        flags interval\n    }\n"
        "    set blocklist6 {\n        type ipv6_addr\n        flags interval\n    }\n"
        "}\nflush set inet smtppseudo blocklist4\nflush set inet smtppseudo blocklist6\n"
    )
    for is_6, family in groupby(entries, lambda entry: ":" in entry.source):
        yield f"add element inet smtppseudo blocklist{6 if is_6 else 4} {{\n"
        yield from (f"    {entry.source},\n" for entry in family)
        yield "}\n"


def _rbldnsd(entries: Iterable[Entry], hostname: str) -> Iterator[str]:
    """Render a file for rbldnsd's dataset type `combined`. The zone is named on rbldnsd's command line.

    rbldnsd replaces the serial 0 by the file's modification time.
    """
    name = UNFIT.sub("-", hostname) or "localhost"
    values = f"$= $ called {name}, which takes no mail; last: $=\n:127.0.0.2:\n"
    begin_6 = f"$DATASET ip6trie:ipv6 @\n{values}{TEST_ENTRY_6}/128 test\n"
    yield f"$NS 1h {name}\n$SOA 1h {name} hostmaster.{name} 0 10m 5m 7d 5m\n$TTL 5m\n"
    yield f"$DATASET ip4set:ipv4 @\n{values}{TEST_ENTRY_4} test\n"
    for entry in entries:
        if begin_6 and ":" in entry.source:
            yield begin_6
            begin_6 = ""
        yield f"{entry.source} {rfc3339(entry.last)[:10]}\n"
    yield begin_6


UNFIT: Final = re.compile(r"[^A-Za-z0-9._-]")  # the name of a machine may contain any character
RENDERERS: Final[dict[str, Renderer]] = {"plain": _plain, "rbldnsd": _rbldnsd, "nft": _nft, "json": _json}


def order(entry: Entry) -> tuple[int, int]:
    """Return the sort key of an entry: IPv4 first, then by address, a network before those within it.

    Every format needs this order.
    """
    ip, _, length = entry.source.partition("/")
    return source_number(ip), int(length or _bits(ip))  # what can be listed of IPv6 begins at 2000::


def without_covered(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Leave out the entries within another: nftables refuses elements that overlap. The entries must be in order."""
    last = -1
    for entry in entries:
        first, length = order(entry)
        if first > last:
            last = first | ((1 << _bits(entry.source) - length) - 1)
            yield entry


def _bits(source: str) -> int:
    return 128 if ":" in source else 32


_ENTRY: Final = re.compile(
    r'(?:[ \t]*,?(?:\{"source":")?|.*?\sTXT\s+"(?=\S+ called ))'
    r'((?:[0-9]{1,3}\.){3}[0-9]{1,3}|[0-9a-f:]++/64)(?![^\s",])'
)


def sources_in(lines: Iterable[str]) -> Iterator[str]:
    """Yield the sources of the entries of a list in any of the formats, or of a zone; other text has none."""
    for line in lines:
        if (match := _ENTRY.match(line)) and match[1] != TEST_ENTRY_4:
            try:
                source_number(match[1])
            except ValueError:
                continue  # somebody edited the list
            yield match[1]


def rfc3339(at: int) -> str:
    """Render seconds since 1970 as `2026-11-24T13:54:36Z`."""
    return datetime.fromtimestamp(at, UTC).isoformat()[:19] + "Z"
