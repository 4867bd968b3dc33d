"""`status` and `watch` with several HOSTs: servers that share a magic word, and servers that are away or refuse it."""

import json
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from smtppseudo.link.route import shown_names
from smtppseudo.monitor.credentials import WORD_ITERATIONS, derive
from tests.clients import LIMIT_S, wait_until
from tests.loopback.commands import Terminal, write_word
from tests.loopback.scripted import Conversation, Scripted
from tests.loopback.test_screen import Terminal as ScreenTerminal
from tests.monitors import credentials_text, monitor_port
from tests.running import Running, Servers, command, environment, run
from tests.unit.monitor_peer import SNAPSHOT
from tests.unit.monitor_peer import Peer as ScriptedPeer
from tests.unit.test_status import FIELDS as STATUS

WORD = "open sesame, please"


@pytest.fixture
def start(servers: Servers, tmp_path: Path) -> Callable[..., Running]:
    """Starts a server with a magic word and these settings."""

    def start(number: int, word: str = WORD, port: int = 0, **settings: Any) -> Running:
        state = tmp_path / f"state{number}"
        state.mkdir(exist_ok=True)
        (state / "credentials").write_text(credentials_text(word))
        return servers.start(settings, "--state-dir", str(state), "--monitor-port", str(port))

    return start


def host(server: Running) -> str:
    """Return the HOST of a server."""
    return f"127.0.0.1:{monitor_port(server)}"


