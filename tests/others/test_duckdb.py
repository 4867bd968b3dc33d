"""DuckDB, with the commands on the guide's page: its counts are those of `smtppseudo report`."""

import gzip
import json
import shutil
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import pytest

from smtppseudo.events import Closed, Connected, Error, Event, Online, TurnedAway
from tests.bench.logs import visits
from tests.documents import BLOCKS, block
from tests.loopback.stage import Stage, network, open_stage
from tests.records import Stamped, command, render_json
from tests.running import Servers

PROGRAM: Final = shutil.which("duckdb", path=str(Path(sys.executable).parent)) or shutil.which("duckdb")
PAGE: Final = "years-of-logs"
TABLES: Final = {"ip": "address", "helo": "helo", "domain": "domain", "reason": "reason", "day": "refused"}
"""The tables of a report by the first column of a query."""
SAID: Final = (
    b"EHLO", b"ehlo A.Example  x", b"\thelo\tone two", b"HELOX b", b"EHLO \\x09", b"HELO \xff\x00", b" EHLO lead",
    b'EHLO "q', b"MAIL FROM:<>", b"mail from:<a@B.Example> SIZE=3", b"MAIL  FROM: b@c@D", b"MAIL FROM:none",
    b"MAIL TO:<a@b>", b"MAIL", b'MAIL FROM:<"a b"@c', b"MAIL\x0bFROM:<x@y>", b"MAIL\\x20FROM:<x@z>", b"MAIL FROM:",
    b"MAIL FROM:<@x:y@route>", b"", b"\\",
)  # fmt: skip

pytestmark = [pytest.mark.slow, pytest.mark.skipif(PROGRAM is None, reason="duckdb is not installed (extra `recipes`)")]


@pytest.fixture
def stage(servers: Servers) -> Iterator[Stage]:
    with network() as prefix, open_stage(prefix, servers) as stage:
        assert PROGRAM is not None
        stage.add_program("duckdb", f'#!/bin/sh\nexec {PROGRAM} -json "$@"\n')
        for name, start in (("smtppseudo.sql", "CREATE OR REPLACE MACRO"), ("queries.sql", "-- Addresses")):
            text = block(PAGE, start).text
            (stage.cwd / name).write_text(text.replace(" LIMIT 10", ""))
        yield stage


def write_logs(directory: Path) -> list[str]:
    """Write logs of some days, one of them gzipped, one with damaged lines; return their days."""
    records = [record for session in visits(150_000) for record in session]
    began = datetime.fromisoformat("2026-11-01T22:00:00+00:00")
    for number, said in enumerate(SAID * 3, 1):
        time = f"{began + timedelta(hours=number):%Y-%m-%dT%H:%M:%S}.000Z"
        events: list[Event] = [Connected(25), command(said, b"553 no"), Closed("peer", number, 2, 3, 1, number % 3)]
        records += [Stamped(0, time, 1, 100_000 + number, f"2001:db8::{number % 4}", 25, event) for event in events]
    noise = (Online("start"), TurnedAway("slots", 3), Error("disk", lost=2))
    records += [Stamped(0, "2026-11-03T10:00:00.000Z", 0, 0, "", 0, event) for event in noise]
    by_day: dict[str, list[str]] = {}
    for record, line in zip(records, render_json(records, "mx1"), strict=True):
        by_day.setdefault(record.time[:10], []).append(line)
    by_day["2026-11-03"] += ["not a record\n", '{"time":"2026-11-03T10:00:00.000Z","event":"conn\n', "\n"]
    by_day["2026-11-03"].append('{"time":"2026-11-03T10:00:00.000Z","event":"later","new":{"a":[1]},"server":"mx1"}\n')
    for day, lines in by_day.items():
        text = "".join(lines)
        if day == "2026-11-02":
            (directory / f"{day}.log.gz").write_bytes(gzip.compress(text.encode()))
        else:
            (directory / f"{day}.log").write_text(text)
    return sorted(by_day)


def reported(stage: Stage) -> dict[str, dict[str, int]]:
    """Return the tables of a report on all logs."""
    report = json.loads(stage.run(f"smtppseudo report --utc --json --top 10000 --by {','.join(TABLES.values())}"))
    assert report["damaged"] >= 2
    tables = {kind: {row["value"]: row["count"] for row in table["top"]} for kind, table in report["by"].items()}
    assert min(len(table) for table in tables.values()) >= 2
    return tables


def queried(printed: str) -> dict[str, dict[str, int]]:
    """Return the tables that the queries printed, one JSON list each."""
    tables = {}
    decoder, rest = json.JSONDecoder(), printed[printed.index("[{") :].strip()
    while rest:
        rows, end = decoder.raw_decode(rest)
        rest = rest[end:].strip()
        name, value = rows[0].keys()
        tables[TABLES[name]] = {row[name]: int(row[value]) for row in rows}
    return tables


def test_its_counts_are_those_of_report(stage: Stage) -> None:
    days = write_logs(stage.log_dir)
    stage.run(block(PAGE, "duckdb -init smtppseudo.sql smtppseudo.duckdb -c").text)
    assert queried(stage.run(block(PAGE, "duckdb -init smtppseudo.sql smtppseudo.duckdb <").text)) == reported(stage)
    (stage.root / "srv/archive").mkdir(parents=True)
    archive = block(PAGE, "day=").text
    for day in [*days, days[0]]:  # the first again: its file is replaced
        stage.run(archive.replace("$(date -d yesterday +%F)", day))
    assert len(list((stage.root / "srv/archive").iterdir())) == len(days)
    assert queried(stage.run(block(PAGE, "(echo ").text)) == reported(stage)


def test_every_block_of_the_page_is_run() -> None:
    run = ("CREATE OR REPLACE MACRO", "-- Addresses", "duckdb -init", "day=", "(echo ")
    others = [each for each in BLOCKS if each.page == PAGE and not each.first_line.startswith(run)]
    assert [each.kind for each in others] == ["sh", "toml"]
