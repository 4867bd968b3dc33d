"""`watch` against the real server: lines, filters, and lost connections."""

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from smtppseudo.events import Closed, Command, Monitor
from tests.clients import LIMIT_S, wait_until
from tests.loopback.commands import ask, write_word
from tests.monitors import monitor_port, state_dir
from tests.running import Running, Servers, command, environment, interrupt, not_on_windows, start


@pytest.fixture
def server(servers: Servers) -> Running:
    return servers.start()


class Watching:
    """A `watch` process, and its output so far."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        directory.mkdir()
        self._out, self._err = directory / "out", directory / "err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = start(command("watch", *arguments), env=environment(), stdout=out, stderr=err)

    @property
    def lines(self) -> list[str]:
        """The whole lines so far."""
        return [line for line in self._out.read_text("ascii").splitlines(keepends=True) if line.endswith("\n")]

    @property
    def said(self) -> str:
        return self._err.read_text("ascii")

    def wait_for(self, part: str) -> list[str]:
        """Wait for a line with this text; return all lines so far."""
        wait_until(lambda: any(part in line for line in self.lines), f"{part!r} on its output")
        return self.lines

    def wait_for_said(self, part: str) -> str:
        wait_until(lambda: part in self.said, f"{part!r} on its error output")
        return self.said

    def interrupt(self) -> None:
        """End it like Ctrl-C."""
        interrupt(self.process, signal.SIGINT)
        assert self.process.wait(LIMIT_S) == 130

    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]


@pytest.fixture
def watchers(tmp_path: Path) -> Iterator["Watchers"]:
    watchers = Watchers(tmp_path)
    yield watchers
    watchers.end()


class Watchers:
    """Starts `watch` processes, and ends them all."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._all: list[Watching] = []

    def start(self, state: Path, *arguments: str) -> Watching:
        place = self._directory / f"watch{len(self._all)}"
        self._all.append(Watching(place, "--state-dir", str(state), *arguments))
        return self._all[-1]

    def end(self) -> None:
        for watching in self._all:
            with watching.process as process:
                process.kill()
            assert "Traceback" not in watching.said


def wait_for_monitors(server: Running, count: int) -> None:
    """Wait until this number of monitors has logged in."""
    server.wait_for_event(Monitor, count, action="login")


def test_watch_prints_the_lines_of_the_log(server: Running, watchers: Watchers) -> None:
    watching = watchers.start(state_dir(server), "--from-seq", "1")
    wait_for_monitors(server, 1)
    server.play("HELO me", 'MAIL FROM:<"a b"@c>', "\x1b[31m=\\")
    lines = watching.wait_for(" closed ")
    assert "".join(lines) == server.log_text
    assert len(lines) == 8
    watching.interrupt()
    assert watching.said == ""


def test_watch_begins_at_its_login(server: Running, watchers: Watchers) -> None:
    server.play("HELO before")
    watching = watchers.start(state_dir(server))
    wait_for_monitors(server, 1)
    server.play("HELO after")
    lines = watching.wait_for(" closed ")
    assert "connected" in lines[0]
    assert not any("before" in line or "login" in line for line in lines)


def test_watch_prints_json(server: Running, watchers: Watchers) -> None:
    watching = watchers.start(state_dir(server), "--json", "--from-seq", "1")
    server.play("HELO me")
    watching.wait_for('"event":"closed"')
    records = watching.records()
    assert [record["seq"] for record in records] == list(range(1, len(records) + 1))
    assert all("type" not in record for record in records)
    assert next(record for record in records if record["event"] == "command")["data"] == "HELO me"


def test_watch_filters_by_kind_and_network(server: Running, watchers: Watchers) -> None:
    kinds = watchers.start(state_dir(server), "--from-seq", "1", "--event", "connected", "--event", "closed")
    wait_for_monitors(server, 1)
    network = watchers.start(state_dir(server), "--from-seq", "1", "--ip", "127.0.0.8/30")
    wait_for_monitors(server, 2)
    for source in ("127.0.0.1", "127.0.0.9"):
        with server.connect(source) as client:
            client.expect("220")
            client.say("QUIT", "221")
    wait_until(lambda: sum(" closed " in line for line in kinds.lines) == 2, "two sessions")
    assert [line.split()[1] for line in kinds.lines] == ["connected", "closed"] * 2
    assert all("ip=127.0.0.9" in line for line in network.wait_for(" closed "))
    assert [line.split()[1] for line in network.lines] == ["connected", "command", "closed"]


def test_watch_from_a_future_event_is_an_error(server: Running) -> None:
    assert "from_seq must be at most" in ask(server, "watch", "--from-seq", "1000000", status=1)


