"""The monitor's commands against the real server, each as a process of its own."""

import json
import os
import pty
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
from prometheus_client.parser import text_string_to_metric_families

from smtppseudo.events import Closed, Command, Monitor, Offline, Online, SettingsChanged
from smtppseudo.monitor.codec import encode
from tests.clients import LIMIT_S, wait_until
from tests.loopback.scripted import Conversation, Scripted
from tests.running import Running, Servers, command, environment, run
from tests.unit.monitor_peer import hello


@pytest.fixture
def server(servers: Servers) -> Running:
    return servers.start()


def state_of(server: Running) -> Path:
    return server.directory / "state"


def ask(server: Running, *arguments: str, status: int = 0) -> str:
    """Run a command against a server; return what it printed, or what it complained of in one line."""
    done = run(*arguments, "--state-dir", str(state_of(server)))
    return outcome(done, status)


def outcome(done: subprocess.CompletedProcess[str], status: int) -> str:
    assert done.returncode == status, done
    if done.stderr:
        assert done.stdout == "", done
        (line,) = done.stderr.splitlines()
        assert line.startswith("smtppseudo: ")
        return line.removeprefix("smtppseudo: ")
    return done.stdout


def monitor_port(server: Running) -> str:
    return (state_of(server) / "monitor_port").read_text().strip()


# status


def test_status_for_people(server: Running) -> None:
    server.play("HELO me", "MAIL FROM:<a@b>")
    lines = dict(line.split(maxsplit=1) for line in ask(server, "status").splitlines())
    assert lines["server"].startswith("smtppseudo ")
    assert lines["server"].endswith(f", 127.0.0.1 port {monitor_port(server)}")
    assert lines["state"].startswith("online, up 00:00:")
    assert lines["slots"] == "0 of 25 in use"
    assert lines["connected"] == "1"
    assert lines["closed"] == "1 (quit 1)"
    assert lines["commands"] == "3"


def test_status_for_programs(server: Running) -> None:
    with server.connect() as client:
        client.expect("220")
        status = json.loads(ask(server, "status", "--format", "json"))
    assert status["state"] == "online"
    assert (status["address"], str(status["port"])) == ("127.0.0.1", monitor_port(server))
    assert status["counters"]["connected"] == status["counters"]["slots_in_use"] == 1
    assert status["monitors"] == 1
    assert status["started_at"].endswith("Z")
    assert not {"type", "id", "ok"} & set(status)


def test_status_for_prometheus(server: Running) -> None:
    server.play("HELO me")
    families = list(text_string_to_metric_families(ask(server, "status", "--format", "prometheus")))
    samples = {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}
    assert samples["smtppseudo_online",] == 1
    assert samples["smtppseudo_connections_total",] == 1
    assert samples["smtppseudo_sessions_closed_total", "quit"] == 1
    assert samples["smtppseudo_slots",] == 25
    assert all(family.documentation and family.type in ("gauge", "counter") for family in families)


@pytest.mark.parametrize("form", ["text", "json", "prometheus"])
def test_the_status_of_a_server_that_is_offline(server: Running, form: str) -> None:
    ask(server, "stop")
    said = ask(server, "status", "--format", form, status=1)
    assert "offline" in said or "\nsmtppseudo_online 0\n" in said


def test_no_server(tmp_path: Path) -> None:
    (tmp_path / "monitor_port").write_text("1\n")
    for words in (["status"], ["start"], ["set", "greeting=x"], ["watch"], ["magic-word", "--generate"]):
        line = outcome(run(*words, "--state-dir", str(tmp_path)), 69)
        assert line.startswith("cannot reach 127.0.0.1 port 1: ")
        assert "smtppseudo serve" in line


def test_a_port_given_goes_before_the_one_noted(server: Running, tmp_path: Path) -> None:
    assert "port 1:" in ask(server, "status", "--monitor-port", "1", status=69)
    (tmp_path / "cookie").write_bytes((state_of(server) / "cookie").read_bytes())
    (tmp_path / "monitor_port").write_text("1\n")
    done = run("status", "--state-dir", str(tmp_path), "--monitor-port", monitor_port(server))
    assert outcome(done, 0).startswith("server ")


def test_a_host_given_means_that_the_port_noted_is_not(server: Running) -> None:
    # An address of this machine that nobody listens on, though a server may run on it.
    assert "port 26:" in ask(server, "status", "127.0.0.26", status=69)
    assert ask(server, "status", "localhost", "--monitor-port", monitor_port(server)).startswith("server ")


