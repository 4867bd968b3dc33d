"""`metrics_file`, read by Prometheus' own parser; and what happens when it cannot be written."""

import os
from itertools import pairwise
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from smtppseudo import __version__
from smtppseudo.events import Error, escape_text
from smtppseudo.server.metrics import WRITE_EVERY_S
from tests.conftest import MakeInside
from tests.inside import Inside
from tests.running import Servers, has_mode, run

LONG_ENOUGH_S = WRITE_EVERY_S + 0.1  # deadlines are kept to a twentieth of a second

Samples = dict[tuple[str, ...], float]


def samples_of(text: str) -> Samples:
    """Parse metrics; return their values by name and labels."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def play(server: Inside) -> None:
    """Play a session."""
    client = server.greeted()
    client.say("EHLO x", "250")
    client.say("QUIT", "221")
    client.expect_end()


def test_it_is_written_at_the_start_and_readable_by_all(inside: MakeInside, tmp_path: Path) -> None:
    path = tmp_path / "smtppseudo.prom"
    mask = os.umask(0o077)
    try:
        server = inside(metrics_file=str(path))
    finally:
        os.umask(mask)
    found = samples_of(path.read_text())
    assert found["smtppseudo_build_info", __version__] == 1
    assert found["smtppseudo_start_time_seconds",] == server.time.wall_ns / 1e9
    assert found["smtppseudo_online",] == 1
    assert found["smtppseudo_connections_total",] == 0
    assert has_mode(path, 0o644)
    assert list(tmp_path.glob(".*")) == []


def test_it_is_replaced_every_15_s_and_no_counter_decreases(inside: MakeInside, tmp_path: Path) -> None:
    path = tmp_path / "smtppseudo.prom"
    server = inside(metrics_file=str(path))
    seen = [path.read_text()]
    for _ in range(3):
        play(server)
        server.advance(WRITE_EVERY_S - 1)
        assert path.read_text() == seen[-1]
        inode = path.stat().st_ino
        server.advance(LONG_ENOUGH_S - WRITE_EVERY_S + 1)
        assert path.stat().st_ino != inode  # another file, in its place
        seen.append(path.read_text())
    sums = [{name: value for name, value in samples_of(text).items() if name[0].endswith("_total")} for text in seen]
    for before, after in pairwise(sums):
        assert before.keys() == after.keys()
        assert all(before[name] <= after[name] for name in before)
    assert [each["smtppseudo_connections_total",] for each in sums] == [0, 1, 2, 3]
    assert sums[-1]["smtppseudo_sessions_closed_total", "quit"] == 3


def test_after_a_stop_it_shows_the_server_offline(inside: MakeInside, tmp_path: Path) -> None:
    path = tmp_path / "smtppseudo.prom"
    server = inside(metrics_file=str(path))
    play(server)
    server.server.stop()
    found = samples_of(path.read_text())
    assert found["smtppseudo_online",] == 0
    assert found["smtppseudo_connections_total",] == 1


def test_it_shows_a_server_that_a_monitor_took_offline(inside: MakeInside, tmp_path: Path) -> None:
    path = tmp_path / "smtppseudo.prom"
    server = inside(metrics_file=str(path))
    server.server.go_offline("monitor")
    server.advance(LONG_ENOUGH_S)
    assert samples_of(path.read_text())["smtppseudo_online",] == 0


def test_a_write_error_is_reported_once_and_stops_nothing(inside: MakeInside, tmp_path: Path) -> None:
    path = tmp_path / "later" / "smtppseudo.prom"
    server = inside(metrics_file=str(path))
    complaint = f"{path}: No such file or directory; the metrics file is out of date until writing works again"
    for _ in range(3):
        server.advance(LONG_ENOUGH_S)
    assert server.said == [complaint]
    assert [event.message for event in server.events(Error)] == [escape_text(complaint)]
    play(server)
    path.parent.mkdir()
    server.advance(LONG_ENOUGH_S)
    assert samples_of(path.read_text())["smtppseudo_connections_total",] == 1
    path.unlink()
    path.parent.rmdir()
    server.advance(LONG_ENOUGH_S)
    assert server.said == [complaint] * 2


def test_it_agrees_with_the_command_status(servers: Servers, tmp_path: Path) -> None:
    path = tmp_path / "smtppseudo.prom"
    server = servers.start({"metrics_file": str(path)})
    state = ["--state-dir", str(server.directory / "state")]
    done = run("status", "--format", "prometheus", *state)
    assert (done.returncode, done.stderr) == (0, "")
    asked, written = samples_of(done.stdout), samples_of(path.read_text())
    assert asked.keys() == written.keys()
    assert asked["smtppseudo_start_time_seconds",] == written["smtppseudo_start_time_seconds",]
    assert asked["smtppseudo_build_info", __version__] == 1
    server.play()
    server.stop()
    assert samples_of(path.read_text())["smtppseudo_sessions_closed_total", "quit"] == 1
