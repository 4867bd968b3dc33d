"""`serve`: its output and log, how it stops, and what SIGHUP changes."""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from smtppseudo.events import Closed, Command, Connected, Error, Offline, Online, SettingsChanged
from smtppseudo.files import is_root
from tests import ON_WINDOWS
from tests.clients import LIMIT_S, Client, connect, wait_until
from tests.running import (
    Running,
    Servers,
    command,
    environment,
    has_mode,
    keep_user_options,
    not_on_windows,
    run,
)

STOP_S = 2.0


def greeted(server: Running) -> Client:
    client = server.connect()
    client.expect("220")
    return client


def test_it_prints_the_addresses_that_it_listens_on(servers: Servers) -> None:
    server = servers.start(listen=["127.0.0.1", "::1"])
    port = server.port
    *smtp, monitors = server.stdout.splitlines()
    assert smtp == [f"smtppseudo 1.0.0: SMTP on {address} port {port}" for address in ("127.0.0.1", "::1")]
    assert monitors.startswith("smtppseudo 1.0.0: monitors on 127.0.0.1 port ")
    assert server.stderr == ""
    assert server.events(Online) == [Online("start")]


def test_a_session_is_logged_line_by_line(servers: Servers) -> None:
    server = servers.start()
    with greeted(server) as client:
        client.say("HELO me", "250")
        client.say("MAIL FROM:<a@b> SIZE=9", "553")
        client.say("QUIT", "221")
        port = client.port
        client.expect_end()
    closed = server.wait_for_event(Closed, reason="quit")
    records = [stamped for stamped in server.records() if stamped.session]
    assert {(s.slot, s.session, s.ip, s.port) for s in records} == {(1, 1, "127.0.0.1", port)}
    assert [stamped.event for stamped in records] == [
        Connected(server.port),
        Command("HELO me", "250 Hello me from 127.0.0.1, pleased to meet you."),
        Command("MAIL FROM:<a@b> SIZE=9", "553 Sender <a@b> is Invalid!"),
        Command("QUIT", "221 Server Disconnecting"),
        closed.event,
    ]
    (path,) = server.log_dir.iterdir()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d\.log", path.name)
    assert has_mode(path, 0o640)


def test_the_log_can_be_json(servers: Servers) -> None:
    server = servers.start({"log_format": "json"})
    server.play("HELO me")
    server.wait_for_event(Closed, reason="quit")
    lines = server.log_text.splitlines()
    assert len(lines) == 5
    assert all(line.startswith('{"time":"') for line in lines)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_sends_421_to_every_session_and_ends_within_2_s(servers: Servers, number: int) -> None:
    server = servers.start({"accept_mail": True})
    silent, talking, sending = (greeted(server) for _ in range(3))
    talking.say("EHLO x", "250")
    for line, start in (("MAIL FROM:<a@b>", "250"), ("RCPT TO:<c@d>", "250"), ("DATA", "354")):
        sending.say(line, start)
    began_at = time.monotonic()
    server.stop(number, STOP_S)
    assert time.monotonic() - began_at < STOP_S
    for client in (silent, talking, sending):
        client.expect("421 sink.test closing connection")
        client.expect_end()
        client.close()
    assert [closed.reason for closed in server.events(Closed)] == ["shutdown"] * 3
    assert server.records()[-1].event == Offline("shutdown")


@pytest.mark.skipif(not is_root(), reason="needs root, for a namespace")
def test_as_the_first_process_of_a_container_it_ends_at_sigterm(servers: Servers) -> None:
    """The kernel ignores a signal that process 1 does not handle."""
    server = servers.start(prefix=["unshare", "--pid", "--fork", "--kill-child"])
    outer = server.process.pid
    (first,) = Path(f"/proc/{outer}/task/{outer}/children").read_text().split()
    os.kill(int(first), signal.SIGTERM)
    server.wait_for_end()
    assert server.records()[-1].event == Offline("shutdown")


