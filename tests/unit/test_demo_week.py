"""The made-up week: believable, the same each time, and of networks that nobody has."""

from collections import Counter
from datetime import date
from ipaddress import ip_address, ip_network
from pathlib import Path

from smtppseudo.blocklist.never_listed import NeverListed
from smtppseudo.demo.week import SPAMMER, write_week
from smtppseudo.events import Closed, Connected
from tests.records import Stamped, parse

NOBODYS = [ip_network(each) for each in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")]
OF_THE_6BONE = ip_network("3ffe::/16")
TODAY = date(2026, 11, 29)


def records(directory: Path) -> list[Stamped]:
    write_week(directory, TODAY)
    paths = sorted(directory.iterdir())
    assert [path.name for path in paths[:7]] == [f"2026-11-{day}.log" for day in range(22, 29)]
    return [parse(line) for path in paths for line in path.read_text().splitlines()]


def test_a_week_has_sessions_of_callers_that_come_often_and_once(tmp_path: Path) -> None:
    found = records(tmp_path / "one")
    assert found == records(tmp_path / "two")
    assert found == sorted(found, key=lambda record: record.time)
    calls = Counter(record.ip for record in found if isinstance(record.event, Connected))
    assert 2_000 < calls.total() < 4_000
    assert calls.most_common(1)[0] == (SPAMMER, max(calls.values()))
    assert len([ip for ip, count in calls.items() if count == 1]) > 300
    assert {ip_address(ip).version for ip in calls} == {4, 6}
    closed = [record.event for record in found if isinstance(record.event, Closed)]
    assert len(closed) == calls.total()
    assert {event.reason for event in closed} == {"quit", "peer", "reset", "idle", "errors", "http", "tls_in_clear"}
    hours = Counter(record.time[11:13] for record in found if isinstance(record.event, Connected))
    assert len(hours) == 24
    assert max(hours.values()) > 3 * min(hours.values())


def test_two_sessions_never_share_a_slot(tmp_path: Path) -> None:
    in_use: set[int] = set()
    for record in records(tmp_path / "log"):
        if isinstance(record.event, Connected):
            assert record.slot not in in_use
            in_use.add(record.slot)
        elif isinstance(record.event, Closed):
            in_use.remove(record.slot)
    assert in_use == set()


def test_no_caller_has_an_address_that_somebody_has(tmp_path: Path) -> None:
    never = NeverListed()
    for ip in {record.ip for record in records(tmp_path / "log") if record.ip}:
        is_nobodys = any(ip_address(ip) in network for network in NOBODYS)
        assert is_nobodys != (ip_address(ip) in OF_THE_6BONE)
        assert is_nobodys == (never.reason(ip) is not None)