@pytest.fixture
def away() -> Iterator[str]:
    """A HOST at which nobody answers."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{sock.getsockname()[1]}"


@pytest.fixture
def access(tmp_path: Path) -> list[str]:
    """The options with the word, of a user without cookies."""
    return ["--state-dir", str(tmp_path / "none"), "--magic-file", write_word(tmp_path, WORD)]


def test_status_of_several_servers(start: Callable[..., Running], access: list[str], away: str) -> None:
    named, unnamed, other = start(1, server_name="mx1"), start(2), start(3, "another word")
    hosts = [host(named), host(unnamed)]
    named.play("HELO x", "MAIL FROM:<a@b>")
    unnamed.play("HELO x", "MAIL FROM:<a@b>")
    text = run("status", *hosts, *access)
    assert (text.returncode, text.stderr) == (0, "")
    rows = [line.split() for line in text.stdout.splitlines()]
    assert [row[0] for row in rows] == ["server", "mx1", hosts[1], "2"]
    assert rows[1][1:6] == ["online", "0", "25", "1", "1"]
    assert rows[3][:8] == ["2", "servers", "2", "online", "0", "50", "2", "2"]
    done = run("status", *hosts, hosts[0], away, "--format", "json", *access)
    assert done.returncode == 69
    first, second, third = json.loads(done.stdout)
    assert (first["name"], first["state"], second["name"]) == ("mx1", "online", hosts[1])
    assert (third["name"], third["exit_status"]) == (away, 69)
    assert done.stderr == f"smtppseudo: {third['error']}\n"
    assert "Connection refused" in third["error"]
    done = run("status", host(other), *hosts, away, *access)
    assert done.returncode == 77  # the highest
    assert "Not Authorized!" in done.stderr
    assert [line.split(maxsplit=2)[1:] for line in done.stdout.splitlines()[1:5:3]] == [
        ["not", "authorized"],
        ["unreachable"],
    ]


def test_metrics_of_several_servers_have_one_help_a_family(start: Callable[..., Running], access: list[str]) -> None:
    twins = [start(number, server_name="mx1") for number in (1, 2)]
    hosts = [host(server) for server in twins]
    text = run("status", *hosts, "--format", "prometheus", *access).stdout
    assert text.count("# HELP smtppseudo_online ") == text.count("# TYPE smtppseudo_online ") == 1
    families = {family.name: family for family in text_string_to_metric_families(text)}
    # Servers with the same name are told apart by their addresses.
    assert [sample.labels["server"] for sample in families["smtppseudo_online"].samples] == hosts
    samples = [line for line in text.splitlines() if not line.startswith("#")]
    assert len({sample.rpartition(" ")[0] for sample in samples}) == len(samples)


def test_a_word_that_servers_share_is_asked_once(start: Callable[..., Running], tmp_path: Path) -> None:
    hosts = [host(start(number)) for number in (1, 2)]
    with Terminal("status", *hosts, "--state-dir", str(tmp_path / "none")) as terminal:
        terminal.type_at(": ", WORD)
        status, shown = terminal.end()
    assert status == 0
    assert shown.count("Magic word of") == 1
    assert "2 servers" in shown


def test_a_pin_is_for_one_server() -> None:
    done = run("status", "192.0.2.1", "192.0.2.2", "--pin", "SHA256:" + ":".join(["0A"] * 32))
    assert done.returncode == 2
    assert "give one HOST" in done.stderr


def test_watch_merges_streams(start: Callable[..., Running], access: list[str], away: str, tmp_path: Path) -> None:
    servers = [start(1, server_name="mx1"), start(2)]
    hosts = [host(server) for server in servers]
    out, err = tmp_path / "out", tmp_path / "err"
    arguments = ["watch", *hosts, away, "--from-seq", "1", "--event", "connected", "--event", "closed", *access]
    with out.open("wb") as stdout, err.open("wb") as stderr:
        process = subprocess.Popen(command(*arguments), env=environment(), stdout=stdout, stderr=stderr)
    try:
        port = away.rpartition(":")[2]
        wait_until(lambda: f"cannot reach 127.0.0.1 port {port}" in err.read_text(), "the server that is away")
        for _ in range(3):
            for server in servers:
                server.play("HELO x")
        wait_until(lambda: out.read_text().count(" closed ") == 6, "all sessions")
        lines = out.read_text().splitlines()
        assert sum(line.endswith(" server=mx1") for line in lines) == 6
        assert sum(line.endswith(f" server={hosts[1]}") for line in lines) == 6
        servers[0].stop()
        wait_until(lambda: "(shutdown); reconnecting" in err.read_text(), "a server that ends")
        servers[1].play("HELO x")
        wait_until(lambda: out.read_text().count(" closed ") == 7, "the other one goes on")
        again = start(1, port=monitor_port(servers[0]), server_name="mx1")
        wait_until(lambda: f"port {monitor_port(servers[0])}: connected again" in err.read_text(), "it is back")

        again.play("HELO x")
        wait_until(lambda: out.read_text().count(" closed ") == 8, "its events")
        assert "mx1: the server was restarted" in err.read_text()
        assert err.read_text().count(port) == 1
    finally:
        process.kill()
        process.wait()


def test_the_screen_shows_a_list_and_asks_for_the_shared_word_once(
    start: Callable[..., Running], away: str, tmp_path: Path
) -> None:
    hosts = [host(start(number, server_name=f"mx{number}")) for number in (1, 2)]
    arguments = ["monitor", *hosts, away, "--state-dir", str(tmp_path / "none")]
    for _ in range(2):
        screen = ScreenTerminal(tmp_path, tmp_path, *arguments)
        try:
            screen.wait_for(rb"The word is tried at each server here")
            screen.type(WORD.encode() + b"\r")
            screen.wait_for(rb"mx1(?s:.)*mx2")
            screen.wait_for(rb"unreachable")
            screen.type(b"\x1b[B\r")
            screen.wait_for(rb"Top callers")
            screen.type(b"\x1b")
            screen.wait_for(rb"servers online(?s:.)*Top callers(?s:.)*servers online")
            screen.type(b"q")
            assert screen.wait_for_end() == 0
            assert screen.is_restored()
        finally:
            screen.process.kill()
            screen.process.wait()
            screen.hang_up()
        arguments = ["monitor", "--state-dir", str(tmp_path / "none")]  # the list is remembered


def test_watch_ends_if_every_server_refuses(start: Callable[..., Running], access: list[str]) -> None:
    hosts = [host(start(number, "another word")) for number in (1, 2)]
    done = run("watch", *hosts, *access)
    assert done.returncode == 77
    assert done.stderr.count("Not Authorized!") == 2


def test_watch_of_several_ends_with_its_reader(start: Callable[..., Running], access: list[str]) -> None:
    servers = [start(1), start(2)]
    with subprocess.Popen(
        command("watch", "--from-seq", "1", "--json", *map(host, servers), *access),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())["server"] in map(host, servers)
        process.stdout.close()
        assert process.wait(LIMIT_S) == 0
        assert process.stderr.read() == ""


@pytest.mark.parametrize("started_at", ["0001-01-01", "0001-01-01T00:00:00+23:59", "x"])
def test_a_server_with_a_wrong_clock_costs_only_its_own_row(
    start: Callable[..., Running], access: list[str], started_at: str
) -> None:
    def script(it: Conversation) -> None:
        it.peer = ScriptedPeer({"magic": derive(WORD, bytes(16), WORD_ITERATIONS)})
        it.peer.snapshot = [{**SNAPSHOT, "started_at": started_at}]
        it.peer.replies["status"] = [STATUS]
        it.log_in()
        it.answer()

    good = host(start(1))
    with Scripted(script) as server:
        done = run("status", good, f"127.0.0.1:{server.port}", "--format", "prometheus", *access)
    assert done.returncode == 69
    assert done.stderr.startswith(f"smtppseudo: 127.0.0.1 port {server.port}: ")
    assert f'smtppseudo_online{{server="{good}"}} 1\n' in done.stdout


def test_a_server_cannot_take_the_name_of_another() -> None:
    own = {"a": "mx1", "b": "mx1", "c": "a", "d": "", "e": "mx2"}
    assert shown_names(own) == {"a": "a", "b": "b", "c": "c", "d": "d", "e": "mx2"}


def test_watch_shows_the_addresses_of_servers_with_one_name(
    start: Callable[..., Running], access: list[str], tmp_path: Path
) -> None:
    servers = [start(number, server_name="mx1") for number in (1, 2)]
    out = tmp_path / "out"

    def is_shown() -> bool:
        for server in servers:
            server.play("HELO x")
        return all(f" server={host(server)}\n" in out.read_text() for server in servers)

    arguments = command("watch", *map(host, servers), *access)
    with out.open("wb") as stdout, subprocess.Popen(arguments, env=environment(), stdout=stdout) as process:
        try:
            wait_until(is_shown, "the addresses")
        finally:
            process.kill()


@pytest.mark.parametrize("line", ["reload", "stop", "start", "block 20.1.1.1", "unblock 20.1.1.1", "blocked"])
@pytest.mark.parametrize("reply", [{}, {"need_restart": 7, "smtp": {}, "blocked": [7], "settings": [], "until": []}])
def test_a_reply_that_lacks_everything_is_no_traceback(access: list[str], line: str, reply: dict[str, object]) -> None:
    def script(it: Conversation) -> None:
        it.peer = ScriptedPeer({"magic": derive(WORD, bytes(16), WORD_ITERATIONS)})
        it.peer.replies[line.split(maxsplit=1)[0]] = [reply]
        it.log_in()
        it.answer()

    with Scripted(script) as server:
        done = run(*line.split(), "--host", f"127.0.0.1:{server.port}", *access)
    assert "Traceback" not in done.stderr


def test_a_block_list_without_end_has_an_end(access: list[str]) -> None:
    def script(it: Conversation) -> None:
        it.peer = ScriptedPeer({"magic": derive(WORD, bytes(16), WORD_ITERATIONS)})
        it.peer.replies["blocked"] = [{"blocked": [{"network": "20.1.1.1"}] * 500}]
        it.log_in()
        for _ in range(20):
            it.answer()
        it.wait_for_end()

    with Scripted(script) as server:
        done = run("blocked", "--host", f"127.0.0.1:{server.port}", *access)
    assert done.stdout.count("20.1.1.1") == 10_000


def test_a_server_cannot_choose_its_name_in_the_array_nor_make_rows_long(
    start: Callable[..., Running], access: list[str]
) -> None:
    good = host(start(1))
    settings = {"server_name": "x" * 400}
    for state, form in (("online", "json"), ("s" * 400, "text")):

        def script(it: Conversation, state: str = state) -> None:
            it.peer = ScriptedPeer({"magic": derive(WORD, bytes(16), WORD_ITERATIONS)})
            it.peer.snapshot = [{**SNAPSHOT, "settings": settings}]
            it.peer.replies["status"] = [{**STATUS, "state": state, "name": good}]
            it.log_in()
            it.answer()

        with Scripted(script) as server:
            done = run("status", good, f"127.0.0.1:{server.port}", "--format", form, *access)
        if form == "json":
            assert [each["name"] for each in json.loads(done.stdout)] == [good, "x" * 64]
        else:
            assert "is neither online nor offline" in done.stderr
            assert max(map(len, done.stdout.splitlines())) < 200
