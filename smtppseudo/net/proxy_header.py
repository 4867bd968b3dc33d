"""The header with which a proxy passes on the caller's address: HAProxy's PROXY protocol, versions 1 and 2."""

import re
import socket
import struct
from typing import Final, Literal, NamedTuple, TypeAlias

from smtppseudo.net.addresses import plain_address

V1_BYTES_MAX: Final = 107
V2_BYTES_MAX: Final = 4096

_V1_START: Final = b"PROXY "
_V1_FAMILIES: Final = {b"TCP4": socket.AF_INET, b"TCP6": socket.AF_INET6}
_V1_PORT: Final = re.compile(rb"0|[1-9][0-9]{0,4}")
_V2_START: Final = b"\r\n\r\n\0\r\nQUIT\n"
_V2_FIXED: Final = struct.Struct("!12xBBH")  # version and command; family and transport; the size of the rest
_V2_LOCAL: Final = 0x20
_V2_PROXY: Final = 0x21
_V2_OWN: Final = (None, struct.Struct(""))
_V2_KINDS: Final[dict[int, tuple[socket.AddressFamily | None, struct.Struct]]] = {
    0x11: (socket.AF_INET, struct.Struct("!4s4xH2x")),  # addresses and ports of source and destination
    0x21: (socket.AF_INET6, struct.Struct("!16s16xH2x")),
    **dict.fromkeys((0x00, 0x12, 0x22, 0x31, 0x32), _V2_OWN),  # unspecified, UDP, UNIX
}


class ProxyHeader(NamedTuple):
    """A whole header of `size` bytes. An empty `ip` means the address and port of the proxy itself."""

    size: int
    ip: str = ""
    port: int = 0


ParsedHeader: TypeAlias = ProxyHeader | Literal["incomplete", "malformed"]


def parse_proxy_header(data: bytes) -> ParsedHeader:
    """Parse the header that a connection begins with; `data` is everything that was received so far.

    The limits are security limits: a longer header is malformed. A caller that is not on TCP counts as the proxy
    itself, as LOCAL and UNKNOWN do.
    """
    if data.startswith(_V1_START):
        return _parse_v1(data)
    if data.startswith(_V2_START):
        return _parse_v2(data)
    return "incomplete" if _V1_START.startswith(data) or _V2_START.startswith(data) else "malformed"


def _parse_v1(data: bytes) -> ParsedHeader:
    end = data.find(b"\r\n", 0, V1_BYTES_MAX)
    if end < 0:
        return "incomplete" if len(data) < V1_BYTES_MAX else "malformed"
    match data[:end].split(b" "):
        case [_, b"UNKNOWN", *_]:
            return ProxyHeader(end + 2)
        case [_, b"TCP4" | b"TCP6" as name, source, destination, *ports] if len(ports) == 2:
            try:
                packed = [socket.inet_pton(_V1_FAMILIES[name], each.decode("ascii")) for each in (source, destination)]
            except (OSError, ValueError):  # ValueError: a NUL, or not ASCII
                return "malformed"
            if all(_V1_PORT.fullmatch(port) and int(port) < 1 << 16 for port in ports):
                return ProxyHeader(end + 2, _text(_V1_FAMILIES[name], packed[0]), int(ports[0]))
    return "malformed"


def _parse_v2(data: bytes) -> ParsedHeader:
    if len(data) < _V2_FIXED.size:
        return "incomplete"
    command, kind, rest_bytes = _V2_FIXED.unpack_from(data)
    size = _V2_FIXED.size + rest_bytes
    found = _V2_OWN if command == _V2_LOCAL else _V2_KINDS.get(kind) if command == _V2_PROXY else None
    if found is None or rest_bytes < found[1].size or size > V2_BYTES_MAX:
        return "malformed"
    if len(data) < size:
        return "incomplete"
    family, addresses = found
    if family is None:
        return ProxyHeader(size)
    packed, port = addresses.unpack_from(data, _V2_FIXED.size)  # what follows the addresses is skipped
    return ProxyHeader(size, _text(family, packed), port)


def _text(family: socket.AddressFamily, packed: bytes) -> str:
    """Return an address as accept(2) would have returned it."""
    return plain_address((socket.inet_ntop(family, packed),))