@not_on_windows("it has no SIGSTOP")
def test_two_stop_signals_at_once_end_it_normally(servers: Servers) -> None:
    server = servers.start()
    client = greeted(server)
    server.process.send_signal(signal.SIGSTOP)
    server.process.send_signal(signal.SIGINT)
    server.process.send_signal(signal.SIGTERM)
    server.process.send_signal(signal.SIGCONT)
    server.wait_for_end()
    client.expect("421")
    client.close()


def test_verbose_prints_the_events(servers: Servers) -> None:
    server = servers.start(None, "--verbose")
    server.play("HELO \x1b[31m")
    server.wait_for_event(Closed, reason="quit")
    wait_until(lambda: "closed" in server.stdout, "the last event printed")
    assert "\x1b" not in server.stdout
    printed = [line for line in server.stdout.splitlines() if not line.startswith("smtppseudo ")]
    assert printed == server.log_text.splitlines()


def test_accept_mail_prints_a_warning(servers: Servers) -> None:
    server = servers.start({"accept_mail": True})
    assert "honest mail" in server.stderr
    assert "honest mail" in server.events(Error)[0].message


def test_accept_mail_by_a_reload_prints_a_warning(servers: Servers) -> None:
    server = servers.start()
    server.reload({"accept_mail": True})
    server.wait_for_event(SettingsChanged)
    server.stop()
    assert "honest mail" in server.stderr
    assert ["honest mail" in error.message for error in server.events(Error)] == [True]


def test_sighup_changes_new_sessions_only(servers: Servers) -> None:
    server = servers.start()
    before = greeted(server)
    before.say("HELO x", "250")
    server.reload({"reject_at": "rcpt", "greeting": "{hostname} ESMTP", "hostname": "new.test"})
    server.wait_for_event(SettingsChanged, by="monitor" if ON_WINDOWS else "SIGHUP", keys="greeting,hostname,reject_at")
    with server.connect() as after:
        assert after.expect("220") == "220 new.test ESMTP"
        after.say("MAIL FROM:<a@b>", "250")
        after.say("RCPT TO:<c@d>", "550")
    before.say("MAIL FROM:<a@b>", "553")
    before.say("QUIT", "221")
    before.expect_end()
    before.close()
    assert server.stderr == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("slots = =\n", "not valid TOML"),
        ('greeting = "new"\nreject_at = "nowhere"\n', "line 2: reject_at must be one of"),
        ("greeeting = 'new'\n", "did you mean greeting?"),
        # Only a restart would use it, and would fail.
        pytest.param(
            'blocklist_file = "/l"\nblocklist_never = ["/nowhere"]\n',
            "/nowhere: No such file or directory",
            marks=not_on_windows("/l is no whole path there"),
        ),
    ],
)
def test_sighup_with_a_bad_file_changes_nothing_and_says_why(servers: Servers, text: str, said: str) -> None:
    server = servers.start()
    client = greeted(server)
    server.reload(text)
    error = server.wait_for_event(Error)
    for told in (getattr(error.event, "message", ""), server.stderr):
        assert "settings not changed" in told
        assert said in told
    client.say("MAIL FROM:<a@b>", "553")
    client.close()
    with server.connect() as client:
        assert client.expect("220").startswith("220 Welcome!")
        client.say("MAIL FROM:<a@b>", "553")
    for format_, shown in (("text", "not changed by the last reload: "), ("prometheus", "reload_successful 0\n")):
        done = run("status", "--format", format_, "--state-dir", str(server.directory / "state"))
        assert done.returncode == 0
        assert shown in done.stdout
        assert format_ != "text" or said in done.stdout
    server.reload({"greeting": "good again"})
    server.wait_for_event(SettingsChanged)
    with server.connect() as client:
        client.expect("220 good again")
    status = json.loads(run("status", "--format", "json", "--state-dir", str(server.directory / "state")).stdout)
    assert status["settings_error"] == ""


