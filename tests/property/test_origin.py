"""The origin of an event: its text holds slot, session, address and port, for any of them."""

from hypothesis import example, given
from hypothesis import strategies as st

from smtppseudo.events import ip_of, origin_of, slot_and_ip, split_origin

numbers = st.integers(1, 1 << 60)
ports = st.integers(1, 65_535)
# The name of an interface holds neither white space nor "/" nor ":" (Linux: dev_valid_name).
zones = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="/:"), min_size=1, max_size=15)
addresses = st.ip_addresses().map(str) | st.builds(
    lambda address, zone: f"{address}%{zone}", st.ip_addresses(v=6), zones | st.sampled_from(["eth0", "ip=", "port=1"])
)


@given(numbers, numbers, addresses, ports)
@example(1, 1, "fe80::1%ip=", 1)
@example(1, 1, "fe80::1%port=", 1)
def test_the_origin_of_a_session_is_split_again(slot: int, session: int, ip: str, port: int) -> None:
    origin = origin_of(slot, session, ip, port)
    assert split_origin(origin) == (str(slot), str(session), ip, str(port))
    assert ip_of(origin) == ip
    assert slot_and_ip(origin) == (slot, ip)


@given(addresses | st.just(""), ports | st.just(0))
def test_the_origin_without_a_session_is_split_again(ip: str, port: int) -> None:
    assert split_origin(origin_of(0, 0, ip, port)) == ("", "", ip, str(port or ""))


@given(numbers, numbers, addresses, ports)
def test_an_origin_is_one_part_of_a_record(slot: int, session: int, ip: str, port: int) -> None:
    """Each field follows a space, as the text format needs it."""
    names = [part.partition("=")[0] for part in origin_of(slot, session, ip, port).split(" ")]
    assert names == ["", "slot", "session", "ip", "port"]
    without = [part.partition("=")[0] for part in origin_of(0, 0, ip, port).split(" ")]
    assert without == ["", "ip", "port"]
