"""Logs, state and settings of commit 6869f68, with names from before "bytes", are read as that version read them.

A server of that commit wrote `tests/data/before-bytes` in two runs, `text` and `json`. `report.json`, `blocklist.json`
and `config.txt` are the output of its commands `report`, `blocklist` and `config` for these files.
"""

import gzip
import json
import re
from pathlib import Path
from typing import Any, Final

import pytest

from smtppseudo.blocklist.evidence import HitFinder
from smtppseudo.blocklist.formats import RENDERERS, order
from smtppseudo.blocklist.hits import hits_in
from smtppseudo.blocklist.hits_file import coverage_of, parse_hits, render_hits
from smtppseudo.blocklist.never_listed import read_never_listed
from smtppseudo.blocklist.policy import Hits, policy_of
from smtppseudo.config.file import parse_file, to_toml
from smtppseudo.config.layers import Configuration
from smtppseudo.config.settings import Settings
from smtppseudo.events import Closed, Command, Error, Message, TurnedAway
from smtppseudo.link.incoming import parse_event
from smtppseudo.log.records import render_record
from smtppseudo.logread.logs import Reading, find
from smtppseudo.logread.scan import Row
from smtppseudo.monitor.credentials import Credentials, derive
from smtppseudo.report.report import KINDS, Report
from smtppseudo.report.tables import View
from smtppseudo.report.tables import render_json as render_report
from tests.records import parse, render_json, render_text
from tests.running import CHECKOUT

DATA: Final = CHECKOUT / "tests/data/before-bytes"
FORMATS: Final = ("text", "json")
RENAMED: Final = {
    "refused": "turned_away",
    "octets": "bytes",
    "received_octets": "received_bytes",
    "sent_octets": "sent_bytes",
    "truncated_octets": "truncated_bytes",
    "left_out": "not_logged",
    "kept": "duration",
    "kept_s": "wasted_s",
    "stutter_octets_per_s": "stutter_bytes_per_s",
    "log_max_octets_per_day": "log_max_bytes_per_day",
    "log_min_free_octets": "log_min_free_bytes",
}
WORD: Final = "a wrong word no more"


def reading_of(log_format: str) -> Reading:
    return Reading(find(DATA / log_format / "log"))


def rows_of(log_format: str) -> list[Row]:
    return [row for rows in reading_of(log_format) for row in rows]


def lines_of(log_format: str) -> list[str]:
    """Return the lines of the log of a run that is not gzipped."""
    return (DATA / log_format / "log/2026-11-28.log").read_text("ascii").splitlines()


def with_current_names(members: dict[str, Any]) -> dict[str, Any]:
    return {RENAMED.get(name, name): value for name, value in members.items()}


@pytest.mark.parametrize("log_format", FORMATS)
def test_report_equals_the_old_report(log_format: str) -> None:
    old = with_current_names(json.loads((DATA / log_format / "report.json").read_text()))
    old["by"] = with_current_names(old["by"])
    old["suppressed"] = 0  # the first reports did not have it
    old["before"] = None
    report = Report([kind for kind in KINDS if kind not in ("recipient", "refused", "server", "local")], None)
    reading = reading_of(log_format)
    for rows in reading:
        report.add(rows)
    old["mails_refused"] = 11  # inferred: the first servers did not count them
    assert json.loads(render_report(report, View(lines=reading.lines, damaged=reading.damaged))) == old
    assert reading.problems == []


@pytest.mark.parametrize("log_format", FORMATS)
def test_block_list_equals_the_old_one(log_format: str) -> None:
    old = (DATA / log_format / "blocklist.json").read_text()
    now = max(int(at) for at in re.findall(r" (\d{10})\b", (DATA / "text/state/blocklist_hits").read_text())) + 3_600
    never = read_never_listed((), ())
    hits = Hits(policy_of(Settings()))
    for hit in hits_in(rows_of(log_format), HitFinder(frozenset(Settings().blocklist_evidence))):
        hits.add(hit.source, hit.at)
    entries = [entry for entry in hits.review(hits.sources(), now) if never.reason(entry.source) is None]
    assert "".join(RENDERERS["json"](sorted(entries, key=order), "sink.test")) == old


