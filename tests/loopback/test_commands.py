"""The commands that talk to a server, against the real one, each in its own process."""

import json
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from smtppseudo.config.settings import Settings
from smtppseudo.events import Closed, Offline, Online, SettingsChanged
from smtppseudo.monitor.codec import encode
from tests.loopback.commands import ask, outcome, write_word
from tests.loopback.scripted import Conversation, Scripted
from tests.monitors import monitor_port, state_dir
from tests.running import BASE, Running, Servers, run, write_settings
from tests.unit.monitor_peer import hello


@pytest.fixture
def server(servers: Servers) -> Running:
    return servers.start()


# status


def test_status_as_text(server: Running) -> None:
    server.play("HELO me", "MAIL FROM:<a@b>")
    lines = dict(line.split(maxsplit=1) for line in ask(server, "status").splitlines())
    assert lines["server"].startswith("smtppseudo ")
    assert lines["server"].endswith(f", 127.0.0.1 port {monitor_port(server)}")
    assert lines["state"].startswith("online, up 00:00:")
    assert lines["slots"] == "0 of 25 in use"
    assert lines["connected"] == "1"
    assert lines["closed"] == "1 (caller quit 1)"
    assert lines["commands"] == "3"


def test_status_as_json(server: Running) -> None:
    with server.connect() as client:
        client.expect("220")
        status = json.loads(ask(server, "status", "--format", "json"))
    assert status["state"] == "online"
    assert (status["address"], status["port"]) == ("127.0.0.1", monitor_port(server))
    assert status["counters"]["connected"] == status["counters"]["slots_in_use"] == 1
    assert status["monitors"] == 1
    assert status["started_at"].endswith("Z")
    assert not {"type", "id", "ok"} & set(status)


def test_status_in_prometheus_format(server: Running) -> None:
    server.play("HELO me")
    families = list(text_string_to_metric_families(ask(server, "status", "--format", "prometheus")))
    samples = {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}
    assert samples["smtppseudo_online",] == 1
    assert samples["smtppseudo_connections_total",] == 1
    assert samples["smtppseudo_sessions_closed_total", "quit"] == 1
    assert samples["smtppseudo_slots",] == 25
    assert all(family.documentation and family.type in ("gauge", "counter") for family in families)


@pytest.fixture(scope="module")
def offline(lasting_servers: Servers) -> Running:
    server = lasting_servers.start()
    ask(server, "stop")
    return server


@pytest.mark.parametrize("form", ["text", "json", "prometheus"])
def test_status_of_an_offline_server(offline: Running, form: str) -> None:
    said = ask(offline, "status", "--format", form, status=1)
    assert "offline" in said or "\nsmtppseudo_online 0\n" in said


def test_missing_server_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "monitor_port").write_text("1\n")
    for words in (["status"], ["start"], ["set", "greeting=x"], ["watch"], ["magic-word", "--generate"]):
        line = outcome(run(*words, "--state-dir", str(tmp_path)), 69)
        assert line.startswith("cannot reach 127.0.0.1 port 1: ")
        assert "smtppseudo serve" in line


def test_given_port_counts_before_the_noted_one(unchanged: Running, tmp_path: Path) -> None:
    assert "port 1:" in ask(unchanged, "status", "--monitor-port", "1", status=69)
    (tmp_path / "cookie").write_bytes((state_dir(unchanged) / "cookie").read_bytes())
    (tmp_path / "monitor_port").write_text("1\n")
    done = run("status", "--state-dir", str(tmp_path), "--monitor-port", str(monitor_port(unchanged)))
    assert outcome(done, 0).startswith("server ")


def test_given_loopback_address_ignores_the_noted_port(unchanged: Running) -> None:
    # An address of this machine that nobody listens on, though a server may run on it.
    assert "port 26:" in ask(unchanged, "status", "127.0.0.26", status=69)
    assert ask(unchanged, "status", "localhost", "--monitor-port", str(monitor_port(unchanged))).startswith("server ")


def test_tls_option_against_a_clear_text_port_is_explained(unchanged: Running) -> None:
    line = ask(unchanged, "status", "--tls", status=69)
    assert f"127.0.0.1 port {monitor_port(unchanged)} does not speak TLS; leave out --tls" in line


def test_smtp_port_is_recognized(unchanged: Running) -> None:
    assert "not a monitor port" in ask(unchanged, "status", "--monitor-port", str(unchanged.port), status=69)


# start, stop, reload, set, unset, disconnect


def test_stop_and_start(server: Running) -> None:
    with server.connect() as client:
        client.expect("220")
        assert ask(server, "stop") == f"SMTP on 127.0.0.1 port {server.port}: offline\n"
        client.expect("421")
    shown = ask(server, "status", status=1)
    assert "offline (the SMTP port is closed); the process is up 00:00:" in shown
    assert ask(server, "stop").endswith(": offline\n")
    with pytest.raises(ConnectionRefusedError):
        server.connect()
    assert ask(server, "start").endswith(": online\n")
    server.play("HELO me")
    assert server.wait_for_event(Offline, by="monitor").ip == "127.0.0.1"
    assert len(server.events(Online)) == 2


def test_reload_reads_the_file_again(server: Running) -> None:
    write_settings(server.config, {**BASE, "greeting": "Hello again!", "slots": 3})
    assert ask(server, "reload") == "reloaded; a restart is needed to change slots\n"
    assert server.wait_for_event(SettingsChanged, by="monitor", keys="greeting").ip == "127.0.0.1"
    with server.connect() as client:
        client.expect("220 Hello again!")