def test_watch_reports_events_that_the_server_no_longer_has(server: Running, watchers: Watchers) -> None:
    for _ in range(6):
        with server.connect() as client:
            client.expect("220")
            client.send(*["NOOP"] * 200)
            for _ in range(200):
                client.expect("250")
    server.wait_for_event(Closed, count=6)
    watching = watchers.start(state_dir(server), "--json", "--from-seq", "1")
    said = watching.wait_for_said("missed")
    watching.wait_for('"event":"monitor"')
    first = watching.records()[0]["seq"]
    assert said == f"smtppseudo: events missed: {first - 1}; the server no longer has 1 to {first - 1}\n"
    assert first > 1


@not_on_windows("it has no poll; `watch` ends with the next event")
def test_watch_ends_when_its_reader_ends(server: Running) -> None:
    with subprocess.Popen(
        command("watch", "--json", "--from-seq", "1", "--state-dir", str(state_dir(server))),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        server.play("HELO me")
        assert process.stdout is not None
        assert process.stderr is not None
        assert [json.loads(process.stdout.readline())["seq"] for _ in range(3)] == [1, 2, 3]
        process.stdout.close()
        # It ends although the server sends nothing more.
        assert process.wait(LIMIT_S) == 0
        assert process.stderr.read() == ""


def test_watch_continues_after_a_restart(servers: Servers, watchers: Watchers) -> None:
    server = servers.start()
    state = state_dir(server)
    watching = watchers.start(state, "--json")
    wait_for_monitors(server, 1)
    server.play("HELO first")
    watching.wait_for("HELO first")
    server.stop()
    watching.wait_for_said("the server ended the connection (shutdown); reconnecting\n")
    watching.wait_for('"by":"shutdown"')
    before = len(watching.lines)
    server = servers.start(None, "--state-dir", str(state))  # on other ports, with another cookie
    server.play("HELO second")
    watching.wait_for("HELO second")
    said = watching.wait_for_said("connected again").splitlines()
    assert said[1] == f"smtppseudo: 127.0.0.1 port {(state / 'monitor_port').read_text().strip()}: connected again"
    assert "was restarted" in watching.wait_for_said("restarted")
    again = watching.records()[before:]
    assert [record["seq"] for record in again] == list(range(1, len(again) + 1))
    assert (again[0]["event"], again[0]["by"]) == ("online", "start")
    assert watching.process.poll() is None


def test_watch_continues_without_gap_after_a_lost_connection(server: Running, watchers: Watchers) -> None:
    watching = watchers.start(state_dir(server), "--json", "--from-seq", "1")
    watching.wait_for("login")
    ask(server, "magic-word", "--generate")  # other monitors are logged out
    watching.wait_for_said("reconnecting")
    server.play("HELO meanwhile")
    watching.wait_for_said("connected again")
    server.play("HELO afterwards")
    watching.wait_for("HELO afterwards")
    seqs = [record["seq"] for record in watching.records()]  # read once: further lines may be on their way
    assert seqs == list(range(1, len(seqs) + 1))
    assert "missed" not in watching.said
    assert "restarted" not in watching.said


def test_watch_does_not_retry_a_refused_word(server: Running, watchers: Watchers, tmp_path: Path) -> None:
    word = ask(server, "magic-word", "--generate").strip()
    path = write_word(tmp_path, word)
    watching = watchers.start(
        tmp_path / "none", "--monitor-port", str(monitor_port(server)), "--magic-file", path, "--from-seq", "1"
    )
    watching.wait_for("user=magic")
    ask(server, "magic-word", "--generate")
    assert watching.process.wait(LIMIT_S) == 77
    reconnecting, refused = watching.said.splitlines()
    assert "reconnecting" in reconnecting
    assert "Not Authorized!" in refused
    refusals = [stamped for stamped in server.records() if stamped.event == Monitor("not_authorized", "magic")]
    assert len(refusals) == 1


def test_busy_server_is_reported(server: Running, watchers: Watchers) -> None:
    for count in range(1, 9):
        watchers.start(state_dir(server))
        wait_for_monitors(server, count)  # one by one: an address may have but two that have not logged in yet
    line = ask(server, "status", status=69)
    assert "busy: 8 monitors" in line


def test_watch_escapes_data_like_the_log(server: Running, watchers: Watchers) -> None:
    watching = watchers.start(state_dir(server), "--from-seq", "1", "--event", "command")
    wait_for_monitors(server, 1)
    server.play("HELO \xff\xfe")
    (line, _) = watching.wait_for("QUIT")
    assert line in server.log_text
    assert server.events(Command)[0].data == r"HELO \xff\xfe"
