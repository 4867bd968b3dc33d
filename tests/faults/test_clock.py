"""The wall clock jumps while the server runs: no session or stream ends, and logs follow the new date."""

import re
from datetime import date, timedelta
from pathlib import Path

import pytest

from smtppseudo.events import Closed, Command
from tests.clients import wait_until
from tests.monitors import Monitors
from tests.running import Running, Servers

YEAR = 365
KEPT_DAYS = 20


class SetClock:
    """The offset of the wall clock, for processes that are started with `environment`."""

    def __init__(self, path: Path) -> None:
        library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
        if library is None:
            pytest.skip("faketime is not installed")
        self._path = path
        self.environment = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(path),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        self.set(0)

    def set(self, days: int) -> None:
        """Set the offset from the real time, in days."""
        aside = self._path.with_suffix(".new")
        aside.write_text(f"{days:+}d\n")
        aside.replace(self._path)


@pytest.fixture
def clock(tmp_path: Path) -> SetClock:
    """A clock for servers, without an offset."""
    return SetClock(tmp_path / "offset")


def day_of(server: Running) -> date:
    """Return the date of the newest log file of the server."""
    newest = max(server.log_dir.glob("*.log"), key=lambda path: path.stat().st_mtime_ns)
    return date.fromisoformat(newest.stem)


@pytest.mark.parametrize("days", [YEAR, -YEAR, 1, -1])
def test_a_jump_ends_no_session_and_no_stream(servers: Servers, monitors: Monitors, clock: SetClock, days: int) -> None:
    server = servers.start({"log_keep_days": KEPT_DAYS, "idle_timeout_s": 60}, env=clock.environment)
    monitor = monitors.subscribed(server)
    with server.connect() as client:
        client.expect("220")
        client.say("NOOP before", "250")
        server.wait_for_event(Command, data="NOOP before")
        today = day_of(server)
        older = [server.log_dir / f"{today - timedelta(days=back)}.log" for back in (2, KEPT_DAYS - 1)]
        for path in older:
            path.touch()
        clock.set(days)
        client.say("NOOP after", "250")
        there = server.log_dir / f"{today + timedelta(days=days)}.log"
        wait_until(lambda: there.exists() and "NOOP after" in there.read_text(), "a log of the new date")
        clock.set(0)
        client.say("NOOP again", "250")
        client.say("QUIT", "221")
        client.expect_end()
    closed = server.wait_for_event(Closed)
    assert isinstance(closed.event, Closed)
    assert closed.event.reason == "quit"
    assert closed.event.duration_ms < 60_000
    assert all(path.exists() for path in older)
    frames = monitor.events_until(event="closed")
    said = [frame["data"] for frame in frames if frame["event"] == "command"]
    assert said == ["NOOP before", "NOOP after", "NOOP again", "QUIT"]
    assert [frame["seq"] for frame in frames] == list(range(frames[0]["seq"], frames[0]["seq"] + len(frames)))
    years = [int(frame["time"][:4]) for frame in frames if frame["event"] == "command"]
    if abs(days) == YEAR:
        assert abs(years[1] - years[0]) == 1
        assert years[0] == years[2] == years[3]
    assert ("old logs are kept until tomorrow" in server.stderr) is (abs(days) == YEAR)
    server.stop()
    assert not re.search("lost", server.stderr)


def test_new_sessions_time_out_after_a_jump(servers: Servers, clock: SetClock) -> None:
    """The idle time counts from the last reply of the session, whatever the date is."""
    server = servers.start({"idle_timeout_s": 1}, env=clock.environment)
    clock.set(YEAR)
    with server.connect() as client:
        client.expect("220")
        clock.set(-YEAR)
        client.expect("421 Connection timed out")
        client.expect_end()
    (closed,) = server.wait_for(
        lambda records: [r.event for r in records if isinstance(r.event, Closed)], "the end of the session"
    )
    assert closed.reason == "idle"
    assert 1000 <= closed.duration_ms < 20_000
