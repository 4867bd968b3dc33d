"""Two servers in two networks: every way on the guide's page lists the same callers, or not, as the page says."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Final

import pytest

from smtppseudo.files import HITS_FILE
from tests.clients import LIMIT_S, wait_until
from tests.documents import TEXTS, block
from tests.loopback.block_runs import require
from tests.loopback.namespaces import CLIENT_4, CLIENT_6, SERVER_4, SERVER_6, cable
from tests.loopback.stage import Stage, network, open_stage
from tests.loopback.test_log_shipping import PROGRAMS, rsyslogd, texts_in, write_journal
from tests.others import test_crowdsec
from tests.running import Running, Servers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

PAGE: Final = "several-servers"
TWO_AND_ONE, ONE_AND_TWO, TWICE, BOUNCES, OF_ONE = CLIENT_4, "20.1.1.3", "20.1.1.4", "20.1.1.5", "20.1.1.6"
MAIL: Final = "MAIL FROM:<a@b>"
CALLS: Final[Mapping[str, Sequence[tuple[str, str]]]] = {
    "mx1": [
        *[(TWO_AND_ONE, MAIL)] * 2,
        (ONE_AND_TWO, "AUTH LOGIN"),
        *[(TWICE, MAIL)] * 2,
        *[(BOUNCES, "MAIL FROM:<>")] * 3,
        *[(OF_ONE, MAIL)] * 3,
        (CLIENT_6, MAIL),
    ],
    "mx2": [
        (TWO_AND_ONE, MAIL),
        *[(ONE_AND_TWO, MAIL)] * 2,
        *[(BOUNCES, "MAIL FROM:<>")] * 2,
        *[(CLIENT_6, MAIL)] * 2,
    ],
}
"""Who calls each server, and says what."""
TO_EACH_ITS_OWN: Final = [OF_ONE]
ALL: Final = [TWO_AND_ONE, ONE_AND_TWO, OF_ONE, "2a01:4f8:1:2::/64"]

_CALL = """
import smtplib, sys
port, *calls = sys.argv[1:]
for ip, line in zip(calls[::2], calls[1::2]):
    server = "SERVER_6" if ":" in ip else "SERVER_4"
    with smtplib.SMTP(server, int(port), "client.test", timeout=20, source_address=(ip, 0)) as client:
        client.ehlo()
        assert client.docmd(line)[0] >= 500
"""


def call(prefix: Sequence[str], server: Running, calls: Sequence[tuple[str, str]]) -> None:
    """Play sessions, each from an address and with a command that is refused."""
    for ip in sorted({ip for ip, _ in calls} - {CLIENT_4, CLIENT_6}):
        subprocess.run([*prefix, "ip", "address", "add", f"{ip}/24", "dev", "smtp0"], check=True)
    script = _CALL.replace("SERVER_6", SERVER_6).replace("SERVER_4", SERVER_4)
    words = [*prefix, sys.executable, "-c", script, str(server.port), *(word for each in calls for word in each)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A central host, with what two servers have kept: their logs, hits and lists."""
    servers = Servers(tmp_path_factory.mktemp("servers"))
    with network() as prefix, open_stage(prefix, servers) as stage:
        (stage.root / "srv/lists").mkdir(parents=True)
        (stage.root / "srv/hits").mkdir()
        for name, calls in CALLS.items():
            path = stage.root / "srv/lists" / name
            settings = {"server_name": name, "blocklist_file": str(path), "log_local_ip": True}
            settings["log_format"] = "json" if name == "mx2" else "text"
            with cable() as ends:
                server = servers.start(settings, prefix=ends.server, listen=("0.0.0.0", "::"))
                wait_until(path.exists, "a list")
                call(ends.client, server, calls)
                server.stop()
            shutil.copytree(server.log_dir, stage.root / "srv/logs" / name)
            shutil.copy(server.directory / "state" / HITS_FILE, stage.root / "srv/hits" / name)
        yield stage


def lines_of(stage: Stage, name: str) -> list[str]:
    """Return the lines of a server's log."""
    return "".join(texts_in(stage.root / "srv/logs" / name).values()).splitlines(keepends=True)


def has_same_logs(one: Path, other: Path) -> bool:
    return texts_in(one) == texts_in(other)


def by_kept_hits(stage: Stage) -> list[str]:
    return stage.run("smtppseudo blocklist /srv/hits/mx1 /srv/hits/mx2").split()


def by_hits_from_logs(stage: Stage) -> list[str]:
    for name in CALLS:
        stage.run(f"smtppseudo blocklist --format hits --output {name}.hits /srv/logs/{name}")
        kept = (stage.root / "srv/hits" / name).read_text().splitlines()
        made = (stage.cwd / f"{name}.hits").read_text().splitlines()
        assert kept[0] == made[0]
        assert sorted(kept) == sorted(made)
    return stage.run("smtppseudo blocklist mx1.hits /srv/hits/mx2").split()


