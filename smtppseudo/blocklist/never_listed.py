"""The networks that are never listed."""

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Final, TypeAlias

from smtppseudo.config.settings import SettingsError
from smtppseudo.net.addresses import source_number

Network: TypeAlias = IPv4Network | IPv6Network

# The IANA special-purpose address registries (RFC 6890), and addresses that are not unicast. The list is here because
# `ipaddress.is_global` differs between versions of Python.
_SPECIAL: Final = {
    "this network": "0.0.0.0/8",
    "private": "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 fc00::/7",
    "shared between carriers and their customers": "100.64.0.0/10",
    "loopback": "127.0.0.0/8",
    "link-local": "169.254.0.0/16 fe80::/10",
    "IETF protocol assignments": "192.0.0.0/24",
    "documentation": "192.0.2.0/24 198.51.100.0/24 203.0.113.0/24 2001:db8::/32 3fff::/20",
    "AS112": "192.31.196.0/24 192.175.48.0/24 2620:4f:8000::/48",
    "AMT": "192.52.193.0/24",
    "6to4 relays": "192.88.99.0/24",
    "benchmarking": "198.18.0.0/15",
    "multicast": "224.0.0.0/4 ff00::/8",
    "IETF protocol assignments, Teredo": "2001::/23",
    "6to4": "2002::/16",
    # With the last two, all the rest except 2000::/3, the only block from which IANA allocates
    "loopback, unspecified, or IPv4 in IPv6": "::/3",
    "reserved": "240.0.0.0/4 4000::/2 8000::/1",
}


class NeverListed:
    """Networks that are never listed, each with the reason. It always contains the special-purpose networks.

    A source is an IPv4 address or an IPv6 /64. A network smaller than a /64 covers the whole /64.
    """

    def __init__(self, special: Mapping[str, str] = _SPECIAL) -> None:
        # For each mask its networks, as numbers: the cost of a lookup does not grow with the number of networks.
        self._by_mask: dict[int, dict[int, dict[int, str]]] = {4: {}, 6: {}}
        for reason, networks in special.items():
            for network in networks.split():
                self.add(ip_network(network), f"{network} is special-purpose: {reason}")

    def add(self, network: Network, reason: str) -> None:
        """Add a network and why it is never listed."""
        if network.version == 6 and network.prefixlen > 64:
            network = network.supernet(new_prefix=64)
        networks = self._by_mask[network.version].setdefault(int(network.netmask), {})
        networks.setdefault(int(network.network_address), reason)

    def add_own(self, ip: str) -> None:
        """Add an address of this machine, with or without an interface (`fe80::1%eth0`)."""
        self.add(ip_network(ip.partition("%")[0]), f"{ip} is an address of this machine")

    def reason(self, source: str) -> str | None:
        """Return why a source is never listed; None if it may be listed. Text that is no address is never listed."""
        try:
            number = source_number(source)
        except ValueError:
            return "it is not an address"
        for mask, networks in self._by_mask[6 if ":" in source else 4].items():
            if (reason := networks.get(number & mask)) is not None:
                return reason
        return None

    def overlap(self, network: Network) -> str | None:
        """Return why a part of a network is never listed; None if all of it may be listed."""
        first, own_mask = int(network.network_address), int(network.netmask)
        for mask, networks in self._by_mask[network.version].items():
            if mask <= own_mask:
                reason = networks.get(first & mask)
            else:
                reason = next((text for number, text in networks.items() if number & own_mask == first), None)
            if reason is not None:
                return reason
        return None


def read_never_listed(named: Iterable[str], own: Iterable[str], special: Mapping[str, str] = _SPECIAL) -> NeverListed:
    """Return the networks in `named`, this machine's `own` addresses, and `special` networks by their reasons.

    `named` has addresses, networks, and paths of files with one address or network a line and comments after
    `#`. Raises SettingsError for a file that cannot be read or contains anything else: a typing error must not cause a
    protected network to be listed.
    """
    never = NeverListed(special)
    for ip in own:
        never.add_own(ip)
    for text in named:
        try:
            never.add(ip_network(text, strict=False), f"{text} is in blocklist_never or --never")
        except ValueError:
            _add_file(never, Path(text))
    return never


def _add_file(never: NeverListed, path: Path) -> None:
    try:
        lines = path.read_bytes().decode("utf-8-sig", "replace").splitlines()
    except OSError as error:
        raise SettingsError(
            f"{path}: {error.strerror}; blocklist_never and --never allow addresses, networks, and files of these"
        ) from None
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        try:
            if text:
                never.add(ip_network(text, strict=False), f"{text} is in {path}, line {number}")
        except ValueError:
            raise SettingsError(f"{path}, line {number}: {text!r} is neither an address nor a network") from None
