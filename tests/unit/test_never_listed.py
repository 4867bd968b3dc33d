"""The networks that are never listed, and why."""

from pathlib import Path

import pytest

from smtppseudo.blocklist.never_listed import NeverListed, read_never_listed
from smtppseudo.config.settings import SettingsError
from smtppseudo.net.addresses import machine_addresses


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("127.0.0.2", "127.0.0.0/8 is special-purpose: loopback"),
        ("10.255.255.255", "10.0.0.0/8 is special-purpose: private"),
        ("169.254.1.1", "169.254.0.0/16 is special-purpose: link-local"),
        ("192.0.2.7", "192.0.2.0/24 is special-purpose: documentation"),
        ("224.0.0.1", "224.0.0.0/4 is special-purpose: multicast"),
        ("0.0.0.0", "0.0.0.0/8 is special-purpose: this network"),
        ("255.255.255.255", "240.0.0.0/4 is special-purpose: reserved"),
        ("fe80::/64", "fe80::/10 is special-purpose: link-local"),
        ("fd00:1:2:3::/64", "fc00::/7 is special-purpose: private"),
        ("::/64", "::/3 is special-purpose: loopback, unspecified, or IPv4 in IPv6"),
        ("2001:db8:1:2::/64", "2001:db8::/32 is special-purpose: documentation"),
        ("", "it is not an address"),
        ("mx.example.org", "it is not an address"),
        ("1.2.3.4/5", "it is not an address"),
    ],
)
def test_special_purpose_networks_have_a_reason(source: str, why: str) -> None:
    assert NeverListed().reason(source) == why


@pytest.mark.parametrize("source", ["1.1.1.1", "11.0.0.0", "126.255.255.255", "223.255.255.255", "2a01:4f8::/64"])
def test_other_addresses_may_be_listed(source: str) -> None:
    assert NeverListed().reason(source) is None


def test_named_networks_and_files_are_never_listed(tmp_path: Path) -> None:
    file = tmp_path / "never"
    file.write_text("# ours\n\n20.1.0.0/16   # the office\n2a01:4f8:1:2::25\n21.2.2.2/8\n")
    never = read_never_listed(["9.9.9.9", "2a02::/32", str(file)], ["8.8.8.8", "2a03::1%eth0"])
    assert never.reason("9.9.9.9") == "9.9.9.9 is in blocklist_never or --never"
    assert never.reason("9.9.9.8") is None
    assert never.reason("2a02:0:5::/64") == "2a02::/32 is in blocklist_never or --never"
    assert never.reason("20.1.200.3") == f"20.1.0.0/16 is in {file}, line 3"
    assert never.reason("2a01:4f8:1:2::/64") == f"2a01:4f8:1:2::25 is in {file}, line 4"
    assert never.reason("2a01:4f8:1:3::/64") is None
    assert never.reason("21.9.9.9") == f"21.2.2.2/8 is in {file}, line 5"
    assert never.reason("8.8.8.8") == "8.8.8.8 is an address of this machine"
    assert never.reason("2a03::/64") == "2a03::1%eth0 is an address of this machine"


def test_unusable_file_is_an_error(tmp_path: Path) -> None:
    """A typing error must not cause a protected network to be listed."""
    with pytest.raises(SettingsError, match=r"^/nowhere/never: No such file or directory; blocklist_never "):
        read_never_listed(["/nowhere/never"], [])
    file = tmp_path / "never"
    file.write_text("9.9.9.9\nmx.example.org\n")
    with pytest.raises(SettingsError, match=r"never, line 2: 'mx\.example\.org' is neither an address nor a network$"):
        read_never_listed([str(file)], [])


def test_addresses_of_the_machine_are_found(tmp_path: Path) -> None:
    (tmp_path / "fib_trie").write_text(
        "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n"
        "     +-- 192.0.2.0/24 2 0 2\n        |-- 192.0.2.0\n           /24 link UNICAST\n"
        "        |-- 192.0.2.2\n           /32 link UNICAST\n           /32 host LOCAL\n"
        "        |-- 192.0.2.255\n           /32 link BROADCAST\n"
    )
    (tmp_path / "if_inet6").write_text("20010db8000000000000000000000001 02 40 00 80     eth0\n")
    assert machine_addresses(tmp_path) == ["192.0.2.2", "2001:0db8:0000:0000:0000:0000:0000:0001"]
    assert machine_addresses(tmp_path / "none") == []
    assert machine_addresses(tmp_path / "none", tmp_path) == machine_addresses(tmp_path)
    assert read_never_listed([], machine_addresses()).reason("9.9.9.9") is None