def test_reload_of_a_mistake_says_it_and_changes_nothing(server: Running) -> None:
    write_settings(server.config, {**BASE, "greeting": "Bye", "slots": 0})
    line = ask(server, "reload", status=78)
    assert line == f"{server.config}, line 4: slots must be a whole number from 1 to 60000"
    assert json.loads(ask(server, "status", "--format", "json"))["settings_error"] == line
    with server.connect() as client:
        client.expect("220 Welcome!")


def test_refusal_and_reject_at_must_go_together(server: Running) -> None:
    ask(server, "set", "reject_at=rcpt", "refusal={recipient} is unknown")
    assert 'refusal: {recipient} is known only at reject_at = rcpt, and reject_at is "mail"' in ask(
        server, "set", "reject_at=mail", status=78
    )
    assert "{sender}" in ask(server, "set", "refusal={sender}", "reject_at=helo", status=78)
    with server.connect() as client:
        client.expect("220")
        client.say("HELO me", "250")
        client.say("MAIL FROM:<a@b>", "250")
        client.say("RCPT TO:<c@d>", "550 <c@d> is unknown")


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


def test_config_of_the_running_server(servers: Servers) -> None:
    """What the server runs with, not what it would run with after a restart; as `config` prints it."""
    server = servers.start({"slots": 7}, "--reject-at", "rcpt")
    ask(server, "set", "greeting=hello")
    write_settings(server.config, {"slots": 9})
    shown = ask(server, "config", "--running").splitlines()
    for line in (
        "slots = 7  # file",
        'reject_at = "rcpt"  # command line',
        'greeting = "hello"  # monitor',
        "port = 0  # command line",
        "idle_timeout_s = 30  # default",
        'limit_exempt = ["127.0.0.0/8", "::1/128"]  # default',
    ):
        assert line in shown
    assert [line.split()[0] for line in shown] == list(Settings._fields)


@pytest.mark.parametrize("words", [["status"], ["stop", "--host"], ["watch"], ["monitor"], ["probe"]])
def test_host_with_port(unchanged: Running, words: list[str]) -> None:
    command, place = words[0], f"127.0.0.1:{monitor_port(unchanged)}"
    option = "--port" if command == "probe" else "--monitor-port"
    done = run(*words, place, option, "26")
    assert (done.returncode, "the port is given twice" in done.stderr) == (2, True)


def test_commands_use_the_port_after_the_host(server: Running) -> None:
    place = f"127.0.0.1:{monitor_port(server)}"
    assert f"127.0.0.1 port {monitor_port(server)}" in ask(server, "status", place)
    assert ask(server, "stop", "--host", place).endswith("offline\n")
    assert run("probe", f"localhost:{server.port}").returncode == 69
    assert ask(server, "start", "--host", place).endswith("online\n")
    assert run("probe", "--timeout", "1m", f"localhost:{server.port}").returncode == 0


@pytest.fixture(scope="module")
def pinned(lasting_servers: Servers) -> Running:
    """A server whose command line says where it refuses."""
    return lasting_servers.start(None, "--reject-at", "rcpt")


@pytest.mark.parametrize(
    ("words", "status", "part"),
    [
        (["greeting=a", "idle_timeout_s=-1"], 78, "idle_timeout_s must be a number of seconds from 1"),
        (
            ["greeting=a", "idle_timeout_s=5m"],
            78,
            "idle_timeout_s must be a number of seconds from 1 to 86400; 5m is 300",
        ),
        (["greeting=a", "greting=b"], 78, "did you mean greeting"),
        (["greeting=a", "slots=5"], 78, "slots cannot be set while the server runs"),
        (["greeting=a", "accept_mail=maybe"], 78, "accept_mail must be true or false"),
        (["greeting=a", "reject_at=pinned"], 1, "command line"),
        (["greeting=a", "x"], 2, "KEY=VALUE"),
        (["greeting=a", f"greeting_={'x' * 17_000}"], 2, "16,384 bytes"),
    ],
)
def test_set_is_all_or_nothing(pinned: Running, words: list[str], status: int, part: str) -> None:
    assert part in ask(pinned, "set", *words, status=status)
    with pinned.connect() as client:
        client.expect("220 Welcome!")


def test_unset_of_an_unknown_setting_is_an_error(unchanged: Running) -> None:
    assert "did you mean greeting" in ask(unchanged, "unset", "greting", status=78)


def test_disconnect(server: Running) -> None:
    with server.connect() as first, server.connect() as second:
        first.expect("220")
        second.expect("220")
        assert ask(server, "disconnect", "2") == "slot 2: the session is ended\n"
        second.rest()
        first.say("NOOP", "250")
    assert server.wait_for_event(Closed, reason="disconnected").slot == 2
    assert "no open session in that slot" in ask(server, "disconnect", "7", status=1)
    for slot in ("0", "26"):
        assert ask(server, "disconnect", slot, status=1) == f"there is no slot {slot}; the slots are 1 to 25"


def test_hostile_server_cannot_send_terminal_commands() -> None:
    def script(it: Conversation) -> None:
        it.say({"type": "error", "error": "rate", "message": "\x1b]0;owned\x07 \u202e\u2028ü"})

    with Scripted(script) as hostile:
        done = run("status", "127.0.0.1", "--monitor-port", str(hostile.port), LC_ALL="C", PYTHONUTF8="0")
    assert outcome(done, 77).isprintable()
    assert "\x1b" not in done.stderr


def test_hostile_server_gets_one_proof_and_never_the_word(tmp_path: Path) -> None:
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
        assert "iterations must be" in outcome(run(*words), 69)


def test_help_of_every_command_has_an_example() -> None:
    for name in ("watch", "status", "start", "stop", "reload", "set", "unset", "disconnect", "magic-word"):
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
def test_invalid_arguments_are_usage_errors(words: list[str]) -> None:
    done = run(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert "usage: " in done.stderr
