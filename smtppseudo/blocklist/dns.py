"""A block list as records of a DNS zone (RFC 5782): a master file, or a script for nsupdate(1).

Both contain nothing from outside but addresses and the name of the host, so a caller cannot add a record.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_address
from itertools import chain
from typing import Final

from smtppseudo.blocklist.formats import TEST_ENTRY_4, TEST_ENTRY_6, UNFIT, rfc3339
from smtppseudo.blocklist.policy import Entry

# 189 characters leave room for the 64 before them in the name of an IPv6 address.
_DOMAIN: Final = re.compile(r"(?=.{1,189}$)(?!.*(?:[.-]\.|\.-))[a-z0-9][a-z0-9.-]*(?<![.-])", re.IGNORECASE | re.ASCII)
_LINES_MAX: Final = 500  # in an update, whose records must fit into 64 KiB
_TEXT_MAX: Final = 255  # bytes in a string of a TXT record


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
    name = (
        ip_address(source.removesuffix("/64")).reverse_pointer.removesuffix(".in-addr.arpa").removesuffix(".ip6.arpa")
    )
    return f"{'*' + name[31:] if source.endswith('/64') else name}.{zone}."