def test_what_is_not_tls_on_this_machine_needs_none(server: Running) -> None:
    line = ask(server, "status", "--tls", status=69)
    assert f"127.0.0.1 port {monitor_port(server)} does not speak TLS; leave out --tls" in line


def test_the_smtp_port_is_no_monitor_port(server: Running) -> None:
    assert "not a monitor port" in ask(server, "status", "--monitor-port", str(server.port), status=69)


# start, stop, set, unset, disconnect


def test_stop_and_start(server: Running) -> None:
    with server.connect() as client:
        client.expect("220")
        assert ask(server, "stop") == f"127.0.0.1 port {monitor_port(server)}: offline\n"
        client.expect("421")
    assert ask(server, "stop").endswith(": offline\n")
    with pytest.raises(ConnectionRefusedError):
        server.connect()
    assert ask(server, "start").endswith(": online\n")
    server.play("HELO me")
    assert server.wait_for_event(Offline, by="monitor").ip == "127.0.0.1"
    assert len(server.events(Online)) == 2


def test_set_and_unset(server: Running) -> None:
    shown = ask(server, "set", "greeting={hostname} ESMTP", "idle_timeout_s=60", "accept_mail=false")
    assert shown.splitlines() == [
        'greeting = "{hostname} ESMTP"  # monitor',
        "idle_timeout_s = 60  # monitor",
        "accept_mail = false  # monitor",
    ]
    with server.connect() as client:
        client.expect("220 sink.test ESMTP")
    shown = ask(server, "unset", "greeting", "idle_timeout_s")
    assert shown.splitlines() == ['greeting = "Welcome!"  # default', "idle_timeout_s = 30  # default"]
    server.wait_for_event(SettingsChanged, count=2)


@pytest.mark.parametrize(
    ("words", "status", "part"),
    [
        (["greeting=a", "idle_timeout_s=-1"], 78, "idle_timeout_s must be a number of seconds from 1"),
        (["greeting=a", "greting=b"], 78, "did you mean greeting"),
        (["greeting=a", "slots=5"], 78, "slots cannot be set while the server runs"),
        (["greeting=a", "accept_mail=maybe"], 78, "accept_mail must be true or false"),
        (["greeting=a", "reject_at=pinned"], 1, "command line"),
        (["greeting=a", "x"], 2, "KEY=VALUE"),
        (["greeting=a", f"greeting_={'x' * 17_000}"], 2, "16,384 octets"),
    ],
)
def test_set_is_all_or_nothing(servers: Servers, words: list[str], status: int, part: str) -> None:
    server = servers.start(None, "--reject-at", "rcpt")
    assert part in ask(server, "set", *words, status=status)
    with server.connect() as client:
        client.expect("220 Welcome!")


def test_unset_of_what_is_no_setting(server: Running) -> None:
    assert "did you mean greeting" in ask(server, "unset", "greting", status=78)


def test_disconnect(server: Running) -> None:
    with server.connect() as first, server.connect() as second:
        first.expect("220")
        second.expect("220")
        assert ask(server, "disconnect", "2") == "slot 2: the session is ended\n"
        second.rest()
        first.say("NOOP", "250")
    assert server.wait_for_event(Closed, reason="disconnected").slot == 2
    assert "no open session in that slot" in ask(server, "disconnect", "7", status=1)


# The magic word


class Terminal:
    """A command on a terminal of its own, and what is typed there."""

    def __init__(self, *arguments: str, **env: str) -> None:
        self._ours, theirs = pty.openpty()
        self.shown = b""
        self.process = subprocess.Popen(
            command(*arguments),
            env=environment(**env),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)

    def type_at(self, prompt: str, text: str) -> None:
        """Wait until it asks, then type a line."""
        while not self.shown.endswith(prompt.encode()):
            self._read()
        os.write(self._ours, text.encode() + b"\n")

    def end(self) -> tuple[int, str]:
        """Wait for its end; return exit status, and all that was to be seen."""
        try:
            while True:
                self._read()
        except OSError:
            pass  # EIO: nobody has the terminal open any more
        return self.process.wait(LIMIT_S), self.shown.decode()

    def _read(self) -> None:
        octets = os.read(self._ours, 4_096)
        if not octets:
            raise OSError
        self.shown += octets


def elsewhere(tmp_path: Path, server: Running, *arguments: str) -> list[str]:
    """Return a command as somebody gives it who cannot read the cookie."""
    return [*arguments, "--state-dir", str(tmp_path / "none"), "--monitor-port", monitor_port(server)]


def write_word(tmp_path: Path, word: str) -> str:
    path = tmp_path / "word"
    path.touch(0o600)
    path.write_text(word + "\n")
    return str(path)


