"""Addresses: which of them lead to this machine alone."""

import ipaddress


def is_loopback(address: str) -> bool:
    """Say whether a numeric address is this machine's own loopback, an IPv4-mapped one included."""
    ip = ipaddress.ip_address(address)
    mapped = getattr(ip, "ipv4_mapped", None)
    return bool((mapped or ip).is_loopback)
