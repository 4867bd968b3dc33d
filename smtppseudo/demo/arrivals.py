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
    """Callers of a kind. They connect in proportion to `weight`, from addresses in 127.`network`.0.0/16.

    With a high `habit` most connections are those of a few callers; with a low one most callers connect once.
    """

    kind: CallerKind
    weight: int
    network: int
    habit: float

    def arrival(self, rng: Random, after_s: float) -> Arrival:
        """Return the arrival of a caller, which has a generator of its own: so the order of actions changes nothing."""
        address = source(self.network, int(rng.paretovariate(self.habit)))
        return Arrival(after_s, address, self.kind(Random(rng.getrandbits(32))))  # noqa: S311 - not used for secrets


_GROUPS: Final = (
    _Group(callers.mail_server, 7, 10, 0.3),
    _Group(callers.spam_bot, 5, 66, 0.8),
    _Group(callers.stubborn_bot, 1, 67, 0.8),
    _Group(callers.password_guesser, 3, 91, 1.0),
    _Group(callers.port_scanner, 4, 45, 0.5),
    _Group(callers.slow_sender, 1, 77, 1.0),
    _Group(callers.hostile_sender, 2, 13, 1.0),
    _Group(callers.curious_person, 2, 20, 0.5),
)
_BURST: Final = _Group(callers.burst_bot, 0, 88, 0.1)


def source(network: int, rank: int) -> str:
    """Return the address of a caller; the one with rank 1 connects most."""
    host = rank * (31 * network | 1) % 65_521 + 1
    return f"127.{network}.{host >> 8}.{host & 255}"


def arrivals(rng: Random, slots: int) -> Iterator[Arrival]:
    """Yield arrivals without end: a few per second, and sometimes a burst of more callers than slots."""
    weights = [group.weight for group in _GROUPS]
    calm_s = FIRST_CALM_S
    while True:
        while calm_s > 0:
            after_s = min(rng.expovariate(1 / MEAN_PAUSE_S), LONGEST_PAUSE_S)
            (group,) = rng.choices(_GROUPS, weights)
            yield group.arrival(rng, after_s)
            calm_s -= after_s
        for _ in range(min(slots + slots // 5 + 1, BURST_MAX)):
            yield _BURST.arrival(rng, rng.uniform(0, 2 * BURST_PAUSE_S))
        calm_s = rng.uniform(*CALM_S)
