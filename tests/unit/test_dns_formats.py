"""A block list as a zone and as a script for nsupdate: strict lines, whatever the names."""

import re
from datetime import UTC, datetime

import pytest

from smtppseudo.blocklist.formats import is_domain, nsupdate, sources_in, zone_file
from smtppseudo.blocklist.policy import Entry

LAST = int(datetime(2026, 11, 24, 13, 54, 36, tzinfo=UTC).timestamp())
ZONE = "bl.example.org"
LABELS = r"(?:\*\.)?(?:[0-9a-f]{1,3}\.){4,32}"
RECORD = rf'{LABELS}bl\.example\.org\. 300 IN (?:A 127\.0\.0\.2|TXT "[A-Za-z0-9 .:/,()_-]{{1,255}}")\n'
HOSTILE = ['a"\n$INCLUDE /etc/shadow\n', "\\", 'b" ) ; (', "x" * 300, "", "..", "-a-.b", "[192.0.2.1]", "\xe4\u2028"]


def entries(*sources: str) -> list[Entry]:
    return [Entry(source, LAST, LAST + 60) for source in sources]


def test_zone() -> None:
    text = "".join(zone_file(entries("100.1.2.3", "2a01:4f8:1:2::/64"), "mx.example.org", ZONE, 1_795_528_476))
    test_6 = f"2.0.0.0.0.0.f.7.f.f.f.f{'.0' * 20}.{ZONE}."
    net = f"*.2.0.0.0.1.0.0.0.8.f.4.0.1.0.a.2.{ZONE}."
    assert text.splitlines() == [
        f"{ZONE}. 300 IN SOA mx.example.org. hostmaster.mx.example.org. 1795528476 600 300 604800 300",
        f"{ZONE}. 300 IN NS mx.example.org.",
        f"2.0.0.127.{ZONE}. 300 IN A 127.0.0.2",
        f'2.0.0.127.{ZONE}. 300 IN TXT "test entry (RFC 5782)"',
        f"{test_6} 300 IN A 127.0.0.2",
        f'{test_6} 300 IN TXT "test entry (RFC 5782)"',
        f"3.2.1.100.{ZONE}. 300 IN A 127.0.0.2",
        f'3.2.1.100.{ZONE}. 300 IN TXT "100.1.2.3 called mx.example.org, which takes no mail, on 2026-11-24"',
        f"{net} 300 IN A 127.0.0.2",
        f'{net} 300 IN TXT "2a01:4f8:1:2::/64 called mx.example.org, which takes no mail, on 2026-11-24"',
    ]
    assert list(sources_in(text.splitlines())) == ["100.1.2.3", "2a01:4f8:1:2::/64"]
    transferred = re.sub(r"\. 300 IN TXT ", ".\t\t300\tIN\tTXT\t", text)  # as dig prints it
    assert list(sources_in(transferred.splitlines())) == ["100.1.2.3", "2a01:4f8:1:2::/64"]
    own = f'3.2.1.100.{ZONE}. 300 IN TXT "100.1.2.3"\n3.2.1.100.{ZONE}. 300 IN TXT "x TXT \\"100.1.2.3 calls"\n'
    assert list(sources_in(own.splitlines())) == []


def test_script_deletes_what_is_gone_and_adds_what_is_new() -> None:
    script = "".join(nsupdate(entries("9.9.9.8", "9.9.9.9"), "mx", ZONE, ["9.9.9.8", "2a01:4f8:1:2::/64", "9.9.9.7"]))
    lines = script.splitlines()
    assert lines[:3] == [
        f"zone {ZONE}",
        f"update delete *.2.0.0.0.1.0.0.0.8.f.4.0.1.0.a.2.{ZONE}.",
        f"update delete 7.9.9.9.{ZONE}.",
    ]
    assert lines[-4:] == [
        f"update delete 9.9.9.9.{ZONE}.",
        f"update add 9.9.9.9.{ZONE}. 300 IN A 127.0.0.2",
        f'update add 9.9.9.9.{ZONE}. 300 IN TXT "9.9.9.9 called mx, which takes no mail, on 2026-11-24"',
        "send",
    ]
    assert "8.9.9.9" not in script


@pytest.mark.parametrize("hostname", HOSTILE)
def test_host_name_cannot_break_out_of_a_record(hostname: str) -> None:
    listed = entries("9.9.9.9", "2a01:4f8:1:2::/64")
    soa, ns, *records = "".join(zone_file(listed, hostname, ZONE, 1)).splitlines(keepends=True)
    assert soa == f"{ZONE}. 300 IN SOA localhost. hostmaster.localhost. 1 600 300 604800 300\n"
    assert ns == f"{ZONE}. 300 IN NS localhost.\n"
    assert len(records) == 8
    assert all(re.fullmatch(RECORD, line) for line in records)
    first, *lines, last = "".join(nsupdate(listed, hostname, ZONE, ["1.2.3.4"])).splitlines(keepends=True)
    assert (first, last, len(lines)) == (f"zone {ZONE}\n", "send\n", 13)
    assert all(
        re.fullmatch(rf"update (?:add {RECORD[:-2]}|delete {LABELS}bl\.example\.org\.)\n", line) for line in lines
    )


def test_updates_have_at_most_500_lines_and_fit_into_a_message() -> None:
    """A record has an owner, 10 bytes and its data; the owner is 2 bytes where it repeats (RFC 1035 section 4.1.4)."""
    zone = ".".join(["x" * 60] * 3)
    assert is_domain(zone)
    listed = entries(*(f"2a01:4f8:{number:x}:2::/64" for number in range(2_000)))
    previous = [f"20.1.{number >> 8}.{number & 255}" for number in range(2_000)]
    script = "".join(nsupdate(listed, "h" * 255, zone, previous))
    updates = [update.splitlines() for update in script.split("send\n")]
    assert updates.pop() == []
    updates[0].remove(f"zone {zone}")
    assert sum(map(len, updates)) == 2_000 + 3 * 2_002
    for update in updates:
        assert len(update) <= 500
        assert update[0].startswith("update delete ")
        sizes = {"delete": 46, "A": 16, "TXT": 14}
        words = [line.split() for line in update]
        size = sum(sizes[each[1] if each[1] == "delete" else each[5]] for each in words)
        assert size + sum(len(line.partition('"')[2]) for line in update) < 60_000
    assert all(len(update) > 490 for update in updates[:-1])


@pytest.mark.parametrize("name", ["bl.example.org", "BL2", "a-b.c", "x" * 63, ".".join(["a" * 60] * 3)])
def test_zone_is_a_domain(name: str) -> None:
    assert is_domain(name)


@pytest.mark.parametrize(
    "name",
    [*HOSTILE, "a..b", ".a", "a.", "-a", "a-", "a.-b", "a-.b", "a_b.c", "x" * 64, "a." * 94 + "ab", "a\n", "\u0661"],
)
def test_zone_is_no_domain(name: str) -> None:
    assert not is_domain(name)


def test_edited_lists_have_only_addresses() -> None:
    lines = [
        "999.1.1.1",
        "1.2.3.4; send",
        "1.2.3.4\nupdate add",
        ":::/64",
        "2a01::1",
        "9.9.9.9",
        'x TXT "8.8.8.8 called x"',
    ]
    assert list(sources_in(lines)) == ["1.2.3.4", "9.9.9.9", "8.8.8.8"]
