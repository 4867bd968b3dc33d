"""Under attack new callers are served, memory stays bounded, and every session ends after the attack.

`tests.bench.pressure` measures this at full size.
"""

from typing import Any

import pytest

from smtppseudo.events import Closed, Connected
from tests.attackers import KINDS, attacking
from tests.clients import wait_until
from tests.load import resident
from tests.running import Running, Servers, matching

COUNT = 1_000
COUNTS = {**dict.fromkeys(KINDS, COUNT), "unread": 200}
"""Fewer that read nothing, because each of them requests thousands of replies."""

MEMORY_MAX = 64 << 20
HOLDING: dict[str, Any] = {"slots": COUNT + 25, "slots_per_client": 0, "quiet_timeout_s": 0}
TARPIT: dict[str, Any] = {"slots": 2 * COUNT, "slots_per_client": 0, "tarpit": True, "greet_delay_s": 0}


def serve_others(server: Running, count: int = 10) -> None:
    for number in range(count):
        with server.connect(f"127.0.222.{number + 1}") as client:
            client.expect("220")
            client.say("QUIT", "221")
            client.expect_end()


def wait_for_all_closed(server: Running) -> None:
    """Wait until every session has ended."""

    def all_closed() -> bool:
        records = server.records()
        return len(matching(records, Connected)) == len(matching(records, Closed))

    wait_until(all_closed, "the end of every session")


@pytest.mark.parametrize("kind", KINDS)
def test_from_one_address(servers: Servers, kind: str) -> None:
    server = servers.start(HOLDING)
    with attacking(kind, server.port, COUNTS[kind]):
        serve_others(server)
        assert resident(server) < MEMORY_MAX
    wait_for_all_closed(server)
    serve_others(server)


@pytest.mark.parametrize("kind", KINDS)
def test_from_one_address_with_slots_per_client(servers: Servers, kind: str) -> None:
    server = servers.start({"limit_exempt": [], "slots": 25})
    with attacking(kind, server.port, COUNTS[kind]):
        serve_others(server)
    wait_for_all_closed(server)


@pytest.mark.parametrize("kind", KINDS)
def test_in_the_tarpit(servers: Servers, kind: str) -> None:
    server = servers.start(TARPIT)
    with attacking(kind, server.port, COUNTS[kind]), server.connect("127.0.222.1") as client:
        assert client.sock.recv(1) == b"2"
        assert resident(server) < MEMORY_MAX
    wait_for_all_closed(server)


def test_from_many_addresses_new_callers_get_slots_by_eviction(servers: Servers) -> None:
    server = servers.start({"slots": 100, "evict_after_s": 1, "quiet_timeout_s": 0})
    with attacking("idle", server.port, COUNT, "many"):
        wait_until(lambda: is_served(server), "a free slot")
    server.wait_for_event(Closed, reason="evicted")
    wait_for_all_closed(server)


def is_served(server: Running) -> bool:
    with server.connect("127.0.222.1") as client:
        return client.expect("").startswith("220")