def test_a_generated_magic_word_lets_in_whoever_has_it(server: Running, tmp_path: Path) -> None:
    status = elsewhere(tmp_path, server, "status")
    first = ask(server, "magic-word", "--generate").strip()
    assert len(first) >= 20
    outcome(run(*status, "--magic-file", write_word(tmp_path, first)), 0)
    second = ask(server, "magic-word", "--generate").strip()
    assert second != first
    outcome(run(*status, "--magic-file", write_word(tmp_path, second)), 0)
    line = outcome(run(*status, "--magic-file", write_word(tmp_path, first)), 77)
    assert "Not Authorized!" in line
    assert first not in line
    for word in (first, second):
        assert word not in server.log_text
        assert all(word not in path.read_text() for path in state_of(server).iterdir())
    assert server.wait_for_event(Monitor, action="not_authorized").event == Monitor("not_authorized", "magic")


def test_a_magic_word_from_standard_input(server: Running, tmp_path: Path) -> None:
    words = command("magic-word", "--stdin", "--state-dir", str(state_of(server)))
    for text, status in (("  a word with spaces \nmore\n", 0), ("short\n", 78), ("x" * 129, 78), ("", 78)):
        done = subprocess.run(
            words, env=environment(), input=text, capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
        assert ("the magic word is set" in outcome(done, status)) is (status == 0)
    path = write_word(tmp_path, "  a word with spaces ")
    outcome(run(*elsewhere(tmp_path, server, "status", "--magic-file", path)), 0)


def test_a_magic_word_typed_twice_and_then_typed_to_log_in(server: Running, tmp_path: Path) -> None:
    with Terminal("magic-word", "--state-dir", str(state_of(server))) as terminal:
        terminal.type_at("New magic word: ", "the magic word")
        terminal.type_at("The same again: ", "the magic word")
        status, shown = terminal.end()
        assert (status, "the magic word is set" in shown) == (0, True)
        assert "the magic word\r\nThe same" not in shown  # no echo
    with Terminal(*elsewhere(tmp_path, server, "status")) as terminal:
        terminal.type_at(f"Magic word of 127.0.0.1 port {monitor_port(server)}: ", "the magic word")
        status, shown = terminal.end()
        assert (status, "online, up" in shown) == (0, True)
        assert "the magic word" not in shown


def test_a_magic_word_mistyped(server: Running, tmp_path: Path) -> None:
    with Terminal("magic-word", "--state-dir", str(state_of(server))) as terminal:
        terminal.type_at("New magic word: ", "the magic word")
        terminal.type_at("The same again: ", "the tragic word")
        status, shown = terminal.end()
        assert (status, "not the same" in shown) == (1, True)
    with Terminal(*elsewhere(tmp_path, server, "status")) as terminal:
        terminal.type_at(": ", "the magic word")  # none was set
        status, shown = terminal.end()
        assert (status, "Not Authorized!" in shown) == (77, True)
        assert shown.count("Magic word of") == 1
    with Terminal(*elsewhere(tmp_path, server, "status")) as terminal:
        terminal.type_at(": ", "short")
        status, shown = terminal.end()
        assert (status, "8 to 128" in shown) == (77, True)
    assert len(server.events(Monitor)) == 3  # in, out, and one wrong word


def test_without_a_terminal_nobody_is_asked(server: Running, tmp_path: Path) -> None:
    for words in (["status"], ["watch"], ["stop"], ["magic-word", "--generate"]):
        line = outcome(run(*elsewhere(tmp_path, server, *words)), 77)
        assert "--magic-file FILE" in line
        assert str(tmp_path / "none" / "cookie") in line
    assert "--generate" in ask(server, "magic-word", status=2)


def test_a_magic_file_open_to_everybody_is_not_used(server: Running, tmp_path: Path) -> None:
    path = Path(write_word(tmp_path, "the magic word"))
    path.chmod(0o644)
    for words in (["status"], ["magic-word", "--generate"]):
        line = outcome(run(*elsewhere(tmp_path, server, *words, "--magic-file", str(path))), 77)
        assert f"`chmod o= {path}`" in line


# watch


class Watching:
    """A `watch`, and what it printed so far."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        directory.mkdir()
        self._out, self._err = directory / "out", directory / "err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                command("watch", *arguments), env=environment(), stdin=subprocess.DEVNULL, stdout=out, stderr=err
            )

    @property
    def lines(self) -> list[str]:
        return self._out.read_text("ascii").splitlines(keepends=True)

    @property
    def said(self) -> str:
        return self._err.read_text("ascii")

    def wait_for(self, part: str) -> list[str]:
        """Wait until such a line is there; return all lines so far."""
        wait_until(lambda: any(part in line for line in self.lines), f"{part!r} on its output")
        return self.lines

    def wait_for_said(self, part: str) -> str:
        wait_until(lambda: part in self.said, f"{part!r} on its error output")
        return self.said

    def interrupt(self) -> None:
        """End it as Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(LIMIT_S) == 130

    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]


