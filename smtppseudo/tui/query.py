"""Queries: filters as the operator types them: words, `ip:192.0.2.0/24`, `event:closed`, `state:open`."""

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final, NamedTuple

from smtppseudo.events import NAMES

EVENTS: Final = tuple(NAMES.values())
STATES: Final = ("free", "open", "closed")


class QueryError(ValueError):
    """The text is not a query. The message names the allowed values."""


class Query(NamedTuple):
    """A filter; all its parts must match. Words match in upper and lower case."""

    words: tuple[str, ...] = ()
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    kinds: tuple[str, ...] = ()  # events, or states; one of them must match
    text: str = ""  # as it was typed

    @classmethod
    def parse(cls, text: str, key: str, allowed: tuple[str, ...]) -> "Query":
        """Parse a query. `key` (`event`, `state`) takes values from `allowed`, separated by commas.

        Raises QueryError.
        """
        words: list[str] = []
        networks: list[IPv4Network | IPv6Network] = []
        kinds: list[str] = []
        for word in text.split():
            name, colon, value = word.partition(":")
            if colon and name == "ip":
                networks.append(_network(value))
            elif colon and name == key:
                kinds += [_complete(key, kind, allowed) for kind in value.split(",") if kind]
            else:
                words.append(word.lower())
        return cls(tuple(words), tuple(networks), tuple(kinds), " ".join(text.split()))

    def __bool__(self) -> bool:
        """Return whether it excludes anything."""
        return bool(self.words or self.networks or self.kinds)

    def matches(self, kind: str, ip: str, text: str) -> bool:
        """Return whether a row matches; `text` is its text in lower case."""
        if self.kinds and kind not in self.kinds:
            return False
        if self.networks and not any(_contains(network, ip) for network in self.networks):
            return False
        return all(word in text for word in self.words)


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        raise QueryError(f"ip:{text} is neither an address nor a network") from None


def _complete(key: str, kind: str, allowed: tuple[str, ...]) -> str:
    found = [each for each in allowed if each.startswith(kind.lower())]
    if not found:
        raise QueryError(f"{key}:{kind} is not one of {', '.join(allowed)}")
    return found[0]


def _contains(network: IPv4Network | IPv6Network, ip: str) -> bool:
    try:
        return ip_address(ip) in network
    except ValueError:
        return False