def by_copied_logs(stage: Stage) -> list[str]:
    return stage.run("smtppseudo blocklist /srv/logs/mx1 /srv/logs/mx2").split()


def by_rsyslog(stage: Stage) -> list[str]:
    require("rsyslogd")
    central = block(PAGE, "# central host").text.replace("/srv/logs", "/srv/central")
    (stage.root / "srv/central").mkdir()
    with rsyslogd(stage, "central", central):
        for name in CALLS:
            server = block(PAGE, "# server").text.replace("/var/log/smtppseudo", f"/srv/logs/{name}")
            with rsyslogd(stage, name, server):
                there, here = (stage.root / "srv" / place / name for place in ("central", "logs"))
                wait_until(partial(has_same_logs, there, here), "all lines")
    return stage.run("smtppseudo blocklist /srv/central/mx1 /srv/central/mx2").split()


def by_journal(stage: Stage) -> list[str]:
    require(f"{PROGRAMS}remote", "journalctl")
    (stage.root / "var/log/journal/remote").mkdir(parents=True)
    for name in CALLS:
        journal = write_journal(stage, f"{name}.journal", lines_of(stage, name))
        shutil.copy(journal / "system.journal", stage.root / "var/log/journal/remote" / f"{name}.journal")
    text = block(PAGE, "sudo journalctl").text.replace("report -", "blocklist -")
    return stage.run(text).split()


def by_list_of_each(stage: Stage) -> list[str]:
    return [line for name in CALLS for line in (stage.root / "srv/lists" / name).read_text().split()]


@cache
def bans(stage: Stage) -> tuple[list[str], list[str]]:
    """Return what CrowdSec bans with one agent for all logs, and with an agent for each."""
    if test_crowdsec.PROGRAM is None:
        pytest.skip("crowdsec is not installed")
    logs = [lines_of(stage, name) for name in CALLS]
    with test_crowdsec.running(stage) as crowdsec:
        one, each = crowdsec.read([line for log in logs for line in log]), crowdsec.read(*logs)
    return sorted(one, key=ALL.index), sorted(each, key=ALL.index)


def by_one_agent(stage: Stage) -> list[str]:
    return bans(stage)[0]


def by_agents(stage: Stage) -> list[str]:
    return bans(stage)[1]


def by_joined_lists(stage: Stage) -> list[str]:
    return stage.run("cat /srv/lists/mx1 /srv/lists/mx2 | sort -u").split()


YES: Final[Mapping[str, Sequence[Callable[[Stage], list[str]]]]] = {
    "hits files of all servers": [by_kept_hits, by_hits_from_logs],
    "logs of all servers, copied, or carried by rsyslog or journald": [by_copied_logs, by_rsyslog, by_journal],
    "one CrowdSec agent that reads the logs of all servers": [by_one_agent],
}
NO: Final[Mapping[str, Sequence[Callable[[Stage], list[str]]]]] = {
    "`blocklist_file` of each server": [by_list_of_each],
    "a CrowdSec agent at each server": [by_agents],
    "lists of each server, joined (`plain`, DNS)": [by_joined_lists],
}


def test_the_page_says_which_way_knows_a_caller_of_all_servers() -> None:
    table = TEXTS[PAGE].partition("\n| way | listed |\n| --- | --- |\n")[2].partition("\n\n")[0]
    rows = dict(line.strip("| ").split(" | ") for line in table.splitlines())
    assert {way for way, listed in rows.items() if listed == "yes"} == YES.keys()
    assert NO.keys() <= {way for way, listed in rows.items() if listed.startswith("no: ")}


@pytest.mark.parametrize("way", [way for ways in YES.values() for way in ways])
def test_a_way_that_brings_the_hits_together(stage: Stage, way: Callable[[Stage], list[str]]) -> None:
    assert way(stage) == ALL


@pytest.mark.parametrize("way", [way for ways in NO.values() for way in ways])
def test_a_way_on_which_each_server_counts_its_own(stage: Stage, way: Callable[[Stage], list[str]]) -> None:
    assert way(stage) == TO_EACH_ITS_OWN


def test_the_report_counts_by_server_and_by_its_address(stage: Stage) -> None:
    counts = json.loads(stage.run("smtppseudo report --json --by server,local /srv/logs/mx1 /srv/logs/mx2"))["by"]
    by_server, by_address = (
        {row["value"]: row["count"] for row in counts[kind]["top"]} for kind in ("server", "local")
    )
    assert by_server == {name: len(calls) for name, calls in CALLS.items()}
    of_six = sum(ip == CLIENT_6 for calls in CALLS.values() for ip, _ in calls)
    assert by_address == {SERVER_4: sum(by_server.values()) - of_six, SERVER_6: of_six}
