"""Inherited sockets: served, suspended and resumed, and left listening for the next server."""

import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from smtppseudo.events import Closed, Online
from tests.clients import connect, wait_until
from tests.inherited import BACKLOG, Held, bound, prefix_for
from tests.monitors import Monitors, monitor_port
from tests.running import NotStartedError, Servers, command, environment

BOTH = ("smtp", "monitor")
QUEUED = 20

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="systemd is Linux's")


@pytest.fixture
def held() -> Iterator[Held]:
    """One socket for SMTP, one for monitors."""
    with Held(*BOTH) as held:
        yield held


def is_refused(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED


def greet(port: int) -> None:
    with connect("127.0.0.1", port) as client:
        client.expect("220")
        client.say("QUIT", "221")
        client.expect_end()


def test_inherited_sockets_are_served_and_reported(held: Held, servers: Servers, monitors: Monitors) -> None:
    server = held.start(servers)
    smtp, monitor = held.ports
    assert server.stdout.splitlines() == [
        f"smtppseudo 1.0.0: SMTP on 127.0.0.1 port {smtp}",
        f"smtppseudo 1.0.0: monitors on 127.0.0.1 port {monitor}",
    ]
    assert (server.directory / "state" / "monitor_port").read_text() == f"{monitor}\n"
    settings = monitors.log_in(server).ok("get")["settings"]
    assert (settings["listen"], settings["port"]) == (["127.0.0.1"], smtp)
    assert (settings["monitor_listen"], settings["monitor_port"]) == (["127.0.0.1"], monitor)
    greet(smtp)


def test_several_sockets_with_one_name(servers: Servers, monitors: Monitors) -> None:
    with Held("smtp", "smtp", "monitor") as held, Held("smtp", address="::1") as held6:
        held.socks += held6.socks
        held.names += held6.names
        server = held.start(servers)
        assert [port for _, port in server.listens_on] == [*held.ports[:2], held.ports[3]]
        assert monitors.log_in(server).ok("get")["settings"]["listen"] == ["127.0.0.1", "::1"]
        for port in held.ports[:2]:
            greet(port)
        with connect("::1", held.ports[3]) as client:
            client.expect("220")


def test_a_port_without_inherited_socket_is_opened(servers: Servers) -> None:
    with Held("smtp") as held:
        server = held.start(servers)
        assert server.port == held.ports[0]
        assert monitor_port(server) not in held.ports


def test_sockets_for_another_process_are_ignored(held: Held, servers: Servers) -> None:
    server = held.start(servers, env={"LISTEN_PID": "1"})
    assert server.port not in held.ports
    (line,) = server.stderr.splitlines()
    assert line.startswith("smtppseudo: warning: LISTEN_PID is '1' and this process is ")


def test_addresses_that_the_service_manager_overrides_are_one_warning(held: Held, servers: Servers) -> None:
    server = held.start(servers, monitor_listen=["127.0.0.2"])
    (line,) = server.stderr.splitlines()
    assert "warning: monitor_listen not used: the service manager has opened the ports" in line
    assert "systemctl edit smtppseudo-monitor.socket" in line


def test_inherited_sockets_are_closed_on_exec(held: Held, servers: Servers) -> None:
    server = held.start(servers)
    for fd in (3, 4):
        (flags,) = [
            int(line.split()[1], 8)
            for line in Path(f"/proc/{server.pid}/fdinfo/{fd}").read_text().splitlines()
            if line.startswith("flags:")
        ]
        assert flags & os.O_CLOEXEC


def test_a_reload_reports_no_change_of_inherited_addresses(held: Held, servers: Servers) -> None:
    server = held.start(servers)
    server.reload({"port": 2525, "listen": ["0.0.0.0"], "greeting": "again"})
    wait_until(lambda: "settings" in server.log_text, "the reload")
    with connect("127.0.0.1", held.ports[0]) as client:
        client.expect("220 again")
    assert server.stderr == ""


@pytest.mark.parametrize("cleartext", [False, True])
def test_an_inherited_socket_for_remote_monitors_needs_cleartext(
    servers: Servers, tmp_path: Path, cleartext: bool
) -> None:
    with Held("monitor", address="0.0.0.0") as held:
        config = tmp_path / "cleartext.toml"
        config.write_text("monitor_cleartext = true\n" if cleartext else "")
        if cleartext:
            assert monitor_port(held.start(servers, "--config", str(config))) == held.ports[0]
            return
        with pytest.raises(NotStartedError, match=r"0\.0\.0\.0 is not a loopback address") as caught:
            held.start(servers, "--config", str(config))
        assert caught.value.status == 78


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_callers_during_a_restart_are_served_by_the_next_server(held: Held, servers: Servers, number: int) -> None:
    first = held.start(servers)
    if number == signal.SIGKILL:
        first.kill()
    else:
        first.stop(number)
    clients = [connect("127.0.0.1", held.ports[0]) for _ in range(QUEUED)]
    second = held.start(servers)
    for client in clients:
        client.expect("220")
        client.close()
    second.wait_for_event(Closed, count=QUEUED)


def test_no_caller_is_lost_during_many_restarts(held: Held, servers: Servers) -> None:
    is_over = threading.Event()
    greeted: list[str] = []
    failures: list[Exception] = []

    def call() -> None:
        while not is_over.is_set() and not failures:
            try:
                with connect("127.0.0.1", held.ports[0]) as client:
                    greeted.append(client.expect("220"))
            except (OSError, AssertionError) as error:
                failures.append(error)

    server = held.start(servers)
    caller = threading.Thread(target=call)
    caller.start()
    try:
        for _ in range(3):
            before = len(greeted)
            wait_until(lambda before=before: failures or len(greeted) > before + 5, "callers")  # type: ignore[misc]
            server.stop()
            server = held.start(servers)
    finally:
        is_over.set()
        caller.join()
    assert failures == []


def test_a_monitor_can_stop_and_start_an_inherited_port(held: Held, servers: Servers, monitors: Monitors) -> None:
    server = held.start(servers)
    assert held.backlog == BACKLOG
    monitor = monitors.log_in(server)
    for _ in range(3):
        monitor.ok("stop")
        assert is_refused(held.ports[0])
        monitor.ok("start")
        greet(held.ports[0])
        assert held.backlog == BACKLOG


def test_a_stop_while_offline_leaves_the_socket_listening(held: Held, servers: Servers, monitors: Monitors) -> None:
    server = held.start(servers)
    monitors.log_in(server).ok("stop")
    assert not held.is_listening()
    server.stop()
    assert held.is_listening()
    assert held.backlog == BACKLOG
    held.start(servers)
    greet(held.ports[0])


def test_a_socket_that_a_killed_server_has_shut_down_listens_again(
    held: Held, servers: Servers, monitors: Monitors
) -> None:
    server = held.start(servers)
    monitors.log_in(server).ok("stop")
    server.kill()
    assert is_refused(held.ports[0])
    second = held.start(servers)
    greet(held.ports[0])
    assert second.events(Online) == [Online("start")]


def refusal(tmp_path: Path, socks: Sequence[socket.socket], names: str, **env: str) -> str:
    """Start a server with sockets that it must refuse; return its error, which its manager gets too."""
    words = ["serve", "--state-dir", str(tmp_path), "--log-dir", str(tmp_path)]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        done = subprocess.run(
            command(*words, prefix=prefix_for(socks, names.split(":"))),
            env=environment(CONFIGURATION_DIRECTORY=str(tmp_path), NOTIFY_SOCKET=str(tmp_path / "notify"), **env),
            pass_fds=[sock.fileno() for sock in socks],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert (done.returncode, done.stdout) == (78, ""), done.stderr
        (line,) = done.stderr.splitlines()
        assert f"STATUS={line.removeprefix('smtppseudo: ')}" == manager.recv(4096).decode()
    return line


@pytest.mark.parametrize("name", ["smtppseudo.socket", "unknown", "SMTP", ""])
def test_an_unknown_name(held: Held, tmp_path: Path, name: str) -> None:
    line = refusal(tmp_path, held.socks, f"smtp:{name}")
    assert f"descriptor 4 is named {name!r}" in line
    assert "FileDescriptorName=" in line


@pytest.mark.parametrize("names", ["smtp", "smtp:monitor:smtp"])
def test_more_or_fewer_names_than_sockets(held: Held, tmp_path: Path, names: str) -> None:
    assert "LISTEN_FDNAMES names" in refusal(tmp_path, held.socks, names)


@pytest.mark.parametrize("count", ["", "-1", "x", "65", "1" * 50, "\u0662"])
def test_an_invalid_count(held: Held, tmp_path: Path, count: str) -> None:
    assert "LISTEN_FDS must be" in refusal(tmp_path, held.socks, "smtp:monitor", LISTEN_FDS=count)


def test_a_descriptor_that_is_not_open(held: Held, tmp_path: Path) -> None:
    line = refusal(tmp_path, held.socks[:1], "smtp:monitor", LISTEN_FDS="2")
    assert "descriptor 4 (monitor) is not a TCP socket to listen on: Bad file descriptor" in line


@pytest.mark.parametrize("kind", ["datagrams", "local", "unbound", "connected"])
def test_sockets_that_cannot_listen(tmp_path: Path, kind: str) -> None:
    with bound() as other:
        if kind == "datagrams":
            sock = bound(kind=socket.SOCK_DGRAM)
        elif kind == "local":
            sock = socket.socket(socket.AF_UNIX)
            sock.bind(str(tmp_path / "local"))
        elif kind == "unbound":
            sock = socket.socket()
        else:
            sock = bound()
            other.listen()
            sock.connect(other.getsockname())
        with sock:
            assert "descriptor 3 (smtp) is not a TCP socket" in refusal(tmp_path, [sock], "smtp")


def test_systemd_socket_activate_starts_it_for_the_first_caller(servers: Servers, tmp_path: Path) -> None:
    if shutil.which("systemd-socket-activate") is None:
        pytest.skip("systemd-socket-activate is not installed")
    with Held(*BOTH) as held:
        smtp, monitor = held.ports
    words = ["systemd-socket-activate", "--fdname=smtp:monitor"]
    words += [f"--listen=127.0.0.1:{port}" for port in (smtp, monitor)]
    words += [f"--setenv={name}={value}" for name, value in environment().items() if name.startswith("PYTHON")]
    places = ["--state-dir", str(tmp_path), "--log-dir", str(tmp_path)]
    (tmp_path / "empty").touch()
    with (tmp_path / "stdout").open("wb") as out:
        process = subprocess.Popen(
            [*words, *command("serve", "--config", str(tmp_path / "empty"), *places)],
            env=environment(),
            stdout=out,
            stderr=subprocess.DEVNULL,
        )
    try:
        wait_until(lambda: not is_refused(smtp), "listening")
        greet(smtp)
        assert json.loads((tmp_path / "monitor_port").read_text()) == monitor
        process.terminate()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
