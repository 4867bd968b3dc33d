"""Policy and never-listed networks, for any times and addresses: the same results as the plain definition."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from hypothesis import given, settings
from hypothesis import strategies as st

from smtppseudo.blocklist.never_listed import NeverListed, read_never_listed
from smtppseudo.blocklist.policy import Hits, Policy, entry_of
from smtppseudo.smtp.client_limits import source_of

IP = "9.9.9.9"
policies = st.builds(Policy, st.integers(1, 5), st.integers(1, 60), st.integers(1, 200))


def expires(policy: Policy, times: list[int], now: int) -> int | None:
    """Return the expiry by the plain definition, at any cost."""
    known = sorted(at for at in times if at <= now)
    listing = [last for last in known if sum(last - policy.window_s <= at <= last for at in known) >= policy.min_hits]
    until = max(listing, default=-(10**9)) + policy.expire_s
    return until if now < until else None


@settings(max_examples=500)
@given(policies, st.lists(st.integers(0, 400), max_size=40), st.data())
def test_kept_hits_decide_like_all_hits(policy: Policy, times: list[int], data: st.DataObject) -> None:
    now = data.draw(st.integers(max(times, default=0), 700))
    hits = Hits(policy)
    hits._kept = policy.needed_hits  # it keeps more, for other policies
    for at in times:
        hits.add(IP, at)
    assert len(hits.times_of(IP)) <= policy.needed_hits
    found = list(hits.review([IP], now))
    assert [entry.expires for entry in found] == [until for until in [expires(policy, times, now)] if until is not None]
    entry = entry_of(policy, IP, sorted(times), now)
    assert (entry.expires if entry else None) == expires(policy, times, now)


@given(policies, st.lists(st.integers(0, 400), max_size=40), st.randoms())
def test_order_of_arrival_does_not_matter(policy: Policy, times: list[int], random: object) -> None:
    shuffled = list(times)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    first, second = Hits(policy), Hits(policy)
    for at in times:
        first.add(IP, at)
    for at in shuffled:
        second.add(IP, at)
    assert list(first.times_of(IP)) == list(second.times_of(IP))


SPECIAL = [
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24"),
    *("192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4"),
    *("240.0.0.0/4", "::/128", "::1/128", "::ffff:0:0/96", "64:ff9b::/96", "100::/64", "2001::/32", "2001:db8::/32"),
    *("2002::/16", "3fff::/20", "fc00::/7", "fe80::/10", "ff00::/8", "5f00::/16"),
]
special = st.sampled_from([ip_network(text) for text in SPECIAL]).flatmap(
    lambda network: st.integers(int(network[0]), int(network[-1])).map(
        lambda number: IPv4Address(number) if network.version == 4 else IPv6Address(number)
    )
)


@settings(max_examples=1_000)
@given(special | st.ip_addresses())
def test_no_special_purpose_address_is_ever_listed(ip: IPv4Address | IPv6Address) -> None:
    reason = NeverListed().reason(source_of(str(ip)))
    if not ip.is_global or ip.is_multicast or ip.is_reserved:
        assert reason is not None


@given(st.ip_addresses(network="20.0.0.0/6") | st.ip_addresses(network="2a00::/12"))
def test_other_addresses_may_be_listed(ip: IPv4Address | IPv6Address) -> None:
    assert NeverListed().reason(source_of(str(ip))) is None


@settings(max_examples=500)
@given(st.ip_addresses(network="20.0.0.0/6") | st.ip_addresses(network="2a00::/12"), st.data())
def test_address_in_a_named_network_is_never_listed(ip: IPv4Address | IPv6Address, data: st.DataObject) -> None:
    length = data.draw(st.integers(0, ip.max_prefixlen))
    network = ip_network((int(ip), length), strict=False)
    assert read_never_listed([str(network)], []).reason(source_of(str(ip))) is not None
    other = ip_address(int(ip) ^ 1 << (ip.max_prefixlen - min(length, 64)) if length else int(ip))
    if length and NeverListed().reason(source_of(str(other))) is None:
        assert read_never_listed([str(network)], []).reason(source_of(str(other))) is None
