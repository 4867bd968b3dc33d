"""BIND as the guide sets it up: a primary that is updated by nsupdate, and a secondary that follows by IXFR."""

import contextlib
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import pytest

from smtppseudo.blocklist.formats import UNFIT
from smtppseudo.cli.places import machine_name
from tests.clients import wait_until
from tests.documents import block
from tests.loopback.block_runs import require
from tests.loopback.stage import ADDRESS, Stage, network, open_stage
from tests.running import Servers

pytestmark = pytest.mark.slow

ZONE: Final = "bl.example.org"
SECONDARY: Final = "192.0.2.53"
PAGE: Final = "block-lists"
UPDATE: Final = block(PAGE, "dig @127.0.0.1 -k").text
HOST: Final = UNFIT.sub("-", machine_name())
DAY: Final = datetime.now(UTC) - timedelta(days=1)

# What a system's own named.conf says, for two servers on one machine.
_OPTIONS: Final = """
options {{
    directory "{directory}"; pid-file "pid"; session-keyfile none; lock-file none;
    listen-on {{ {addresses} }}; listen-on-v6 {{ none; }}; notify-source {first}; transfer-source {first};
    recursion no; dnssec-validation no; notify-delay 0;
}};
controls {{ }};
logging {{
    channel transfers {{ file "transfers"; severity debug 3; }}; category xfer-in {{ transfers; }};
}};
"""


@pytest.fixture
def stage(servers: Servers) -> Iterator[Stage]:
    require("named", "named-checkzone", "nsupdate", "dig")
    with network() as prefix, open_stage(prefix, servers) as stage:
        stage.run(f"ip address add {SECONDARY}/32 dev lo")
        for directory in ("etc/bind", "var/lib/bind", "var/cache/bind", "srv/logs/mx1", "srv/logs/mx2"):
            (stage.root / directory).mkdir(parents=True)
        yield stage


@contextlib.contextmanager
def named(stage: Stage, name: str, *addresses: str) -> Iterator[Path]:
    """Run a name server with the settings on the page; yield the log of its transfers."""
    directory = stage.root / name
    directory.mkdir()
    listen = "".join(f"{address}; " for address in addresses)
    options = _OPTIONS.format(directory=directory, addresses=listen, first=addresses[0])
    conf = directory / "named.conf"
    conf.write_text(options + stage.inside(block(PAGE, f"# {name}").text))
    with stage.background(f"named -f -c {conf}"):
        wait_until(lambda: ask(stage, ZONE, "SOA", addresses[0]), "an answer")
        yield directory / "transfers"


def source(number: int) -> str:
    """Return an address; every tenth is one of IPv6."""
    return f"20.{number >> 16}.{number >> 8 & 255}.{number & 255}" if number % 10 else f"2a01:4f8:{number:x}:2::25"


def write_logs(stage: Stage, numbers: Sequence[int]) -> None:
    """Write logs of two sensors: at each the addresses have two hits."""
    for sensor in (1, 2):
        where = [(number, port) for number in numbers for port in (sensor * 1_000, sensor * 1_000 + 1)]
        lines = (
            f"{DAY:%Y-%m-%d}T10:00:00.000Z command slot=1 session={number + 1} ip={source(number)} port={port}"
            ' data="MAIL FROM:<a@b>" code=553 reply="no"\n'
            for number, port in where
        )
        (stage.root / f"srv/logs/mx{sensor}" / f"{DAY:%Y-%m-%d}.log").write_text("".join(lines))


def ask(stage: Stage, name: str, kind: str = "A", server: str = SECONDARY) -> str:
    printed = stage.run(f"dig +short +time=1 +tries=1 @{server} {name} {kind}", 0, 9)  # 9: no answer
    return "" if printed.startswith(";") else printed.strip()


def look_up(stage: Stage, *ips: str) -> list[tuple[str, str]]:
    """Ask for A and TXT of addresses, as a mail server does (RFC 5782 sections 2.1 and 2.4)."""
    names = [ip_address(ip).reverse_pointer.removesuffix(".in-addr.arpa").removesuffix(".ip6.arpa") for ip in ips]
    questions = " ".join(f"{name}.{ZONE} {kind}" for name in names for kind in ("A", "TXT"))
    lines = [line.split(maxsplit=4) for line in stage.run(f"dig @{SECONDARY} +noall +answer {questions}").splitlines()]
    data = {(name.removesuffix(f".{ZONE}."), kind): data for name, _, _, kind, data in lines}
    return [(data.get((name, "A"), ""), data.get((name, "TXT"), "")) for name in names]


def serial(stage: Stage, server: str) -> int:
    return int(ask(stage, ZONE, "SOA", server).split()[2])


