"""Debian's CrowdSec, with the files on the guide's page: it bans the sources that `smtppseudo blocklist` lists."""

import contextlib
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest

from smtppseudo.events import Closed, Command, Connected, Event, Online, TurnedAway
from tests.clients import LIMIT_S, wait_until
from tests.documents import TEXTS, block
from tests.loopback.stage import Stage, network, open_stage
from tests.records import Stamped, command, render_json, render_text
from tests.running import Servers

Render = Callable[..., list[str]]

PROGRAM: Final = shutil.which("crowdsec")
PAGE: Final = "crowdsec"
FILES: Final = re.findall(r"^`(/etc/crowdsec/\S+)`[^`]*?\n\n```yaml\n(.*?)^```$", TEXTS[PAGE], re.MULTILINE | re.DOTALL)
PARSERS: Final = ("s00-raw/syslog-logs", "s02-enrich/dateparse-enrich", "s02-enrich/whitelists")
"""The parsers of Debian's package that it enables, and that concern us."""
MAIL: Final = command(b"MAIL FROM:<news@example.com>", b"553 Sender news@example.com is Invalid!")
COUNTS: Final[dict[str, tuple[Event, ...]]] = {
    "20.0.0.1": (command(b"EHLO x", b"250 Hello"), MAIL, MAIL),
    "20.0.0.2": (command(b"\tmail\tFROM:<a@b>", b"250 OK"),),
    "20.0.0.3": (command(b"AUTH", b'502 "no"'),),
    "20.0.0.4": (command(b'MAIL FROM:<"a b"@c> code=1 reply=', b"553 x pregreet", eol_lf=True, truncated_bytes=3),),
    "20.0.0.5": (command(b"EHLO x", b"250 Hello", pregreet=True, pipelined=True),),
    "20.0.0.6": (command(b"MAIL FROM:<>", b"553 no", pregreet=True),),
    "20.0.0.7": (command(b"XYZ", b"500 ?"), Closed("errors", 1, 2, 3, 4)),
    "20.0.0.8": (command(b"mail", b"501 Syntax"),),
    "2a01:4f8:1:2::25": (MAIL,),
}
"""What sessions do that count as evidence, by caller."""
COUNTS_NOT: Final[dict[str, tuple[Event, ...]]] = {
    "20.0.1.1": (command(b"MAIL FROM:<>", b"553 no"), command(b"RCPT TO:<a@b>", b"503 no"), command(b"DATA", b"503 x")),
    "20.0.1.2": (command(b" Mail\x0bfrom: <>", b"553 no"),),
    "20.0.1.3": (command(b"GET / HTTP/1.1", b"521 no"), Closed("http", 1, 2, 3, 1)),
    "20.0.1.8": (command(b"MAIL /x HTTP/1.1", b"500 no"), Closed("http", 1, 2, 3, 1)),
    "20.0.1.9": (command(b"MAIL * HTTP/1.1", b"500 no"), Closed("http", 1, 2, 3, 1)),
    "20.0.1.4": (command(b"AUTHX", b"500 ?"), command(b"EHLO MAIL FROM:<a@b>", b"250 pregreet=true server=mx9")),
    "20.0.1.5": (command(b"\\x09MAIL FROM:<a@b>", b"500 ?"), command(b'" pregreet=true', b"500 ?")),
    "20.0.1.6": (TurnedAway("client", 9),),
    "20.0.1.7": (Online("start"),),
    "2a01:4f8:1:3::25": (),
}  # fmt: skip

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(120),
    pytest.mark.skipif(PROGRAM is None, reason="crowdsec is not installed"),
]


def sessions(ip: str, events: tuple[Event, ...], *ages_h: float) -> list[Stamped]:
    """Return the records of sessions, each so many hours ago."""
    stamped = []
    for number, age_h in enumerate(ages_h, 1):
        time = f"{datetime.now(UTC) - timedelta(hours=age_h):%Y-%m-%dT%H:%M:%S}.000Z"
        for event in (Connected(25), *events):
            is_of_session = isinstance(event, Connected | Command | Closed)
            origin = (1, number, ip, 40_000 + number) if is_of_session else (0, 0, ip, 0)
            stamped.append(Stamped(0, time, *origin, event))
    return stamped


