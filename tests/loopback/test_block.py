"""Blocked callers: they hear nothing and take no slot; what is blocked survives, expires, and stands in the list."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from smtppseudo.events import Block, Closed, Connected
from tests.conftest import MakeInside
from tests.inside import Inside
from tests.loopback.commands import ask, outcome
from tests.loopback.nft import needs_nft, run_with_nft
from tests.loopback.test_proxies import BEHIND, Proxy, header_of, turned_away
from tests.monitors import Monitors, state_dir
from tests.running import Servers, has_mode, run

CALLER_4, CALLER_6 = "20.1.1.7", "2a01:4f8::7"
DAY_S = 86_400


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    proxy = Proxy()
    yield proxy
    proxy.close()


def is_served(server: Inside, proxy: Proxy, ip: str) -> bool:
    client = proxy.connect(server, header_of(ip))
    if b"220" in (said := client.sock.recv(4_096)):
        client.say("QUIT", "221")
        return True
    assert said == b""
    return False


@pytest.mark.parametrize("caller", [CALLER_4, CALLER_6])
@pytest.mark.parametrize("length", ["", "/32", "/64"])
def test_a_blocked_caller_hears_nothing_and_takes_no_slot(
    inside: MakeInside, monitors: Monitors, proxy: Proxy, caller: str, length: str
) -> None:
    if ":" not in caller:
        length = {"/64": "/24"}.get(length, "")
    server = inside(**BEHIND)
    monitor = monitors.subscribed(server, events=["block"])
    first, other = (proxy.connect(server, header_of(ip)) for ip in (caller, "20.9.9.9"))
    first.expect("220")
    other.expect("220")
    reply = monitor.ok("block", network=f"{caller}{length}", reason='spam \\ "x" \x1b[31m\u202e')
    assert reply["ended"] == 1
    assert first.rest() == b""
    other.say("NOOP", "250")
    assert not is_served(server, proxy, caller)
    server.turn()
    assert [closed.reason for closed in server.events(Closed)] == ["blocked"]
    assert turned_away(server) == [(caller, "blocked", 1)]
    assert len(server.records(Connected)) == 2
    assert server.server.reception.counters.turned_away["blocked"] == 1
    assert server.server.reception.slots.in_use == 1
    event = monitor.next_event()
    assert (event["action"], event["network"], event["until"]) == ("blocked", reply["network"], reply["until"])
    assert "\\x1b[31m" in event["reason"]
    assert event["reason"].isprintable()
    monitor.ok("unblock", network=f"{caller}{length}")
    assert is_served(server, proxy, caller)


def test_a_flood_of_blocked_callers_is_summed_up(inside: MakeInside, monitors: Monitors, proxy: Proxy) -> None:
    server = inside(**BEHIND)
    monitors.log_in(server).ok("block", network=CALLER_4)
    for _ in range(20):
        assert not is_served(server, proxy, CALLER_4)
    server.advance(1.1)
    assert turned_away(server) == [(CALLER_4, "blocked", 1), (CALLER_4, "blocked", 19)]


def test_a_block_expires(inside: MakeInside, monitors: Monitors, proxy: Proxy) -> None:
    server = inside(**BEHIND)
    monitor = monitors.log_in(server)
    monitor.ok("block", network=CALLER_4, for_s=60)
    monitor.ok("block", network=CALLER_6)
    monitor.ok("block", network="20.2.0.0/16", for_s=0)
    assert [entry["network"] for entry in monitor.ok("blocked")["blocked"]] == [CALLER_4, "20.2.0.0/16", CALLER_6]
    server.advance(59)
    assert not is_served(server, proxy, CALLER_4)
    server.advance(2)
    assert is_served(server, proxy, CALLER_4)
    assert not is_served(server, proxy, CALLER_6)
    server.advance(7 * DAY_S)
    assert is_served(server, proxy, CALLER_6)
    (left,) = monitor.ok("blocked")["blocked"]
    assert (left["network"], left["until"]) == ("20.2.0.0/16", "always")
    server.turn()
    assert [(e.action, e.network) for e in server.events(Block)][3:] == [("expired", CALLER_4), ("expired", CALLER_6)]
    monitor.ok("unblock", network="20.2.0.0/16")
    assert server.server.reception.blocked is None  # nothing is looked up


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "network must be an address or a network"),
        ({"network": "0.0.0.0/0"}, "0.0.0.0/0 is too wide to be blocked: at most a /8"),
        ({"network": "2a00::/16"}, "2a00::/16 is too wide to be blocked: at most a /32"),
        ({"network": "127.0.0.9"}, "must not be blocked: 127.0.0.0/8 is special-purpose: loopback"),
        ({"network": "::ffff:127.0.0.1"}, "must not be blocked: ::/64 is special-purpose: loopback, or IPv4 in IPv6"),
        ({"network": "::1"}, "must not be blocked: ::/64 is special-purpose: loopback, or IPv4 in IPv6"),
        ({"network": "20.7.7.0/24"}, "must not be blocked: 20.7.7.7/32 is in blocklist_never"),
        ({"network": "20.8.8.8"}, "must not be blocked: 20.8.0.0/16 is in blocklist_never"),
        ({"network": "20.5.0.0/16"}, "20.5.5.5 is an address of this machine"),
        ({"network": CALLER_4, "for_s": -1}, "for_s must be a whole number of seconds"),
        ({"network": CALLER_4, "for_s": True}, "for_s must be a whole number of seconds"),
        ({"network": CALLER_4, "for_s": 1e9}, "for_s must be a whole number of seconds"),
        ({"network": CALLER_4, "reason": 1}, "reason must be a text"),
        ({"network": CALLER_4, "reason": "\u00fc" * 26}, "reason must be a text"),
    ],
)
def test_what_cannot_be_blocked(
    inside: MakeInside, monitors: Monitors, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], message: str
) -> None:
    monkeypatch.setattr("smtppseudo.server.blocks.machine_addresses", lambda: ["20.5.5.5"])
    server = inside(blocklist_never=["20.7.7.7/32", "20.8.0.0/16"])
    monitor = monitors.log_in(server)
    assert message in monitor.refused("block", "bad_value", **fields)
    assert monitor.ok("blocked") == {"blocked": [], "left": 0}
    assert "is not blocked" in monitor.refused("unblock", "bad_value", network="20.1.1.1")


def test_nothing_is_blocked_that_cannot_be_stored(inside: MakeInside, monitors: Monitors) -> None:
    server = inside()
    monitor = monitors.log_in(server)
    monitor.ok("block", network=CALLER_4, reason="old")
    (state_dir(server) / "blocked.json").unlink()
    (state_dir(server) / "blocked.json").mkdir()
    for op, network in (("block", CALLER_4), ("block", CALLER_6), ("unblock", CALLER_4)):
        assert "nothing was changed" in monitor.refused(op, "io", network=network)
    (entry,) = monitor.ok("blocked")["blocked"]
    assert (entry["network"], entry["reason"]) == (CALLER_4, "old")


def test_the_entries_come_in_pages(inside: MakeInside, monitors: Monitors) -> None:
    server = inside()
    (state_dir(server) / "blocked.json").write_text(
        json.dumps(
            [
                {"network": f"20.0.{n // 250}.{n % 250}", "since": 0, "until": 1 << 39, "reason": "\\" * 200}
                for n in range(10_000)
            ]
        )
    )
    server.server.blocks.load(server.said.append)
    monitor = monitors.log_in(server)
    page = monitor.ok("blocked", **{"from": 9_850})
    assert (len(page["blocked"]), page["left"], page["blocked"][0]["network"]) == (100, 50, "20.0.39.100")
    assert monitor.ok("blocked", **{"from": 10_000}) == {"blocked": [], "left": 0}
    assert "10000 networks are blocked already" in monitor.refused("block", "bad_value", network="21.0.0.1")
    for first in (-1, 10_001, 10**30, "1", True, None):
        assert "from must be" in monitor.refused("blocked", "bad_value", **{"from": first})


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[7]", "7", "[{}]", "[" * 100_000, '"\udc80'),
        '[{"network":"0.0.0.0/0","since":0,"until":9e99,"reason":""}]',
        '[{"network":"20.1.1.1","since":Infinity,"until":NaN,"reason":""}]',
    ],
)
def test_a_damaged_file_is_reported(inside: MakeInside, text: str) -> None:
    server = inside()
    (state_dir(server) / "blocked.json").write_text(text, errors="surrogateescape")
    server.server.blocks.load(server.said.append)
    (line,) = server.said
    assert line.endswith("blocked.json: damaged; block again what `smtppseudo blocked` lacks")


# with the commands


def run_in(directory: Path, *words: str, status: int = 0) -> str:
    return outcome(run(*words, "--state-dir", str(directory)), status)


def test_the_commands_and_a_restart(servers: Servers) -> None:
    first = servers.start()
    place = ("--state-dir", str(state_dir(first)))
    hostile = "\x1b]0;owned\x07 \udc80 \u202e '; rm"
    assert ask(first, "blocked") == "nobody is blocked"
    shown = ask(first, "block", "20.1.1.9/24", "--for", "90m", "--reason", hostile)
    assert shown.startswith("20.1.1.0/24 is blocked until 2")
    assert shown.endswith("Z; sessions ended: 0\n")
    assert (
        ask(first, "block", CALLER_6, "--for", "always") == f"{CALLER_6} is blocked until always; sessions ended: 0\n"
    )
    assert "is too wide" in ask(first, "block", "0.0.0.0/0", status=1)
    first.stop()
    second = servers.start(None, *place)
    asked = partial(run_in, state_dir(first))
    lines = [line.split(None, 2) for line in asked("blocked").splitlines()]
    assert [line[0] for line in lines] == ["20.1.1.0/24", CALLER_6]
    assert lines[0][2].startswith(r"\x1b]0;owned\x07 ")
    found = [json.loads(line) for line in asked("blocked", "--json").splitlines()]
    assert [entry["network"] for entry in found] == ["20.1.1.0/24", CALLER_6]
    assert has_mode(state_dir(first) / "blocked.json", 0o600)
    for network, *_ in lines:  # as they are printed
        assert asked("unblock", network) == f"{network} is no longer blocked\n"
    assert "is not blocked; " in asked("unblock", "20.1.1.0/24", status=1)
    assert second.log_text.isascii()


# in the kept list


def kept_list(inside: MakeInside, monitors: Monitors, path: Path, name: str, *networks: str) -> str:
    server = inside(blocklist_file=str(path), blocklist_format=name, blocklist_never=["20.7.7.7/32"])
    monitor = monitors.log_in(server)
    for network in networks:
        monitor.ok("block", network=network)
    pass_minutes(server, 2)
    return path.read_text()


def pass_minutes(server: Inside, minutes: int) -> None:
    for _ in range(10 * minutes):
        server.advance(6)


GIVEN = ("20.1.1.0/24", "20.1.1.7", "20.2.2.2", "10.0.0.0/8", "198.0.0.0/8", "2a01:4f8::7", "2a02::/32", "fd00::1")
LISTED = ["20.1.1.0/24", "20.2.2.2", "2a01:4f8::7", "2a02::/32"]


def test_the_kept_list_has_what_was_given_but_nothing_private(
    inside: MakeInside, monitors: Monitors, tmp_path: Path
) -> None:
    assert kept_list(inside, monitors, tmp_path / "list", "plain", *GIVEN).split() == LISTED


def test_it_leaves_the_list_when_it_expires(inside: MakeInside, monitors: Monitors, tmp_path: Path) -> None:
    path = tmp_path / "list"
    server = inside(blocklist_file=str(path))
    monitor = monitors.log_in(server)
    monitor.ok("block", network=CALLER_4, for_s=300)
    pass_minutes(server, 2)
    assert path.read_text() == f"{CALLER_4}\n"
    pass_minutes(server, 5)
    assert path.read_text() == ""


@needs_nft
def test_nft_takes_the_kept_list(inside: MakeInside, monitors: Monitors, tmp_path: Path) -> None:
    kept_list(inside, monitors, tmp_path / "list", "nft", *GIVEN)
    rules = run_with_nft("nft -f list && nft list ruleset", tmp_path)
    assert "elements = { 20.1.1.0/24, 20.2.2.2 }" in rules
    assert "2a02::/32" in rules
