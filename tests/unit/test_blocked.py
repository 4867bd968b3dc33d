"""The table of blocked callers: what may stand in it, and who is found."""

from argparse import Namespace
from contextlib import nullcontext
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtppseudo.cli import block
from smtppseudo.smtp.blocked import Blocked, BlockError, BlockTable, name_of, network_of

NEVER = 1 << 40


def table_of(*networks: str, until: int = NEVER) -> BlockTable:
    table = BlockTable()
    for network in networks:
        table.put(Blocked(network, 0, until))
    return table


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("198.51.100.7", "198.51.100.7"),
        ("198.51.100.7/32", "198.51.100.7"),
        ("198.51.100.7/24", "198.51.100.0/24"),
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("2001:DB8::7/128", "2001:db8::7"),
        ("2001:db8::/32", "2001:db8::/32"),
    ],
)
def test_the_name_of_a_network_has_one_form(text: str, name: str) -> None:
    assert name_of(network_of(text)) == name
    assert name_of(network_of(name)) == name


@pytest.mark.parametrize(
    "text",
    [
        None,
        7,
        7.5,
        [],
        "",
        "mx.example.org",
        "198.51.100.7/33",
        "fe80::1%eth0",
        "1.2.3.4\n",
        "010.0.0.1",
        "\ud800",
        "0.0.0.0/0",
        "8.0.0.0/7",
        "::/0",
        "2001:d00::/31",
    ],
)
def test_other_values_and_wide_networks_cannot_be_blocked(text: object) -> None:
    with pytest.raises(BlockError, match=r"is too wide to be blocked|must be an address or a network"):
        network_of(text)


ADDRESSES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str)
NETWORKS = st.one_of(
    st.builds(lambda ip, length: f"{ip}/{length}", st.ip_addresses(v=4), st.sampled_from([8, 9, 16, 24, 32])),
    st.builds(lambda ip, length: f"{ip}/{length}", st.ip_addresses(v=6), st.sampled_from([32, 48, 64, 127, 128])),
).map(lambda text: name_of(network_of(text)))


@given(st.lists(NETWORKS, max_size=20), st.lists(ADDRESSES, max_size=5), st.data())
def test_exactly_the_addresses_in_a_network_are_found(
    networks: list[str], others: list[str], data: st.DataObject
) -> None:
    table = table_of(*networks)
    inside = [ip_network(network)[data.draw(st.sampled_from([0, -1]))] for network in networks]
    for ip in (*others, *map(str, inside)):
        found = table.find(ip, 0)
        assert (found is not None) == any(ip_address(ip) in ip_network(network) for network in networks)
        assert found is None or ip_address(ip) in ip_network(found.network)
    parsed = [ip_network(entry.network) for entry in table]
    assert parsed == sorted(set(map(ip_network, networks)), key=lambda each: (each.version, each))
    for network in set(networks):
        assert table.remove(network).network == network
    assert len(table) == 0
    assert not any(table.find(ip, 0) for ip in others)


def test_an_interface_is_no_part_of_an_address() -> None:
    assert table_of("fe80::1").find("fe80::1%eth0", 0)


def test_an_expired_entry_is_not_found() -> None:
    table = table_of("198.51.100.0/24", until=10)
    assert table.find("198.51.100.7", 9)
    assert table.find("198.51.100.7", 10) is None


def test_a_ninth_prefix_length_is_refused_until_one_is_free() -> None:
    table = table_of(*[f"20.0.0.0/{length}" for length in range(8, 16)])
    with pytest.raises(BlockError, match=r"^8 prefix lengths of IPv4 are in use already; "):
        table.put(Blocked("20.0.0.1", 0, NEVER))
    assert len(table) == 8
    table.put(Blocked("2001:db8::7", 0, NEVER))  # the other version has its own
    table.put(Blocked("21.0.0.0/8", 0, NEVER))
    table.remove("20.0.0.0/9")
    table.put(Blocked("20.0.0.1", 0, NEVER))
    assert table.find("20.0.0.1", 0)


def test_a_full_table_takes_only_what_it_has() -> None:
    table = table_of(*[f"20.0.{n // 200}.{n % 200}" for n in range(10_000)])
    with pytest.raises(BlockError, match=r"^10000 networks are blocked already; unblock some first$"):
        table.put(Blocked("21.0.0.3", 0, NEVER))
    before = table.put(Blocked("20.0.0.2", 5, 50, "again"))
    assert before == Blocked("20.0.0.2", 0, NEVER)
    assert [entry.reason for entry in table if entry.reason] == ["again"]


def test_only_exactly_the_blocked_network_is_removed() -> None:
    table = table_of("198.51.100.0/24")
    with pytest.raises(BlockError, match=r"^198\.51\.100\.7 is not blocked; `smtppseudo blocked` prints what is$"):
        table.remove("198.51.100.7")


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("end", [[], None, "x", {}])
def test_a_hostile_server_cannot_send_terminal_commands(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], end: object, *, as_json: bool
) -> None:
    evil = "\x1b]0;owned\x07\n\u202e\u00fc\udc80"
    pages = [[{"network": evil, "until": [evil], "reason": {evil: evil}}, evil, None], [evil], end]

    class Link:
        def request(self, op: str, **fields: object) -> dict[str, object]:
            return {"blocked": pages.pop(0), "left": evil}

    monkeypatch.setattr("smtppseudo.cli.block.logged_in", lambda _: nullcontext(Link()))
    block.print_blocked(Namespace(json=as_json))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert all(line.isascii() and line.isprintable() for line in lines)