def test_logs_have_every_renamed_event_and_field() -> None:
    events = [parse(line).event for line in lines_of("text")]
    assert any(isinstance(event, TurnedAway) and event.count for event in events)
    assert any(isinstance(event, Message) and event.bytes for event in events)
    assert any(isinstance(event, Command) and event.truncated_bytes for event in events)
    assert any(isinstance(event, Closed) and event.received_bytes and event.sent_bytes for event in events)
    assert any(isinstance(event, Error) and event.lost for event in (parse(line).event for line in lines_of("json")))
    assert any("left_out" in line for line in gunzipped(DATA / "json/log/2026-11-28.log.1.gz"))


def gunzipped(path: Path) -> list[str]:
    return gzip.decompress(path.read_bytes()).decode("ascii").splitlines()


def renamed_line(line: str) -> str:
    """Return a line with the current names, without the code under test."""
    line = re.sub(r"^(\S{24} )refused ", r"\1turned_away ", line.replace('"event":"refused"', '"event":"turned_away"'))
    for old, current in RENAMED.items():
        line = re.sub(rf'(?<= ){old}(?==\d)|(?<="){old}(?=":\d)', current, line)
    return line


def without_mails(line: str) -> str:
    """Return a rendered line without the number that the old server did not count."""
    return re.sub(r' mails_refused=0|,"mails_refused":0', "", line)


@pytest.mark.parametrize("log_format", FORMATS)
def test_every_line_is_read_with_current_names(log_format: str) -> None:
    render = render_text if log_format == "text" else render_json
    for line in lines_of(log_format):
        assert without_mails(render([parse(line)])[0]) == renamed_line(line) + "\n"


def test_events_of_an_old_server_get_current_names() -> None:
    for seq, line in enumerate(lines_of("json") + gunzipped(DATA / "json/log/2026-11-28.log.1.gz")):
        event = parse_event({"type": "event", "seq": seq, **json.loads(line)})
        assert event.seq == seq
        assert json.dumps(event.record, separators=(",", ":")) == renamed_line(line)
        assert render_record(event.record) == without_mails(render_text([parse(line)])[0])


def test_settings_equal_the_old_ones_with_one_warning_for_each_old_name() -> None:
    warnings: list[str] = []
    file = parse_file((DATA / "text/smtppseudo.toml").read_text(), "smtppseudo.toml", warnings.append)
    stored = json.loads((DATA / "text/state/settings.json").read_text())
    configuration = Configuration(file, {}, {}, {}).with_monitor(stored, warnings.append)
    in_force = {
        name: (to_toml(value), configuration.origins[name]) for name, value in configuration.settings._asdict().items()
    }
    old = dict[str, tuple[str, str]]()
    for line in (DATA / "text/config.txt").read_text().splitlines():
        name, value, origin = re.fullmatch(r"(\w+) = (.*)  # ([a-z ]+)", line).groups()  # type: ignore[union-attr]
        old[RENAMED.get(name, name)] = (value, origin)
    assert {name: in_force[name] for name in old} == old
    assert warnings == [
        "smtppseudo.toml, line 8: log_min_free_octets is now called log_min_free_bytes; the old name still works",
        "smtppseudo.toml, line 9: log_max_octets_per_day is now called log_max_bytes_per_day; the old name still works",
        "smtppseudo.toml, line 10: stutter_octets_per_s is now called stutter_bytes_per_s; the old name still works",
        "stutter_octets_per_s is now called stutter_bytes_per_s; the old name still works",
    ]


def test_stored_hits_are_read() -> None:
    text = (DATA / "text/state/blocklist_hits").read_text()
    hits = Hits(policy_of(Settings()))
    for source, times in map(parse_hits, text.splitlines()):
        for at in times:
            hits.add(source, at)
    _, *lines = render_hits(coverage_of(hits.policy, ()), ((each, hits.times_of(each)) for each in hits.sources()))
    assert sorted(lines) == sorted(text.splitlines(keepends=True))


def test_stored_magic_word_is_valid() -> None:
    credentials = Credentials.from_text((DATA / "text/state/credentials").read_text())
    assert derive(WORD, credentials.salt, credentials.iterations) == credentials


def test_no_line_is_damaged() -> None:
    for log_format in FORMATS:
        reading = reading_of(log_format)
        assert sum(map(len, reading)) == reading.lines > 0
        assert reading.damaged == 0
