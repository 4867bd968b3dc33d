"""IP addresses of sockets and of this machine."""

import contextlib
import ipaddress
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

HOST_NET: Final = Path("/run/smtppseudo-net")
"""Where a service with a network namespace of its own sees the tables of the machine's network."""


def is_loopback(address: str) -> bool:
    """Return whether a numeric address is a loopback address, also as IPv4-mapped."""
    ip = ipaddress.ip_address(address)
    mapped = getattr(ip, "ipv4_mapped", None)
    return bool((mapped or ip).is_loopback)


def set_port_options(sock: socket.socket) -> None:
    """Set the options of a socket before it is bound to a port. Raises OSError.

    A restarted server can bind the port at once, and no other process can share it. An IPv6 socket leaves IPv4 alone.
    """
    if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):  # Windows, where SO_REUSEADDR would let two servers share the port
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
    else:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)


def socket_address(ip: str, port: int) -> Any:
    """Return what bind() takes. Of `fe80::1%eth0` it would ignore the interface. Raises OSError if there is none."""
    return socket.getaddrinfo(ip, port, flags=socket.AI_NUMERICHOST)[0][4] if "%" in ip else (ip, port)


def includes(one: str, other: str) -> bool:
    """Return whether a socket that listens on `one` also listens on `other`."""
    ip, second = ipaddress.ip_address(one), ipaddress.ip_address(other)
    return ip == second or (ip.is_unspecified and ip.version == second.version)


def plain_address(address: Any) -> str:
    """Return the IP address of a socket address; IPv4-mapped as IPv4."""
    ip: str = address[0]
    return ip[7:] if ip.startswith("::ffff:") and "." in ip else ip


def address_literal(ip: str) -> str:
    """Return an address in place of a host name (RFC 5321 section 4.1.3)."""
    return f"[IPv6:{ip.partition('%')[0]}]" if ":" in ip else f"[{ip}]"


def source_number(source: str) -> int:
    """Return the number of an IPv4 address, or of the first address of an IPv6 /64. Raises ValueError."""
    try:
        if ":" in source:
            return int.from_bytes(socket.inet_pton(socket.AF_INET6, source.removesuffix("/64")), "big")
        return int.from_bytes(socket.inet_pton(socket.AF_INET, source), "big")
    except OSError:
        raise ValueError(f"{source!r} is not an address") from None


def machine_addresses(*places: Path) -> list[str]:
    """Return the IP addresses of the machine's interfaces, by the tables in `places`; none on systems but Linux."""
    found: set[str] = set()
    for place in places or (Path("/proc/net"), HOST_NET):
        address = ""
        for line in _lines(place / "fib_trie"):
            if "|--" in line:
                address = line.split()[-1]
            elif "/32 host LOCAL" in line:
                found.add(address)
        found.update(":".join(line[at : at + 4] for at in range(0, 32, 4)) for line in _lines(place / "if_inet6"))
    return sorted(found)


def _lines(path: Path) -> Iterator[str]:
    """Yield the lines of a file, none if it cannot be read. A router's table may have a hundred megabytes."""
    with contextlib.suppress(OSError), path.open(encoding="ascii", errors="replace") as file:
        yield from file
