"""Formats of a block list, and its records in a DNS zone (RFC 5782). The same entries always give the same bytes.

Every format has one line for each entry, so that a list can be rendered in parts, compared with `diff`, and counted.
A renderer takes entries sorted by `order`, and the name of the host that made the list. Nothing else from outside is in
a list, so a caller cannot add an entry or a record.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from ipaddress import ip_address
from itertools import chain, groupby
from typing import Final, TypeAlias

from smtppseudo.blocklist.policy import Entry
from smtppseudo.net.addresses import source_number

# RFC 5782 section 5: every DNS list must contain these test entries. 127.0.0.1 and ::ffff:7f00:1 must not be listed.
TEST_ENTRY_4: Final = "127.0.0.2"
TEST_ENTRY_6: Final = "::ffff:7f00:2"

# 189 characters leave room for the 64 before them in the name of an IPv6 address.
_DOMAIN: Final = re.compile(r"(?=.{1,189}$)(?!.*(?:[.-]\.|\.-))[a-z0-9][a-z0-9.-]*(?<![.-])", re.IGNORECASE | re.ASCII)
_LINES_MAX: Final = 500  # in an update, whose records must fit into 64 KiB
_TEXT_MAX: Final = 255  # bytes in a string of a TXT record

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


def is_domain(name: str) -> bool:
    """Return whether a name can be the zone: labels of letters, digits and hyphens."""
    return _DOMAIN.fullmatch(name) is not None and max(map(len, name.split("."))) < 64


def zone_file(entries: Iterable[Entry], hostname: str, zone: str, serial: int) -> Iterator[str]:
    """Render a master file (RFC 1035 section 5). The host that made the list is its name server until edited."""
    name = hostname if is_domain(hostname) else "localhost"
    yield f"{zone}. 300 IN SOA {name}. hostmaster.{name}. {serial} 600 300 604800 300\n{zone}. 300 IN NS {name}.\n"
    for owner, data in _records(entries, hostname, zone):
        yield "".join(f"{owner} {each}\n" for each in data)


def nsupdate(entries: Sequence[Entry], hostname: str, zone: str, previous: Iterable[str]) -> Iterator[str]:
    """Render the difference to the `previous` sources. To apply a script twice, or to a part of them, does no harm."""
    known, listed = set(previous), {entry.source for entry in entries}
    gone = ((_owner(source, zone), ()) for source in sorted(known - listed))
    added = _records((entry for entry in entries if entry.source not in known), hostname, zone)
    yield f"zone {zone}\n"
    room = _LINES_MAX
    for owner, data in chain(gone, added):
        room -= 1 + len(data)
        if room < 0:
            yield "send\n"
            room = _LINES_MAX - 1 - len(data)
        yield f"update delete {owner}\n" + "".join(f"update add {owner} {each}\n" for each in data)
    yield "send\n"


def _records(entries: Iterable[Entry], hostname: str, zone: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each name with its records: the test entries, then the list."""
    text = f"{{}} called {UNFIT.sub('-', hostname)}, which takes no mail, on {{}}"
    reasons = ((entry.source, text.format(entry.source, rfc3339(entry.last)[:10])) for entry in entries)
    tests = ((source, "test entry (RFC 5782)") for source in (TEST_ENTRY_4, TEST_ENTRY_6))
    for source, reason in chain(tests, reasons):
        yield _owner(source, zone), ("300 IN A 127.0.0.2", f'300 IN TXT "{reason[:_TEXT_MAX]}"')


def _owner(source: str, zone: str) -> str:
    """Return the name of an address, or the wildcard of a /64 (RFC 5782 sections 2.1 and 2.4)."""
    name = ip_address(source.removesuffix("/64")).reverse_pointer.rsplit(".", 2)[0]  # without in-addr.arpa or ip6.arpa
    return f"{'*' + name[31:] if source.endswith('/64') else name}.{zone}."


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