def wait_for_transfer(stage: Stage) -> int:
    """Wait until the secondary has what the primary has; return the serial."""
    wait_until(lambda: serial(stage, SECONDARY) == serial(stage, ADDRESS), "a transfer")
    return serial(stage, ADDRESS)


def records(text: str) -> set[str]:
    """Return the records of a master file but the first and the last, SOA."""
    return {" ".join(line.split()) for line in text.splitlines() if " SOA " not in line and "\tSOA\t" not in line}


@pytest.mark.timeout(180)
def test_changes_reach_a_secondary_by_ixfr(stage: Stage) -> None:
    """The zone begins with one entry, gets 20,000, then 1,000 are replaced; nothing else changes it."""
    write_logs(stage, [1])
    begin = int(datetime.now(UTC).timestamp())
    printed = stage.run(block(PAGE, "(umask 027; tsig-keygen").text)
    assert re.fullmatch(rf"zone {ZONE}/IN: loaded serial (\d+)\nOK\n", printed)
    assert (stage.root / "etc/bind/bl.key").stat().st_mode & 0o7 == 0
    with named(stage, "primary", ADDRESS, "127.0.0.1"), named(stage, "secondary", SECONDARY) as log:
        first = wait_for_transfer(stage)
        assert begin <= first <= begin + 60
        write_logs(stage, range(20_000))
        assert stage.run(UPDATE) == ""
        many = wait_for_transfer(stage)
        assert first < many
        assert_answers(stage, listed=range(0, 20_000, 1_000), not_listed=[20_001, 20_010])

        transfers = len(log.read_text())
        write_logs(stage, range(1_000, 21_000))
        assert stage.run(UPDATE) == ""
        changed = wait_for_transfer(stage)
        assert many < changed
        assert_answers(stage, listed=range(1_000, 21_000, 1_000), not_listed=range(0, 1_000, 199))
        said = log.read_text()[transfers:]
        assert "got incremental response" in said
        assert "got nonincremental response" not in said

        stage.run(f"smtppseudo blocklist --format zone --zone {ZONE} --output /srv/bl.zone /srv/logs/mx1 /srv/logs/mx2")
        stage.run(f"named-checkzone {ZONE} /srv/bl.zone")
        transfer = f"dig -k /etc/bind/bl.key +noall +answer @{SECONDARY} {ZONE} AXFR"
        assert records(stage.run(transfer)) == records((stage.root / "srv/bl.zone").read_text())

        assert stage.run(UPDATE) == ""  # nothing to change
        write_logs(stage, range(9_000))
        assert "the list would shrink from 20000 to 9000 entries" in stage.run(UPDATE, 0, 1)
        assert serial(stage, ADDRESS) == changed

        half = [f"update delete 215.78.0.20.{ZONE}.", f"update add 9.9.9.9.{ZONE}. 300 TXT 9.9.9.9", "send"]
        script = "\n".join(["server 127.0.0.1", f"zone {ZONE}", *half])
        stage.run(f"nsupdate -k /etc/bind/bl.key <<< '{script}'")
        wait_for_transfer(stage)
        assert look_up(stage, "20.0.78.215")[0][0] == ""
        write_logs(stage, range(1_000, 21_000))
        assert stage.run(UPDATE) == ""
        wait_for_transfer(stage)
        assert [answer for answer, _ in look_up(stage, "20.0.78.215", "9.9.9.9")] == ["127.0.0.2", ""]
        assert look_up(stage, "9.9.9.9") == [("", '"9.9.9.9"')]  # not ours


def assert_answers(stage: Stage, listed: Iterable[int], not_listed: Iterable[int]) -> None:
    """Assert what the secondary says of addresses, and of the test entries of RFC 5782 section 5."""
    assert stage.run(block(PAGE, "dig +short").text) == "127.0.0.2\n"
    expected = dict.fromkeys(("127.0.0.1", "::ffff:127.0.0.1", *map(source, not_listed)), ("", ""))
    expected |= dict.fromkeys(("127.0.0.2", "::ffff:127.0.0.2"), ("127.0.0.2", '"test entry (RFC 5782)"'))
    for ip in map(source, listed):
        entry = f"{ip[:-2]}/64" if ":" in ip else ip
        expected[ip] = ("127.0.0.2", f'"{entry} called {HOST}, which takes no mail, on {DAY:%Y-%m-%d}"')
    for ip, entry in (("2a01:4f8:7d0:2:ffff:ffff:ffff:ffff", source(2_000)), ("2a01:4f8:7d0:3::25", source(30_000))):
        expected[ip] = expected.get(entry, ("", ""))
    assert dict(zip(expected, look_up(stage, *expected), strict=True)) == expected
