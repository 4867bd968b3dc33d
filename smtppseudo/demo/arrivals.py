"""Arrivals: who comes when, and from where, drawn by dice."""

from collections.abc import Iterator
from random import Random
from typing import Final, NamedTuple

from smtppseudo.demo import visits
from smtppseudo.demo.visits import Kind, Visit

MEAN_PAUSE_S: Final = 0.55
LONGEST_PAUSE_S: Final = 2.0
FIRST_CALM_S: Final = 12.0
CALM_S: Final = (30.0, 50.0)
BURST_PAUSE_S: Final = 0.03
BURST_MAX: Final = 120  # descriptors are scarce on some systems


class Arrival(NamedTuple):
    """Somebody comes, so many seconds after the one before, from an address of 127.0.0.0/8."""

    after_s: float
    source: str
    visit: Visit


class _Company(NamedTuple):
    """All callers of a kind: how often they come, and how many addresses of 127.`network`.0.0/16 they come from."""

    kind: Kind
    weight: int
    network: int
    addresses: int


_COMPANIES: Final = (
    _Company(visits.mail_server, 7, 10, 8),
    _Company(visits.spam_bot, 5, 66, 40),
    _Company(visits.deaf_bot, 1, 67, 10),
    _Company(visits.password_guesser, 3, 91, 3),
    _Company(visits.port_scanner, 4, 45, 6),
    _Company(visits.slow_talker, 1, 77, 4),
    _Company(visits.hostile_talker, 2, 13, 2),
    _Company(visits.curious_person, 2, 20, 3),
)
_CROWD: Final = _Company(visits.bot_of_many, 0, 88, 200)


def arrivals(dice: Random, slots: int) -> Iterator[Arrival]:
    """Yield arrivals without end: a few a second, and now and then a crowd that is more than the slots can take."""
    sources = {company: _sources(dice, company) for company in (*_COMPANIES, _CROWD)}
    weights = [company.weight for company in _COMPANIES]
    calm_s = FIRST_CALM_S
    while True:
        while calm_s > 0:
            after_s = min(dice.expovariate(1 / MEAN_PAUSE_S), LONGEST_PAUSE_S)
            (company,) = dice.choices(_COMPANIES, weights)
            yield Arrival(after_s, dice.choice(sources[company]), company.kind(_own(dice)))
            calm_s -= after_s
        for _ in range(min(slots + slots // 5 + 1, BURST_MAX)):
            yield Arrival(dice.uniform(0, 2 * BURST_PAUSE_S), dice.choice(sources[_CROWD]), _CROWD.kind(_own(dice)))
        calm_s = dice.uniform(*CALM_S)


def _own(dice: Random) -> Random:
    """Return dice for one visitor, so that nothing depends on whose turn it is."""
    return Random(dice.getrandbits(32))  # noqa: S311 - nothing secret is drawn


def _sources(dice: Random, company: _Company) -> list[str]:
    return [f"127.{company.network}.{dice.randrange(256)}.{dice.randint(1, 254)}" for _ in range(company.addresses)]
