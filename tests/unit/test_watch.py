"""`watch`: how it connects again, and the order of several servers' lines."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from smtppseudo.cli import watch
from smtppseudo.cli.watch import Merge, Timed
from smtppseudo.link.errors import (
    BadPeerError,
    LinkError,
    NeedsMagicWordError,
    NotAuthorizedError,
    RefusedError,
    UnreachableError,
)
from smtppseudo.link.link import MonitorLink


def away(*errors: LinkError) -> Callable[[], MonitorLink]:
    """Return a function that fails with one error after the other."""
    left = list(errors)

    def connect() -> MonitorLink:
        raise left.pop(0)

    return connect


def test_reconnect_pauses_grow_to_half_a_minute_and_a_refused_word_ends_it() -> None:
    pauses: list[float] = []
    errors = [*[UnreachableError("away")] * 7, RefusedError("full", "busy"), NotAuthorizedError("no")]
    with pytest.raises(NotAuthorizedError):
        watch.reconnect(away(*errors), pauses.append)
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


@pytest.mark.parametrize("answer", [NotAuthorizedError("no"), NeedsMagicWordError("no"), BadPeerError("no")])
def test_error_that_waiting_cannot_mend_ends_reconnect(answer: LinkError) -> None:
    pauses: list[float] = []
    with pytest.raises(type(answer)):
        watch.reconnect(away(answer), pauses.append)
    assert pauses == [0.5]


NOW = 1_740_000_000.0


def timed(seconds: float, line: str = "") -> Timed:
    """Return a line with a time stamp so many seconds after NOW; the line names them."""
    at = datetime.fromtimestamp(NOW + seconds, UTC)
    return (f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03}Z", line or f"{seconds:g}")


def test_lines_of_several_servers_are_in_order_within_a_second() -> None:
    merge = Merge()
    merge.add("a", [timed(0.1), timed(0.6)], NOW + 0.7)
    merge.add("b", [timed(0.2)], NOW + 1.1)
    assert merge.take(NOW + 1.05) == []
    assert merge.take(NOW + 1.3) == ["0.1", "0.2"]
    assert merge.take(NOW + 1.6) == ["0.6"]


@pytest.mark.parametrize("skew_s", [-3_600, -1.5, 1.5, 3_600])
def test_a_wrong_clock_orders_lines_by_arrival_and_delays_nobody(skew_s: float) -> None:
    merge = Merge()
    for at in range(10):
        merge.add("wrong", [timed(at + skew_s, f"wrong {at}")], NOW + at)
        merge.add("right", [timed(at, f"right {at}")], NOW + at + 0.1)
        assert sorted(merge.take(NOW + at + 1)) == sorted([f"right {at}", f"wrong {at}"])


def test_old_lines_of_one_server_keep_their_order() -> None:
    merge = Merge()
    merge.add("a", [timed(-500), timed(-400), timed(-0.5), ("no time", "x"), timed(0)], NOW)
    assert merge.take(NOW + 1) == ["-500", "-400", "-0.5", "x", "0"]
