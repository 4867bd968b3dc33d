"""Under attack: newcomers are served, memory stays bounded, and when it ends nothing is left of it.

The full sizes, with figures, are those of `tests.bench.pressure`.
"""

from typing import Any

import pytest

from smtppseudo.events import Closed, Connected
from tests.attackers import KINDS, attacking
from tests.clients import wait_until
from tests.load import resident
from tests.running import Running, Servers, matching

COUNT = 1_000
MEMORY_MAX = 64 << 20
HOLDING: dict[str, Any] = {"slots": COUNT + 25, "slots_per_client": 0, "quiet_timeout_s": 0}
TARPIT: dict[str, Any] = {"slots": 2 * COUNT, "slots_per_client": 0, "tarpit": True, "greet_delay_s": 0}


def serve_newcomers(server: Running, count: int = 10) -> None:
    for number in range(count):
        with server.connect(f"127.0.222.{number + 1}") as client:
            client.expect("220")
            client.say("QUIT", "221")
            client.expect_end()


def expect_nothing_left(server: Running) -> None:
    """Everybody who got a slot has left it."""

    def all_closed() -> bool:
        records = server.records()
        return len(matching(records, Connected)) == len(matching(records, Closed))

    wait_until(all_closed, "the end of every session")


@pytest.mark.parametrize("kind", KINDS)
def test_from_one_address(servers: Servers, kind: str) -> None:
    server = servers.start(HOLDING)
    with attacking(kind, server.port, COUNT):
        serve_newcomers(server)
        assert resident(server) < MEMORY_MAX
    expect_nothing_left(server)
    serve_newcomers(server)


@pytest.mark.parametrize("kind", KINDS)
def test_from_one_address_whose_share_is_limited(servers: Servers, kind: str) -> None:
    server = servers.start({"limit_exempt": [], "slots": 25})
    with attacking(kind, server.port, COUNT):
        serve_newcomers(server)
    expect_nothing_left(server)


@pytest.mark.parametrize("kind", KINDS)
def test_in_a_tarpit(servers: Servers, kind: str) -> None:
    server = servers.start(TARPIT)
    with attacking(kind, server.port, COUNT), server.connect("127.0.222.1") as client:
        assert client.sock.recv(1) == b"2"
        assert resident(server) < MEMORY_MAX
    expect_nothing_left(server)


def test_from_as_many_addresses_newcomers_get_in_by_eviction(servers: Servers) -> None:
    server = servers.start({"slots": 100, "evict_after_s": 1, "quiet_timeout_s": 0})
    with attacking("idle", server.port, COUNT, "many"):
        wait_until(lambda: try_newcomer(server), "room for a newcomer")
    server.wait_for_event(Closed, reason="evicted")
    expect_nothing_left(server)


def try_newcomer(server: Running) -> bool:
    with server.connect("127.0.222.1") as client:
        return client.expect("").startswith("220")
