"""Formats: one line for each entry, sorted, and the same bytes for the same entries."""

import json
from datetime import UTC, datetime
from random import Random

import pytest

from smtppseudo.blocklist.formats import RENDERERS, order, rfc3339, sources_in
from smtppseudo.blocklist.policy import Entry
from smtppseudo.config.settings import BLOCKLIST_FORMATS

LAST = int(datetime(2026, 11, 24, 13, 54, 36, tzinfo=UTC).timestamp())
SORTED = ["9.9.9.9", "100.1.2.3", "2a01:4f8::/64", "2a01:4f8:1:2::/64", "2a01:1000::/64"]
ENTRIES = [Entry(source, LAST, LAST + 60) for source in SORTED]


def render(name: str, entries: list[Entry], hostname: str = "mx.example.org") -> str:
    return "".join(RENDERERS[name](entries, hostname))


def test_every_format_has_a_renderer() -> None:
    assert tuple(RENDERERS) == BLOCKLIST_FORMATS


def test_order_is_ipv4_first_then_by_address() -> None:
    shuffled = list(ENTRIES)
    for seed in range(20):
        Random(seed).shuffle(shuffled)
        assert sorted(shuffled, key=order) == ENTRIES


def test_plain_format() -> None:
    assert render("plain", ENTRIES) == "".join(f"{source}\n" for source in SORTED)
    assert render("plain", []) == ""


def test_rbldnsd_format() -> None:
    assert render("rbldnsd", ENTRIES[1:3]) == (
        "$NS 1h mx.example.org\n"
        "$SOA 1h mx.example.org hostmaster.mx.example.org 0 10m 5m 7d 5m\n"
        "$TTL 5m\n"
        "$DATASET ip4set:ipv4 @\n"
        "$= $ called mx.example.org, which takes no mail; last: $=\n"
        ":127.0.0.2:\n"
        "127.0.0.2 test\n"
        "100.1.2.3 2026-11-24\n"
        "$DATASET ip6trie:ipv6 @\n"
        "$= $ called mx.example.org, which takes no mail; last: $=\n"
        ":127.0.0.2:\n"
        "::ffff:7f00:2/128 test\n"
        "2a01:4f8::/64 2026-11-24\n"
    )


def test_nft_format() -> None:
    text = render("nft", ENTRIES[1:3])
    assert text.endswith(
        "flush set inet smtppseudo blocklist4\n"
        "flush set inet smtppseudo blocklist6\n"
        "add element inet smtppseudo blocklist4 {\n"
        "    100.1.2.3,\n"
        "}\n"
        "add element inet smtppseudo blocklist6 {\n"
        "    2a01:4f8::/64,\n"
        "}\n"
    )


def test_json_format() -> None:
    document = json.loads(render("json", ENTRIES[:2]))
    assert document == {
        "hostname": "mx.example.org",
        "entries": [
            {"source": source, "last": "2026-11-24T13:54:36Z", "expires": "2026-11-24T13:55:36Z"}
            for source in SORTED[:2]
        ],
    }
    assert json.loads(render("json", [])) == {"hostname": "mx.example.org", "entries": []}


@pytest.mark.parametrize("name", BLOCKLIST_FORMATS)
@pytest.mark.parametrize("count", range(len(ENTRIES) + 1))
def test_entries_are_counted_in_every_format(name: str, count: int) -> None:
    text = render(name, ENTRIES[:count])
    assert list(sources_in(text.splitlines(keepends=True))) == SORTED[:count]
    only_6 = render(name, ENTRIES[2 : 2 + count])
    assert list(sources_in(only_6.splitlines(keepends=True))) == SORTED[2 : 2 + count]


def test_other_text_has_no_entries() -> None:
    lines = ["", "\n", "# 9.9.9.9\n", "$NS 1h a\n", "dead:beef\n", "1.2.3.4.5\n", "root:x:0:0::/root:/bin/sh\n"]
    assert list(sources_in(lines)) == []


@pytest.mark.parametrize("before", ["", 'x TXT "', '{"source":"'])
def test_a_long_line_of_another_list_takes_no_time(before: str) -> None:
    line = before + 1_000_000 * ":"  # its square would be hours
    assert list(sources_in([line, f"{line}/64 called "])) == []


@pytest.mark.parametrize("name", BLOCKLIST_FORMATS)
def test_host_name_cannot_break_a_list(name: str) -> None:
    text = render(name, ENTRIES, 'a"\n$b\\ {c}')
    assert len(text.splitlines()) == len(render(name, ENTRIES).splitlines())
    if name == "json":
        assert json.loads(text)["hostname"] == "a---b---c-"
    assert "$b" not in text
    render(name, ENTRIES, "")


def test_rfc3339_renders_utc() -> None:
    assert rfc3339(0) == "1970-01-01T00:00:00Z"
    assert rfc3339(LAST) == "2026-11-24T13:54:36Z"
