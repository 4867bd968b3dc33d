"""Blocked callers: the addresses and networks that an operator blocked, until they expire."""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Final, NamedTuple, TypeAlias

ENTRIES_MAX: Final = 10_000
LENGTHS_MAX: Final = 8
ALWAYS: Final = 253_402_300_799  # 9999-12-31T23:59:59Z, the last second that every format can hold
_WIDEST: Final = {4: 8, 6: 32}  # prefix lengths

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

    The limits are `ENTRIES_MAX`, and `LENGTHS_MAX` for each version. A method that raises BlockError changes nothing.
    """

    def __init__(self) -> None:
        # By version, then by the number of bits after the prefix and the prefix as a number.
        self._entries: dict[int, dict[tuple[int, int], Blocked]] = {4: {}, 6: {}}
        self._bits: dict[int, set[int]] = {4: set(), 6: set()}  # in use

    def __len__(self) -> int:
        return sum(map(len, self._entries.values()))

    def __iter__(self) -> Iterator[Blocked]:
        """Yield the entries: IPv4 first, then by address; a wider network comes before those within it."""
        for entries in self._entries.values():
            for key in sorted(entries, key=lambda key: (key[1] << key[0], -key[0])):
                yield entries[key]

    def find(self, ip: str, second: int) -> Blocked | None:
        """Return an entry that contains an address and has not expired at `second`; None if there is none."""
        version, number = (6, int(IPv6Address(ip.partition("%")[0]))) if ":" in ip else (4, int(IPv4Address(ip)))
        for bits in self._bits[version]:
            entry = self._entries[version].get((bits, number >> bits))
            if entry is not None and second < entry.until:
                return entry
        return None

    def put(self, entry: Blocked) -> Blocked | None:
        """Add an entry, or replace that of the same network; return the replaced one."""
        version, key = _place_of(entry.network)
        entries, bits = self._entries[version], {*self._bits[version], key[0]}
        if key not in entries and len(self) >= ENTRIES_MAX:
            raise BlockError(f"{ENTRIES_MAX} networks are blocked already; unblock some first")
        if len(bits) > LENGTHS_MAX:
            raise BlockError(
                f"{LENGTHS_MAX} prefix lengths of IPv{version} are in use already; block a network of one of these"
                " lengths, or unblock all of a length"
            )
        replaced, entries[key], self._bits[version] = entries.get(key), entry, bits
        return replaced

    def remove(self, network: str) -> Blocked:
        """Remove the entry of exactly this network, and return it."""
        version, key = _place_of(network)
        entry = self._entries[version].pop(key, None)
        if entry is None:
            raise BlockError(f"{network} is not blocked; `smtppseudo blocked` prints what is")
        self._bits[version] = {bits for bits, _ in self._entries[version]}
        return entry


def network_of(text: object) -> Network:
    """Parse an address or a network that may be blocked. Raises BlockError."""
    try:
        network = ip_network("" if not isinstance(text, str) or "%" in text else text, strict=False)
    except ValueError:
        raise BlockError(f"network must be an address or a network such as 192.0.2.0/24, not {text!a:.60}") from None
    if network.prefixlen < (widest := _WIDEST[network.version]):
        raise BlockError(f"{network} is too wide to be blocked: at most a /{widest}")
    return network


def name_of(network: Network) -> str:
    """Return an address without its prefix length, a network with it."""
    return str(network.network_address if network.num_addresses == 1 else network)


def _place_of(name: str) -> tuple[int, tuple[int, int]]:
    network = network_of(name)
    bits = network.max_prefixlen - network.prefixlen
    return network.version, (bits, int(network.network_address) >> bits)