def everybody() -> list[Stamped]:
    """Return the records of all callers: three sessions within 29 days, or fewer, or one long ago, in order."""
    stamped = [one for ip, events in (COUNTS | COUNTS_NOT).items() for one in sessions(ip, events, 690, 300, 100)]
    stamped += sessions("20.0.2.1", (MAIL,), 690, 100)
    stamped += sessions("20.0.2.2", (MAIL, MAIL), 2, 1)
    stamped += sessions("20.0.2.3", (MAIL,), 800, 9, 2)
    stamped += sessions("20.0.2.4", (MAIL,), 690, 680, 675)  # banned until seven days after the latest
    stamped += sessions("20.0.2.5", (MAIL,), 640, 630, 620, 610, 160)
    for end in (1, 2, 3):
        stamped += sessions(f"2a01:4f8:1:4::{end}", (MAIL,), 9 + end)
    stamped += sessions("10.1.2.3", (MAIL,), 3, 2, 1) + sessions("127.0.0.1", (MAIL,), 3, 2, 1)
    return sorted(stamped, key=lambda one: one.time)


class CrowdSec:
    """One that runs on a stage, with Debian's settings and the files of the page."""

    def __init__(self, stage: Stage) -> None:
        assert PROGRAM is not None
        self.stage = stage
        usr = Path(PROGRAM).resolve().parents[1]
        self.etc = stage.root / "etc/crowdsec"
        shutil.copytree(usr.parent / "etc/crowdsec", self.etc)
        for name in PARSERS:
            stage_name, _, base = name.partition("/")
            (self.etc / "parsers" / stage_name).mkdir(parents=True, exist_ok=True)
            source = usr / "share/crowdsec/hub/parsers" / stage_name / f"crowdsecurity/{base}.yaml"
            shutil.copy(source, self.etc / "parsers" / stage_name)
        (stage.root / "var/lib/crowdsec/data").mkdir(parents=True)
        (stage.root / "var/lib/crowdsec/hub").symlink_to(usr / "share/crowdsec/hub")
        for name, text in (("local_api_credentials", ""), ("online_api_credentials", "# none\n"), ("acquis", "")):
            (self.etc / f"{name}.yaml").write_text(text)
        config = self.etc / "config.yaml"
        settings = stage.inside(config.read_text())
        config.write_text(
            settings.replace("daemonize: true", "daemonize: false").replace("media: file", "media: stdout")
        )
        for name, text in FILES:
            path = Path(stage.inside(name))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(stage.inside(text))
        (self.etc / "acquis.d/journal.yaml").write_text(block(PAGE, "source: journalctl").text)
        stage.add_program("crowdsec", f'#!/bin/sh\nexec {PROGRAM} "$@"\n')
        stage.add_program("cscli", f'#!/bin/sh\nexec {Path(PROGRAM).with_name("cscli")} -c {config} "$@"\n')
        self.journal = stage.root / "journal"
        self.journal.touch()
        stage.add_program("journalctl", f"#!/bin/sh\nexec tail -n 0 -f {self.journal}\n")
        stage.run("cscli machines add test --password secret123 --file /etc/crowdsec/local_api_credentials.yaml")
        self.key = stage.run("cscli --error bouncers add test -o raw").split()[-1]

    def banned(self) -> dict[str, str]:
        """Return the bans and their durations, from the local API."""
        text = self.stage.run(f"curl -s -H 'X-Api-Key: {self.key}' http://127.0.0.1:8080/v1/decisions")
        return {each["value"]: each["duration"] for each in json.loads(text) or ()}

    def read(self, *logs: list[str]) -> set[str]:
        """Read whole logs, each by an agent of its own; return the sources that are banned then. Lift the bans."""
        for number, lines in enumerate(logs):
            log = self.stage.cwd / f"{number}.log"  # not where the one that runs sees it
            log.write_text("".join(lines))
            self.stage.run(block(PAGE, "sudo crowdsec ").text.replace("/var/log/smtppseudo/*.log", str(log)))
        banned = set(self.banned())
        self.stage.run("cscli decisions delete --all")
        return banned


@contextlib.contextmanager
def running(stage: Stage) -> Iterator[CrowdSec]:
    """Run CrowdSec on a stage."""
    (stage.log_dir / "2026-11-01.log").touch()
    crowdsec = CrowdSec(stage)
    words = stage.words("exec crowdsec -c /etc/crowdsec/config.yaml")
    with (
        (stage.root / "output").open("wb") as file,
        subprocess.Popen(words, env=stage.env, stdout=file, stderr=file) as process,
    ):
        try:
            stage.wait_for_text(stage.root / "output", "Starting processing data")
            yield crowdsec
        finally:
            process.terminate()
            process.wait(LIMIT_S)


