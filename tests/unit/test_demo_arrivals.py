"""Arrivals of made-up callers: when they connect, and from where."""

import ipaddress
import itertools
from random import Random

from smtppseudo.demo import callers
from smtppseudo.demo.callers import BURST_MAX, CALM_S, FIRST_CALM_S, Arrival, CallerKind, arrivals

KINDS: list[CallerKind] = [
    callers.burst_bot,
    callers.curious_person,
    callers.stubborn_bot,
    callers.hostile_sender,
    callers.mail_server,
    callers.password_guesser,
    callers.port_scanner,
    callers.slow_sender,
    callers.spam_bot,
]


SLOTS = 25


def first(count: int, slots: int = SLOTS) -> list[Arrival]:
    return list(itertools.islice(arrivals(Random(7), slots), count))


def test_callers_connect_from_many_loopback_addresses() -> None:
    sources = [arrival.source for arrival in first(400)]
    assert all(ipaddress.IPv4Address(source) in ipaddress.IPv4Network("127.0.0.0/8") for source in sources)
    assert 60 < len(set(sources)) < 400
    assert [arrival.source for arrival in first(400)] == sources


def test_a_few_connect_each_second_and_sometimes_a_burst() -> None:
    waits = [arrival.after_s for arrival in first(2_000)]
    names = [getattr(arrival.script, "__name__", "") for arrival in first(2_000)]
    begun = names.index("burst_bot")
    assert FIRST_CALM_S <= sum(waits[:begun]) < FIRST_CALM_S + 2
    assert 1 < begun / FIRST_CALM_S < 4
    burst = next(at for at, name in enumerate(names[begun:]) if name != "burst_bot")
    assert SLOTS < burst < 2 * SLOTS
    assert sum(waits[begun : begun + burst]) < 3
    after = names.index("burst_bot", begun + burst)
    assert CALM_S[0] <= sum(waits[begun + burst : after]) < CALM_S[1] + 2
    assert set(names) == {kind.__name__ for kind in KINDS}


def test_a_burst_is_bounded() -> None:
    names = [getattr(arrival.script, "__name__", "") for arrival in first(200, slots=60_000)]
    assert names.count("burst_bot") == BURST_MAX