def test_sighup_turns_data_events_off_and_on_at_once(servers: Servers) -> None:
    server = servers.start()
    client = greeted(server)
    for log_data_events in (False, True):
        server.reload({"log_data_events": log_data_events})
        server.wait_for_event(SettingsChanged, count=2 - (not log_data_events))
        client.say(f"NOOP {log_data_events}", "250")
    client.say("QUIT", "221")
    client.close()
    server.wait_for_event(Closed)
    assert [command.data for command in server.events(Command)] == ["NOOP True", "QUIT"]


def test_sighup_keeps_the_settings_of_the_command_line(servers: Servers) -> None:
    server = servers.start({"greeting": "of the file"}, "--greeting", "of the command line")
    server.reload({"greeting": "of another file", "idle_timeout_s": 60})
    server.wait_for_event(SettingsChanged, keys="idle_timeout_s")
    with server.connect() as client:
        client.expect("220 of the command line")


@not_on_windows("a reload there has another way to say it")
def test_sighup_names_the_changed_keys_that_need_a_restart(servers: Servers) -> None:
    server = servers.start()
    server.reload({"slots": 3, "greeting": "new"})
    server.wait_for_event(SettingsChanged, keys="greeting")
    wait_until(lambda: "restart" in server.stderr, "the hint")
    assert "slots" in server.stderr
    clients = [greeted(server) for _ in range(4)]
    for client in clients:
        client.close()


def test_a_reload_keeps_counting_the_slots_of_a_client(servers: Servers) -> None:
    server = servers.start({"limit_exempt": [], "slots_per_client": 3})
    clients = [greeted(server) for _ in range(3)]
    server.reload({"limit_exempt": ["127.0.0.0/8"]})
    server.wait_for_event(SettingsChanged)
    clients += [greeted(server) for _ in range(3)]
    server.reload({"limit_exempt": [], "slots_per_client": 3})
    server.wait_for_event(SettingsChanged, count=2)
    with server.connect() as one_more:
        one_more.expect("421")
    for client in clients:
        client.close()
    server.wait_for_event(Closed, count=6)
    greeted(server).close()
    server.wait_for_event(Closed, count=7)


def test_the_cookie_of_another_server_is_not_removed(servers: Servers, tmp_path: Path) -> None:
    state = tmp_path / "shared"
    servers.start({}, "--state-dir", str(state))
    second = servers.start({}, "--state-dir", str(state))
    cookie = (state / "cookie").read_text()
    servers._all[0].stop()
    assert (state / "cookie").read_text() == cookie
    second.stop()
    assert not (state / "cookie").exists()


def test_temporary_files_of_a_crash_are_removed(servers: Servers, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / ".settings.json.new").write_text("{")
    servers.start({}, "--state-dir", str(state))
    assert sorted(path.name for path in state.iterdir()) == ["cookie", "monitor_port"]


@not_on_windows("it has no SIGTERM")
def test_the_reader_of_the_printed_events_may_leave(tmp_path: Path) -> None:
    """`serve -v | head -3`: the server goes on, and ends as it should."""
    (tmp_path / "empty").touch()
    places = ["--config", str(tmp_path / "empty"), "--state-dir", str(tmp_path), "--log-dir", str(tmp_path)]
    options = ["--port", "0", "--listen", "127.0.0.1", "--monitor-port", "0", *places, *keep_user_options()]
    words = command("serve", "--verbose", *options)
    reads, writes = os.pipe()
    process = subprocess.Popen(words, env=environment(), stdout=writes, stderr=subprocess.PIPE, text=True)
    os.close(writes)
    try:
        with os.fdopen(reads) as stdout:
            port = next(int(line.rpartition(" ")[2]) for line in stdout if line.startswith("smtppseudo "))
        for _ in range(2):
            with connect("127.0.0.1", port) as client:
                client.expect("220")
                client.say("QUIT", "221")
                client.expect_end()
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=LIMIT_S)
    finally:
        process.kill()
        process.communicate()
    assert "no more events are printed" in stderr
    assert len(stderr.splitlines()) == 1
    assert process.returncode == 0
