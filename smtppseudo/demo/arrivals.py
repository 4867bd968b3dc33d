"""Arrivals: which made-up callers connect when, and from which addresses, at random."""

from collections.abc import Iterator
from random import Random
from typing import Final, NamedTuple

from smtppseudo.demo import callers
from smtppseudo.demo.callers import CallerKind, Script

MEAN_PAUSE_S: Final = 0.55
LONGEST_PAUSE_S: Final = 2.0
FIRST_CALM_S: Final = 12.0
CALM_S: Final = (30.0, 50.0)
BURST_PAUSE_S: Final = 0.03
BURST_MAX: Final = 120  # file descriptors are scarce on some systems


class Arrival(NamedTuple):
    """A caller connects, `after_s` after the one before, from an address in 127.0.0.0/8."""

    after_s: float
    source: str
    script: Script


class _Group(NamedTuple):
    """Callers of a kind. They connect in proportion to `weight`, from some addresses in 127.`network`.0.0/16."""

    kind: CallerKind
    weight: int
    network: int
    addresses: int


_GROUPS: Final = (
    _Group(callers.mail_server, 7, 10, 8),
    _Group(callers.spam_bot, 5, 66, 40),
    _Group(callers.stubborn_bot, 1, 67, 10),
    _Group(callers.password_guesser, 3, 91, 3),
    _Group(callers.port_scanner, 4, 45, 6),
    _Group(callers.slow_sender, 1, 77, 4),
    _Group(callers.hostile_sender, 2, 13, 2),
    _Group(callers.curious_person, 2, 20, 3),
)
_BURST: Final = _Group(callers.burst_bot, 0, 88, 200)


def arrivals(rng: Random, slots: int) -> Iterator[Arrival]:
    """Yield arrivals without end: a few per second, and sometimes a burst of more callers than slots."""
    sources = {group: _sources(rng, group) for group in (*_GROUPS, _BURST)}
    weights = [group.weight for group in _GROUPS]
    calm_s = FIRST_CALM_S
    while True:
        while calm_s > 0:
            after_s = min(rng.expovariate(1 / MEAN_PAUSE_S), LONGEST_PAUSE_S)
            (group,) = rng.choices(_GROUPS, weights)
            yield Arrival(after_s, rng.choice(sources[group]), group.kind(_fork(rng)))
            calm_s -= after_s
        for _ in range(min(slots + slots // 5 + 1, BURST_MAX)):
            yield Arrival(rng.uniform(0, 2 * BURST_PAUSE_S), rng.choice(sources[_BURST]), _BURST.kind(_fork(rng)))
        calm_s = rng.uniform(*CALM_S)


def _fork(rng: Random) -> Random:
    """Return a generator for one caller, so that the order in which callers act changes nothing."""
    return Random(rng.getrandbits(32))  # noqa: S311 - not used for secrets


def _sources(rng: Random, group: _Group) -> list[str]:
    return [f"127.{group.network}.{rng.randrange(256)}.{rng.randint(1, 254)}" for _ in range(group.addresses)]
