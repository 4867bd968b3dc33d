"""Logs of two servers on a central host, as the guide sets it up: by rsyslog, and by the journal's own programs.

What the commands say there is what they say of the logs themselves.
"""

import contextlib
import re
import signal
import uuid
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

import pytest

from smtppseudo.events import Command, escape
from tests.clients import wait_until
from tests.documents import block
from tests.loopback.block_runs import require
from tests.loopback.stage import Stage, network, open_stage
from tests.loopback.test_blocklist import A, B, C, hits
from tests.records import render_json, render_text
from tests.running import Servers

pytestmark = pytest.mark.slow

PAGE: Final = "several-servers"
NAMES: Final = ("mx1", "mx2")
PROGRAMS: Final = "/lib/systemd/systemd-journal-"


@pytest.fixture
def stage(servers: Servers) -> Iterator[Stage]:
    with network() as prefix, open_stage(prefix, servers) as stage:
        (stage.root / "srv/logs").mkdir(parents=True)
        yield stage


def lines_of(name: str, *, newest: bool = True) -> list[str]:
    """Return the lines of a server, in order: A and C called three times in all, B twice; one line is very long."""
    calls: dict[str, list[tuple[str, list[float]]]] = {
        "mx1": [(A, [3, 2]), (B, [3]), (C, [2.5])],
        "mx2": [(A, [1]), (B, [2]), (C, [2, 1])],
    }
    some = [one for ip, ago in calls[name] for one in hits(ip, *(days for days in ago if newest or days > 1))]
    some += [one._replace(event=Command(escape(b"\x80" * 2_046), "500 no")) for one in hits("20.9.9.9", 3)]
    more = [record for number in range(2_000) for record in hits(f"20.2.{number >> 8}.{number & 255}", 2.2)]
    records = sorted([*some, *more], key=lambda record: record.time)
    return (render_json if name == "mx2" else render_text)(records, name)


def by_day(lines: list[str]) -> dict[str, str]:
    """Return the text of each day, by the name of its file."""
    days: defaultdict[str, str] = defaultdict(str)
    for line in lines:
        days[f"{re.findall('[0-9-]{10}', line)[0]}.log"] += line
    return dict(days)


def texts_in(directory: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(directory.glob("*.log"))}


def outcome(stage: Stage, logs: str) -> tuple[str, str]:
    """Return the block list and the report of logs."""
    return stage.run(f"smtppseudo blocklist {logs}"), stage.run(f"smtppseudo report {logs}")


@contextlib.contextmanager
def rsyslogd(stage: Stage, name: str, text: str) -> Iterator[None]:
    """Run rsyslogd with settings, and with the name of its host."""
    directory = stage.root / name
    directory.mkdir(exist_ok=True)
    preamble = f'global(workDirectory="{directory}" localHostname="{name}")\n'
    (directory / "rsyslog.conf").write_text(preamble + stage.inside(text))
    with stage.background(f"rsyslogd -n -i {directory}/pid -f {directory}/rsyslog.conf", by=signal.SIGTERM):
        yield


@pytest.mark.timeout(120)
def test_rsyslog_carries_logs_to_a_directory_for_each_server(stage: Stage) -> None:
    """The central host comes late, and one server's rsyslog is restarted; each line arrives once and in order."""
    require("rsyslogd")
    server, central = block(PAGE, "# server").text, block(PAGE, "# central host").text
    for name in NAMES:
        (stage.log_dir / name).mkdir()
        for day, text in by_day(lines_of(name, newest=False)).items():
            (stage.log_dir / name / day).write_text(text)
    of_server = {name: server.replace("/smtppseudo/*", f"/smtppseudo/{name}/*") for name in NAMES}

    def is_all_there() -> bool:
        return all(texts_in(stage.root / "srv/logs" / name) == texts_in(stage.log_dir / name) for name in NAMES)

    with rsyslogd(stage, "mx1", of_server["mx1"]):
        with rsyslogd(stage, "mx2", of_server["mx2"]):
            wait_until(lambda: list((stage.root / "mx2").glob("smtppseudo.0*")), "a queue on the disk")
            with rsyslogd(stage, "central", central):
                wait_until(is_all_there, "all lines")
        for day, text in by_day(lines_of("mx2")).items():
            (stage.log_dir / "mx2" / day).write_text(text)
        with rsyslogd(stage, "central", central), rsyslogd(stage, "mx2", of_server["mx2"]):
            wait_until(is_all_there, "the new lines")
    there = outcome(stage, "/srv/logs/mx1 /srv/logs/mx2")
    assert there == outcome(stage, "/var/log/smtppseudo/mx1 /var/log/smtppseudo/mx2")
    assert f"{A}\n" in there[0]
    assert f"{B}\n" not in there[0]


def write_journal(stage: Stage, name: str, lines: list[str]) -> Path:
    """Write the journal of a host on which the server logs to standard output."""
    ids = f"_BOOT_ID={uuid.uuid4().hex}\n_MACHINE_ID={uuid.uuid4().hex}\n_HOSTNAME={name}\n"
    text = ""
    for number, line in enumerate(lines):
        time = datetime.fromisoformat(re.findall("[0-9T:.-]{23}", line)[0]).timestamp() * 1e6 + number % 1_000
        text += f"__REALTIME_TIMESTAMP={time:.0f}\n__MONOTONIC_TIMESTAMP={number}\n{ids}PRIORITY=6\n"
        text += f"_SYSTEMD_UNIT=smtppseudo.service\nMESSAGE={line}\n"
    directory = stage.root / name
    directory.mkdir()
    (directory / "export").write_text(text)
    stage.run(f"{PROGRAMS}remote -o {directory}/system.journal {directory}/export")
    return directory


@pytest.mark.timeout(120)
def test_the_journals_of_servers_are_read_on_a_central_host(stage: Stage) -> None:
    require(f"{PROGRAMS}remote", f"{PROGRAMS}upload", "systemd-socket-activate", "journalctl")
    (remote,) = re.findall(r"^ExecStart=(/.+)$", block(PAGE, "[Service]").text, re.MULTILINE)
    (url,) = re.findall(r"^URL=(.+)$", block(PAGE, "[Upload]").text, re.MULTILINE)
    read = block(PAGE, "sudo journalctl").text
    (stage.root / "var/log/journal/remote").mkdir(parents=True)
    uploads = []
    for name in NAMES:
        (stage.root / "srv/logs" / name).mkdir()
        for day, text in by_day(lines_of(name)).items():
            (stage.root / "srv/logs" / name / day).write_text(text)
        directory = write_journal(stage, name, lines_of(name))
        options = f"--directory={directory} --save-state={directory}/state --follow=no"
        uploads.append(f"{PROGRAMS}upload --url={url} {options}")
    stage.run(uploads[0], 1)  # the central host is away
    with stage.background(f"systemd-socket-activate -l {url.rpartition(':')[2]} {remote}"):
        for upload in uploads:
            stage.run(f"until {upload}; do :; done")
    printed = stage.run(read.partition(" |")[0])
    for name in NAMES:
        assert [line for line in printed.splitlines(keepends=True) if name in line] == lines_of(name)
    there = (stage.run(read.replace("smtppseudo report", "smtppseudo blocklist")), stage.run(read))
    assert there == outcome(stage, "/srv/logs/mx1 /srv/logs/mx2")