@pytest.fixture
def watchers(tmp_path: Path) -> Iterator["Watchers"]:
    watchers = Watchers(tmp_path)
    yield watchers
    watchers.end()


class Watchers:
    """Starts watches, and ends them all."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._all: list[Watching] = []

    def start(self, state: Path, *arguments: str) -> Watching:
        place = self._directory / f"watch{len(self._all)}"
        self._all.append(Watching(place, "--state-dir", str(state), *arguments))
        return self._all[-1]

    def end(self) -> None:
        for watching in self._all:
            watching.process.kill()
            watching.process.wait()
            assert "Traceback" not in watching.said


def wait_for_monitors(server: Running, count: int) -> None:
    """Wait until so many have logged in."""
    server.wait_for_event(Monitor, count, action="login")


def test_watch_prints_the_lines_of_the_log(server: Running, watchers: Watchers) -> None:
    watching = watchers.start(state_of(server), "--from-seq", "1")
    wait_for_monitors(server, 1)
    server.play("HELO me", 'MAIL FROM:<"a b"@c>', "\x1b[31m=\\")
    lines = watching.wait_for(" closed ")
    assert "".join(lines) == server.log_text
    assert len(lines) == 8
    watching.interrupt()
    assert watching.said == ""


def test_watch_begins_with_its_login(server: Running, watchers: Watchers) -> None:
    server.play("HELO before")
    watching = watchers.start(state_of(server))
    wait_for_monitors(server, 1)
    server.play("HELO after")
    lines = watching.wait_for(" closed ")
    assert "connected" in lines[0]
    assert not any("before" in line or "login" in line for line in lines)


def test_watch_json(server: Running, watchers: Watchers) -> None:
    watching = watchers.start(state_of(server), "--json", "--from-seq", "1")
    server.play("HELO me")
    watching.wait_for('"event":"closed"')
    records = watching.records()
    assert [record["seq"] for record in records] == list(range(1, len(records) + 1))
    assert all("type" not in record for record in records)
    assert next(record for record in records if record["event"] == "command")["data"] == "HELO me"


def test_watch_with_filters(server: Running, watchers: Watchers) -> None:
    kinds = watchers.start(state_of(server), "--from-seq", "1", "--event", "connected", "--event", "closed")
    wait_for_monitors(server, 1)
    network = watchers.start(state_of(server), "--from-seq", "1", "--ip", "127.0.0.8/30")
    wait_for_monitors(server, 2)
    for source in ("127.0.0.1", "127.0.0.9"):
        with server.connect(source) as client:
            client.expect("220")
            client.say("QUIT", "221")
    wait_until(lambda: sum(" closed " in line for line in kinds.lines) == 2, "two sessions")
    assert [line.split()[1] for line in kinds.lines] == ["connected", "closed"] * 2
    assert all("ip=127.0.0.9" in line for line in network.wait_for(" closed "))
    assert [line.split()[1] for line in network.lines] == ["connected", "command", "closed"]


def test_watch_of_what_is_still_to_come(server: Running) -> None:
    assert "from_seq must be at most" in ask(server, "watch", "--from-seq", "1000000", status=1)


def test_watch_says_what_is_not_kept_any_more(server: Running, watchers: Watchers) -> None:
    for _ in range(6):
        with server.connect() as client:
            client.expect("220")
            client.send(*["NOOP"] * 200)
            for _ in range(200):
                client.expect("250")
    server.wait_for_event(Closed, count=6)
    watching = watchers.start(state_of(server), "--json", "--from-seq", "1")
    said = watching.wait_for_said("missed")
    watching.wait_for('"event":"monitor"')
    first = watching.records()[0]["seq"]
    assert said == f"smtppseudo: events missed: {first - 1}; the server no longer has 1 to {first - 1}\n"
    assert first > 1


def test_watch_ends_when_nobody_reads_it_any_more(server: Running) -> None:
    with subprocess.Popen(
        command("watch", "--json", "--from-seq", "1", "--state-dir", str(state_of(server))),
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
        # Nothing more happens at the server, and it ends all the same.
        assert process.wait(LIMIT_S) == 0
        assert process.stderr.read() == ""


def test_watch_goes_on_after_a_restart(servers: Servers, watchers: Watchers) -> None:
    server = servers.start()
    state = state_of(server)
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


def test_watch_goes_on_where_it_was_after_a_lost_connection(server: Running, watchers: Watchers) -> None:
    watching = watchers.start(state_of(server), "--json", "--from-seq", "1")
    watching.wait_for("login")
    ask(server, "magic-word", "--generate")  # other monitors are logged out
    watching.wait_for_said("reconnecting")
    server.play("HELO meanwhile")
    watching.wait_for_said("connected again")
    server.play("HELO afterwards")
    watching.wait_for("HELO afterwards")
    assert [record["seq"] for record in watching.records()] == list(range(1, len(watching.lines) + 1))
    assert "missed" not in watching.said
    assert "restarted" not in watching.said


def test_watch_does_not_try_a_refused_word_again(server: Running, watchers: Watchers, tmp_path: Path) -> None:
    word = ask(server, "magic-word", "--generate").strip()
    path = write_word(tmp_path, word)
    watching = watchers.start(
        tmp_path / "none", "--monitor-port", monitor_port(server), "--magic-file", path, "--from-seq", "1"
    )
    watching.wait_for("user=magic")
    ask(server, "magic-word", "--generate")
    assert watching.process.wait(LIMIT_S) == 77
    reconnecting, refused = watching.said.splitlines()
    assert "reconnecting" in reconnecting
    assert "Not Authorized!" in refused
    refusals = [stamped for stamped in server.records() if stamped.event == Monitor("not_authorized", "magic")]
    assert len(refusals) == 1


def test_a_busy_server_is_said_to_be_busy(server: Running, watchers: Watchers) -> None:
    for count in range(1, 9):
        watchers.start(state_of(server))
        wait_for_monitors(server, count)  # one by one: an address may have but two that have not logged in yet
    line = ask(server, "status", status=69)
    assert "busy: 8 monitors" in line


def test_what_a_hostile_server_says_harms_no_terminal() -> None:
    def script(it: Conversation) -> None:
        it.say({"type": "error", "error": "rate", "message": "\x1b]0;owned\x07 \u202e\u2028ü"})

    with Scripted(script) as hostile:
        done = run("status", "127.0.0.1", "--monitor-port", str(hostile.port), LC_ALL="C", PYTHONUTF8="0")
    assert outcome(done, 77).isprintable()
    assert "\x1b" not in done.stderr


def test_a_hostile_server_gets_no_word_but_one_proof(tmp_path: Path) -> None:
    path = write_word(tmp_path, "the magic word")

    def script(it: Conversation) -> None:
        it.say(hello(cookie_id="0" * 16))
        request = it.take()
        nonce = str(request["data"]).partition("r=")[2]
        it.sock.sendall(
            encode({"type": "reply", "id": 1, "ok": True, "data": f"r={nonce}x,s=c2FsdHNhbHQ=,i=1"}),
        )
        it.wait_for_end()

    with Scripted(script) as hostile:
        words = ["status", "--monitor-port", str(hostile.port), "--magic-file", path, "--state-dir", str(tmp_path)]
        assert "iteration count" in outcome(run(*words), 69)


def test_help_of_every_command_has_an_example() -> None:
    for name in ("watch", "status", "start", "stop", "set", "unset", "disconnect", "magic-word"):
        assert f"Example:\n  smtppseudo {name}" in outcome(run(name, "--help"), 0)


@pytest.mark.parametrize(
    "words",
    [
        ["status", "--monitor-port", "0"],
        ["status", "--monitor-port", "65536"],
        ["status", "--format", "xml"],
        ["watch", "--ip", "nowhere"],
        ["watch", "--event", "sunrise"],
        ["watch", "--from-seq", "-1"],
        ["disconnect", "x"],
        ["disconnect"],
        ["set"],
        ["unset"],
        ["magic-word", "--generate", "--stdin"],
        ["magic-word", "the word itself"],
    ],
)
def test_words_that_are_no_command(words: list[str]) -> None:
    done = run(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert "usage: " in done.stderr


def test_a_data_event_is_a_line_like_the_log_even_when_it_is_not_ascii(server: Running, watchers: Watchers) -> None:
    watching = watchers.start(state_of(server), "--from-seq", "1", "--event", "command")
    wait_for_monitors(server, 1)
    server.play("HELO \xff\xfe")
    (line, _) = watching.wait_for("QUIT")
    assert line in server.log_text
    assert server.events(Command)[0].data == b"HELO \xff\xfe"
