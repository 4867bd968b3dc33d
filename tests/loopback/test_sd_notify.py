"""The messages that a running server sends to the service manager."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from smtppseudo.events import Closed
from tests.clients import LIMIT_S, wait_until
from tests.monitors import Monitors
from tests.running import Running, Servers, command, environment, has_mode

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="needs local sockets")


class Manager:
    """The service manager's socket."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(str(path))
        self.sock.settimeout(LIMIT_S)

    @property
    def env(self) -> dict[str, str]:
        return {"NOTIFY_SOCKET": str(self.path)}

    def receive(self) -> str:
        """Return the next message."""
        return self.sock.recv(8192).decode()

    def receive_until(self, start: str) -> str:
        """Return the next message that begins like this."""
        return next(message for message in iter(self.receive, "") if message.startswith(start))


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(tmp_path / "notify")
    yield manager
    manager.sock.close()


def test_the_messages_from_start_to_stop(servers: Servers, manager: Manager, monitors: Monitors) -> None:
    server = servers.start(env=manager.env)
    assert manager.receive() == "READY=1\nSTATUS=Online: 0 of 25 slots, 0 connections, 0 monitors"
    monitor = monitors.log_in(server)
    server.play("HELO me")
    server.wait_for_event(Closed)
    with server.connect() as client:
        client.expect("220")
        assert manager.receive() == "STATUS=Online: 1 of 25 slots, 2 connections, 1 monitor"
        monitor.ok("stop")
        assert manager.receive() == "STATUS=Offline: 0 of 25 slots, 2 connections, 1 monitor"
    server.stop()
    assert manager.receive() == "STOPPING=1\nSTATUS=Stopping"


@pytest.mark.parametrize("text", ["", "slots = = 3\n"])
def test_a_reload_ends_with_ready_even_if_it_fails(servers: Servers, manager: Manager, text: str) -> None:
    server = servers.start(env=manager.env)
    manager.receive()
    server.reload(text)
    assert manager.receive().startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert manager.receive().startswith("READY=1\nSTATUS=Online: ")


def test_the_error_of_a_failed_start_is_sent(manager: Manager, tmp_path: Path) -> None:
    config = tmp_path / "smtppseudo.toml"
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        for text, status, said in (("slots = 0\n", 78, "line 1: slots must be"), ("", 1, f"port {port}: ")):
            config.write_text(text)
            places = ["--config", str(config), "--state-dir", str(tmp_path), "--log-dir", str(tmp_path)]
            words = ["serve", "--listen", "127.0.0.1", "--port", str(port), "--monitor-port", "0", *places]
            done = subprocess.run(command(*words), env=environment(**manager.env), capture_output=True, check=False)
            assert done.returncode == status
            message = manager.receive()
            assert f"smtppseudo: {message.removeprefix('STATUS=')}\n" == done.stderr.decode()
            assert said in message


def test_the_watchdog_is_reset_again_and_again(servers: Servers, manager: Manager) -> None:
    servers.start(env=manager.env | {"WATCHDOG_USEC": "200000"})
    for _ in range(3):
        manager.receive_until("WATCHDOG=1")


def play_session(server: Running) -> None:
    server.play("HELO me")


def test_a_manager_that_goes_away_stops_nothing(servers: Servers, manager: Manager) -> None:
    server = servers.start(env=manager.env | {"WATCHDOG_USEC": "100000"})
    manager.receive_until("WATCHDOG=1")
    manager.sock.close()
    manager.path.unlink()
    play_session(server)
    server.reload({"greeting": "new"})
    wait_until(lambda: "settings" in server.log_text, "the reload")
    play_session(server)
    server.stop()
    assert server.stderr == ""


def test_a_manager_that_does_not_read_stops_nothing(servers: Servers, manager: Manager) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as flood:
        flood.setblocking(False)
        server = servers.start(env=manager.env | {"WATCHDOG_USEC": "100000"})
        is_full = False
        while not is_full:
            try:
                flood.sendto(b"", str(manager.path))
            except BlockingIOError:
                is_full = True
    play_session(server)
    server.reload({"greeting": "new"})
    wait_until(lambda: "settings" in server.log_text, "the reload")
    play_session(server)
    server.stop()


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="needs root, on Linux")
@pytest.mark.parametrize(("state_directory", "mode"), [("/var/lib/smtppseudo", 0o640), ("", 0o600)])
def test_the_group_of_a_system_service_can_read_its_cookie(servers: Servers, state_directory: str, mode: int) -> None:
    own_var_lib = 'umask 027; mount -t tmpfs tmpfs /var/lib && mkdir /var/lib/smtppseudo && exec "$@"'
    prefix = ["unshare", "-m", "sh", "-c", own_var_lib, "sh"]
    env = {"STATE_DIRECTORY": state_directory}
    server = servers.start(None, "--state-dir", "/var/lib/smtppseudo", prefix=prefix, env=env)
    state = Path(f"/proc/{server.pid}/root/var/lib/smtppseudo")
    assert has_mode(state / "cookie", mode)
    assert has_mode(state / "monitor_port", 0o644)
