"""The PROXY protocol's header, against `ipaddress` and with random bytes."""

import ipaddress
import struct

from hypothesis import given
from hypothesis import strategies as st

from smtppseudo.net.proxy_header import V1_BYTES_MAX, V2_BYTES_MAX, ProxyHeader, parse_proxy_header

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"

mapped = st.ip_addresses(v=4).map(lambda ip: ipaddress.IPv6Address(f"::ffff:{ip}"))
addresses = st.ip_addresses() | mapped
ports = st.integers(0, 65_535)
starts = st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", b"PROXY UNKNOWN ", SIGNATURE, SIGNATURE + b"\x21\x11"])


def plain(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ip if isinstance(ip, ipaddress.IPv4Address) else ip.ipv4_mapped or ip


@given(addresses, ports, ports, st.binary(max_size=40))
def test_every_caller_is_found(
    ip: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int, other_port: int, rest: bytes
) -> None:
    family = f"TCP{ip.version}".encode()
    line = b"PROXY %s %s %s %d %d\r\n" % (family, str(ip).encode(), str(ip).encode(), port, other_port)
    body = ip.packed + ip.packed + struct.pack("!HH", port, other_port)
    binary = SIGNATURE + struct.pack("!BBH", 0x21, 0x11 if ip.version == 4 else 0x21, len(body)) + body
    for header in (line, binary):
        found = parse_proxy_header(header + rest)
        assert isinstance(found, ProxyHeader)
        assert (found.size, ipaddress.ip_address(found.ip), found.port) == (len(header), plain(ip), port)


@given(starts, st.binary(max_size=300))
def test_random_bytes_are_judged_once_and_for_all(start: bytes, rest: bytes) -> None:
    assert_judged_once(start + rest)


def assert_judged_once(data: bytes) -> None:
    """Check that a header byte by byte is incomplete, up to one verdict that more bytes do not change."""
    verdicts = [parse_proxy_header(data[:end]) for end in range(len(data) + 1)]
    decided = [verdict for verdict in verdicts if verdict != "incomplete"]
    undecided_bytes = len(verdicts) - len(decided)
    assert verdicts[:undecided_bytes] == ["incomplete"] * undecided_bytes
    assert len(set(decided)) <= 1
    for verdict in decided[:1]:
        if isinstance(verdict, ProxyHeader):
            assert undecided_bytes == verdict.size <= V2_BYTES_MAX
            ipaddress.ip_address(verdict.ip or "::")
    if data.startswith(b"PROXY ") and len(data) >= V1_BYTES_MAX:
        assert decided
