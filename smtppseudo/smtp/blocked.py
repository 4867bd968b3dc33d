"""Blocked callers: the addresses and networks that an operator blocked, until they expire."""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Final, NamedTuple, TypeAlias

ENTRIES_MAX: Final = 10_000
LENGTHS_MAX: Final = 8
ALWAYS: Final = 253_402_300_799  # 9999-12-31T23:59:59Z, the last second that every format can hold
_WIDEST: Final = {4: 8, 6: 32}  # prefix lengths
_BITS: Final = {4: 32, 6: 128}

Network: TypeAlias = IPv4Network | IPv6Network


class BlockError(ValueError):
    """Something cannot be blocked or unblocked; the text says why, or what is allowed."""


class Blocked(NamedTuple):
    """A blocked address or network, in the form of `name_of`. Times are in seconds since 1970."""

    network: str
    since: int
    until: int
    reason: str = ""


class BlockTable:
    """Blocked networks. A caller's address costs one look-up for each prefix length that its IP version has in use.

    Both maxima are security limits; `lengths_max` is for each version. A method that raises BlockError changes nothing.
    """

    def __init__(self, entries_max: int = ENTRIES_MAX, lengths_max: int = LENGTHS_MAX) -> None:
        self._entries_max = entries_max
        self._lengths_max = lengths_max
        # By version, then by the number of bits after the prefix, then by the prefix as a number.
        self._by_version: dict[int, dict[int, dict[int, Blocked]]] = {4: {}, 6: {}}

    def __len__(self) -> int:
        return sum(len(entries) for by_bits in self._by_version.values() for entries in by_bits.values())

    def __iter__(self) -> Iterator[Blocked]:
        """Yield the entries: IPv4 first, then by address; a wider network comes before those within it."""
        for by_bits in self._by_version.values():
            places = [(prefix << bits, -bits) for bits, entries in by_bits.items() for prefix in entries]
            yield from [by_bits[-bits][first >> -bits] for first, bits in sorted(places)]

    def find(self, ip: str, second: int) -> Blocked | None:
        """Return an entry that contains an address and has not expired at `second`; None if there is none."""
        version, number = (6, int(IPv6Address(ip.partition("%")[0]))) if ":" in ip else (4, int(IPv4Address(ip)))
        for bits, entries in self._by_version[version].items():
            entry = entries.get(number >> bits)
            if entry is not None and second < entry.until:
                return entry
        return None

    def put(self, entry: Blocked) -> Blocked | None:
        """Add an entry, or replace that of the same network; return the replaced one."""
        version, bits, prefix = _key_of(entry.network)
        by_bits = self._by_version[version]
        before = by_bits.get(bits, {}).get(prefix)
        if before is None and len(self) >= self._entries_max:
            raise BlockError(f"{self._entries_max} networks are blocked already; unblock some first")
        if bits not in by_bits and len(by_bits) >= self._lengths_max:
            used = ", ".join([f"/{_BITS[version] - each}" for each in sorted(by_bits)])
            raise BlockError(f"{self._lengths_max} prefix lengths of IPv{version} are in use, no other can be: {used}")
        by_bits.setdefault(bits, {})[prefix] = entry
        return before

    def remove(self, network: str) -> Blocked:
        """Remove the entry of exactly this network, and return it."""
        version, bits, prefix = _key_of(network)
        by_bits = self._by_version[version]
        entry = by_bits.get(bits, {}).pop(prefix, None)
        if entry is None:
            raise BlockError(f"{network} is not blocked; `smtppseudo blocked` prints what is")
        if not by_bits[bits]:
            del by_bits[bits]
        return entry


def network_of(text: object) -> Network:
    """Parse an address or a network that may be blocked; IPv4-mapped becomes IPv4. Raises BlockError."""
    try:
        network = ip_network("" if not isinstance(text, str) or "%" in text else text, strict=False)
    except ValueError:
        raise BlockError(f"network must be an address or a network such as 192.0.2.0/24, not {text!a:.60}") from None
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped and network.prefixlen >= _BITS[6] - _BITS[4]:
        network = IPv4Network((int(mapped), network.prefixlen - _BITS[6] + _BITS[4]))
    widest = _WIDEST[network.version]
    if network.prefixlen < widest:
        raise BlockError(f"{network} is too wide to be blocked: at most a /{widest}")
    return network


def name_of(network: Network) -> str:
    """Return an address without its prefix length, a network with it."""
    return str(network.network_address if network.num_addresses == 1 else network)


def _key_of(name: str) -> tuple[int, int, int]:
    network = network_of(name)
    bits = _BITS[network.version] - network.prefixlen
    return network.version, bits, int(network.network_address) >> bits
