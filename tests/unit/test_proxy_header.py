"""The PROXY protocol's header: what its specification allows, and nothing else."""

import socket
import struct
from typing import Final

import pytest

from smtppseudo.net.proxy_header import V1_BYTES_MAX, V2_BYTES_MAX, ProxyHeader, parse_proxy_header

SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
LONG_6: Final = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
TCP4: Final = b"PROXY TCP4 192.0.2.7 192.0.2.25 50000 25\r\n"


def v2(command: int, kind: int, rest: bytes = b"", size: int | None = None) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, kind, len(rest) if size is None else size) + rest


def tcp(source: str, destination: str, port: int) -> bytes:
    """Return the addresses of a header of version 2."""
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    return b"".join(socket.inet_pton(family, each) for each in (source, destination)) + struct.pack("!HH", port, 25)


IPV4: Final = tcp("192.0.2.7", "192.0.2.25", 50_000)
IPV6: Final = tcp("2001:db8::7", "2001:db8::25", 50_000)


@pytest.mark.parametrize(
    ("data", "ip", "port"),
    [
        (TCP4, "192.0.2.7", 50_000),
        (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255", 65_535),
        (b"PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", "0.0.0.0", 0),
        (b"PROXY TCP6 2001:DB8:0:0:0:0:0:7 ::1 50000 25\r\n", "2001:db8::7", 50_000),
        (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 50000 25\r\n", "192.0.2.7", 50_000),
        (b"PROXY TCP6 ::ffff:c000:207 ::1 50000 25\r\n", "192.0.2.7", 50_000),
        (f"PROXY TCP6 {LONG_6} {LONG_6} 65535 65535\r\n".encode(), LONG_6, 65_535),
        (b"PROXY UNKNOWN\r\n", "", 0),
        (b"PROXY UNKNOWN 192.0.2.7 x \0\r\n", "", 0),
        (f"PROXY UNKNOWN {LONG_6} {LONG_6} 65535 65535\r\n".encode(), "", 0),
        (v2(0x21, 0x11, IPV4), "192.0.2.7", 50_000),
        (v2(0x21, 0x11, IPV4 + b"\x04\x00\x01x"), "192.0.2.7", 50_000),
        (v2(0x21, 0x21, IPV6), "2001:db8::7", 50_000),
        (v2(0x21, 0x21, tcp("::ffff:192.0.2.7", "::1", 1)), "192.0.2.7", 1),
        (v2(0x21, 0x11, IPV4.ljust(V2_BYTES_MAX - 16, b"x")), "192.0.2.7", 50_000),
        (v2(0x20, 0x00), "", 0),
        (v2(0x20, 0x11, IPV4), "", 0),
        (v2(0x20, 0xFF, b"anything"), "", 0),
        (v2(0x21, 0x00), "", 0),
        (v2(0x21, 0x00, b"anything"), "", 0),
        (v2(0x21, 0x12, IPV4), "", 0),
        (v2(0x21, 0x22, IPV6), "", 0),
        (v2(0x21, 0x31, bytes(216)), "", 0),
        (v2(0x21, 0x32, bytes(216)), "", 0),
    ],
)
def test_a_header_is_parsed_once_it_is_whole(data: bytes, ip: str, port: int) -> None:
    for end in range(len(data)):
        assert parse_proxy_header(data[:end]) == "incomplete"
    assert parse_proxy_header(data) == ProxyHeader(len(data), ip, port)
    assert parse_proxy_header(data + b"EHLO x\r\n" + data) == ProxyHeader(len(data), ip, port)


@pytest.mark.parametrize(
    "line",
    [
        "PROXY TCP4 192.0.2.7 192.0.2.25 50000",
        "PROXY TCP4 192.0.2.7 192.0.2.25 50000 25 ",
        "PROXY TCP4 192.0.2.7 192.0.2.25 50000 25 1",
        "PROXY TCP4  192.0.2.7 192.0.2.25 50000 25",
        "PROXY TCP4\t192.0.2.7 192.0.2.25 50000 25",
        "PROXY  TCP4 192.0.2.7 192.0.2.25 50000 25",
        "PROXY TCP4 192.0.2.07 192.0.2.25 50000 25",
        "PROXY TCP4 192.0.2 192.0.2.25 50000 25",
        "PROXY TCP4 192.0.2.256 192.0.2.25 50000 25",
        "PROXY TCP4 192.0.2.7\0 192.0.2.25 50000 25",
        "PROXY TCP4 192.0.2.7\n 192.0.2.25 50000 25",
        "PROXY TCP4 192.0.2.\u00b2 192.0.2.25 50000 25",
        "PROXY TCP4 192.0.2.7 x 50000 25",
        "PROXY TCP4 2001:db8::7 2001:db8::25 50000 25",
        "PROXY TCP6 192.0.2.7 192.0.2.25 50000 25",
        "PROXY TCP6 fe80::1%eth0 ::1 50000 25",
        "PROXY TCP6 1::2::3 ::1 50000 25",
        "PROXY TCP4 192.0.2.7 192.0.2.25 65536 25",
        "PROXY TCP4 192.0.2.7 192.0.2.25 50000 65536",
        "PROXY TCP4 192.0.2.7 192.0.2.25 050000 25",
        "PROXY TCP4 192.0.2.7 192.0.2.25 +5 25",
        "PROXY TCP4 192.0.2.7 192.0.2.25 5_0 25",
        "PROXY TCP4 192.0.2.7 192.0.2.25 \u0665 25",
        "PROXY TCP4 192.0.2.7 192.0.2.25  25",
        "PROXY UDP4 192.0.2.7 192.0.2.25 50000 25",
        "PROXY tcp4 192.0.2.7 192.0.2.25 50000 25",
        "PROXY TCP4",
        "PROXY UNKNOWNS",
        "PROXY ",
        "PROXY",
        "proxy UNKNOWN",
        "EHLO mx.example.org",
        " PROXY UNKNOWN",
    ],
)
def test_a_malformed_line_is_no_header(line: str) -> None:
    assert parse_proxy_header(line.encode() + b"\r\n") == "malformed"
    assert parse_proxy_header(line.encode() + b"\r\nEHLO x\r\n") == "malformed"


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\n\r", b"\r\r"])
def test_only_crlf_ends_a_line(end: bytes) -> None:
    data = TCP4[:-2] + end
    assert parse_proxy_header(data) == "incomplete"
    assert parse_proxy_header(data + b"EHLO x\r\n") == "malformed"


def test_a_line_has_at_most_107_bytes() -> None:
    line = b"PROXY UNKNOWN ".ljust(V1_BYTES_MAX - 2, b"x")
    assert parse_proxy_header(line + b"\r") == "incomplete"
    assert parse_proxy_header(line + b"\r\n") == ProxyHeader(V1_BYTES_MAX)
    assert parse_proxy_header(line + b"x\r") == "malformed"
    assert parse_proxy_header(line + b"x\r\n") == "malformed"
    assert parse_proxy_header(line * 2) == "malformed"


@pytest.mark.parametrize(
    "data",
    [
        v2(0x22, 0x11, IPV4),  # a command that does not exist
        v2(0x2F, 0x11, IPV4),
        v2(0x11, 0x11, IPV4),  # another version
        v2(0x31, 0x11, IPV4),
        v2(0x21, 0x10, IPV4),
        v2(0x21, 0x13, IPV4),
        v2(0x21, 0x01, IPV4),
        v2(0x21, 0x41, IPV4),
        v2(0x21, 0x11, IPV4[:-1]),  # too short for its addresses
        v2(0x21, 0x21, IPV6[:-1]),
        v2(0x21, 0x21, IPV4),
        v2(0x21, 0x11),
        v2(0x21, 0x11, IPV4, V2_BYTES_MAX - 15),  # too long
        v2(0x20, 0x00, b"", 0xFFFF),
    ],
)
def test_a_malformed_header_of_version_2_is_known_by_its_first_16_bytes(data: bytes) -> None:
    assert parse_proxy_header(data[:15]) == "incomplete"
    assert parse_proxy_header(data[:16]) == "malformed"
    assert parse_proxy_header(data) == "malformed"


@pytest.mark.parametrize("data", [b"E", b"\n", b"PROXi", b"\r\r", SIGNATURE[:-1] + b"\r"])
def test_other_bytes_are_known_at_once(data: bytes) -> None:
    assert parse_proxy_header(data) == "malformed"
