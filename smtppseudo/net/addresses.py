"""IP addresses of sockets and of this machine."""

import ipaddress
import re
from pathlib import Path
from typing import Any, Final

_LOCAL_4: Final = re.compile(r"\|-- (\S+)\n +/32 host LOCAL")


def is_loopback(address: str) -> bool:
    """Return whether a numeric address is a loopback address, also as IPv4-mapped."""
    ip = ipaddress.ip_address(address)
    mapped = getattr(ip, "ipv4_mapped", None)
    return bool((mapped or ip).is_loopback)


def plain_address(address: Any) -> str:
    """Return the IP address of a socket address; IPv4-mapped as IPv4."""
    ip: str = address[0]
    return ip[7:] if ip.startswith("::ffff:") and "." in ip else ip


def machine_addresses(proc_net: Path = Path("/proc/net")) -> list[str]:
    """Return the IP addresses of the interfaces in this network namespace; none on systems other than Linux."""
    four = _LOCAL_4.findall(_read(proc_net / "fib_trie"))
    six = [":".join(line[at : at + 4] for at in range(0, 32, 4)) for line in _read(proc_net / "if_inet6").splitlines()]
    return sorted({*four, *six})


def _read(path: Path) -> str:
    try:
        return path.read_text("ascii", "replace")
    except OSError:
        return ""