@pytest.fixture(scope="module")
def crowdsec() -> Iterator[CrowdSec]:
    with (
        network() as prefix,
        tempfile.TemporaryDirectory() as name,
        open_stage(prefix, Servers(Path(name))) as stage,
        running(stage) as crowdsec,
    ):
        yield crowdsec


def test_the_page_has_a_file_for_each_part() -> None:
    assert [Path(name).parts[3] for name, _ in FILES] == ["acquis.d", "parsers", "scenarios", "profiles.yaml.local"]


def test_it_understands_both_formats(crowdsec: CrowdSec) -> None:
    stage, records = crowdsec.stage, sessions("20.0.0.1", COUNTS["20.0.0.1"], 1)
    (stage.log_dir / "today.log").write_text("".join(render_text(records[1:], "mx1") + render_json(records[1:3])))
    text = block(PAGE, "sudo systemctl restart").text.replace("$(date +%F)", "today")
    shown = stage.run(text.partition("\n")[2])
    assert shown.count("\N{LARGE GREEN CIRCLE} smtppseudo/logs (+") == 5
    assert shown.count("\N{LARGE GREEN CIRCLE} smtppseudo/ipv4") == 3  # not for EHLO
    assert "No active decisions" in shown


@pytest.mark.parametrize(("render", "server_name"), [(render_text, ""), (render_json, "mx1")])
def test_it_bans_what_blocklist_lists(crowdsec: CrowdSec, render: Render, server_name: str) -> None:
    lines = render(everybody(), server_name)
    lines += render(sessions("20.0.2.6", (MAIL,), 2, 1), "mx2") + render(sessions("20.0.2.6", (MAIL,), 0.5), "mx3")
    banned = crowdsec.read(lines)
    listed = set(crowdsec.stage.run("smtppseudo blocklist 0.log").split())
    assert listed - banned == {"20.0.2.5"}  # one more session after a ban
    assert banned == {ip for ip in COUNTS if ":" not in ip} | {
        "20.0.2.6", "2a01:4f8:1:2::/64", "2a01:4f8:1:4::/64"
    }  # fmt: skip


def test_it_follows_new_logs_and_the_journal(crowdsec: CrowdSec) -> None:
    log = crowdsec.stage.log_dir / "2026-11-29.log"
    log.write_text("".join(render_text(sessions("20.0.3.1", (MAIL,), 0, 0, 0))))
    lines = render_text(sessions("20.0.3.2", (MAIL,), 0, 0, 0))
    with crowdsec.journal.open("a") as file:
        file.writelines(f"Nov 29 13:54:36 mx1 smtppseudo[77]: {line}" for line in lines)
    wait_until(lambda: {"20.0.3.1", "20.0.3.2"} <= crowdsec.banned().keys(), "two bans", poll_s=0.2)
    assert all(duration.startswith("167h59m") for duration in crowdsec.banned().values())
    crowdsec.stage.run("cscli decisions delete --all")


def test_two_agents_count_apart(crowdsec: CrowdSec) -> None:
    assert crowdsec.read(*(render_text(sessions("20.0.4.1", (MAIL,), *ages_h)) for ages_h in ((2, 1), (0.5,)))) == set()


def test_it_takes_a_list_from_smtppseudo(crowdsec: CrowdSec) -> None:
    srv = crowdsec.stage.root / "srv/logs"
    for name, ages_h in (("mx1", (2.0, 1.0)), ("mx2", (0.5,))):
        (srv / name).mkdir(parents=True)
        lines = [
            line for ip in ("20.0.5.1", "2a01:4f8:1:5::1") for line in render_text(sessions(ip, (MAIL,), *ages_h), name)
        ]
        (srv / name / "2026-11-29.log").write_text("".join(lines))
    crowdsec.stage.run(block(PAGE, "smtppseudo blocklist").text)
    assert crowdsec.banned().keys() == {"20.0.5.1", "2a01:4f8:1:5::/64"}
    shown = crowdsec.stage.run("cscli decisions list --origin cscli-import")
    assert " 20.0.5.1 " in shown.replace("Ip:", " ")
    crowdsec.stage.run("cscli decisions delete --all")
