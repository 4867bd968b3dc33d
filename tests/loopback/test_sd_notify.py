"""What a service manager hears of a running server: that it is ready, how it does, that its loop turns, why it ends."""

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
from tests.running import Running, Servers, command, environment

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="needs local sockets")


class Manager:
    """A service manager that only listens."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(str(path))
        self.sock.settimeout(LIMIT_S)

    @property
    def env(self) -> dict[str, str]:
        return {"NOTIFY_SOCKET": str(self.path)}

    def hear(self) -> str:
        """Return the next message."""
        return self.sock.recv(8192).decode()

    def hear_until(self, start: str) -> str:
        """Return the next message that begins like this."""
        return next(message for message in iter(self.hear, "") if message.startswith(start))


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(tmp_path / "notify")
    yield manager
    manager.sock.close()


def test_a_life(servers: Servers, manager: Manager, monitors: Monitors) -> None:
    server = servers.start(env=manager.env)
    assert manager.hear() == "READY=1\nSTATUS=Online: 0 of 25 slots, 0 connections, 0 monitors"
    monitor = monitors.log_in(server)
    server.play("HELO me")
    server.wait_for_event(Closed)
    with server.connect() as client:
        client.expect("220")
        assert manager.hear() == "STATUS=Online: 1 of 25 slots, 2 connections, 1 monitor"
        monitor.ok("stop")
        assert manager.hear() == "STATUS=Offline: 0 of 25 slots, 2 connections, 1 monitor"
    server.stop()
    assert manager.hear() == "STOPPING=1\nSTATUS=Stopping"


@pytest.mark.parametrize("text", ["", "slots = = 3\n"])
def test_a_reload_well_or_not(servers: Servers, manager: Manager, text: str) -> None:
    server = servers.start(env=manager.env)
    manager.hear()
    server.reload(text)
    assert manager.hear().startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert manager.hear().startswith("READY=1\nSTATUS=Online: ")


def test_why_it_does_not_start(manager: Manager, tmp_path: Path) -> None:
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
            heard = manager.hear()
            assert f"smtppseudo: {heard.removeprefix('STATUS=')}\n" == done.stderr.decode()
            assert said in heard


def test_a_loop_that_turns_is_known_to(servers: Servers, manager: Manager) -> None:
    servers.start(env=manager.env | {"WATCHDOG_USEC": "200000"})
    for _ in range(3):
        manager.hear_until("WATCHDOG=1")


def is_serving(server: Running) -> None:
    server.play("HELO me")


def test_a_manager_that_goes_away_costs_nothing(servers: Servers, manager: Manager) -> None:
    server = servers.start(env=manager.env | {"WATCHDOG_USEC": "100000"})
    manager.hear_until("WATCHDOG=1")
    manager.sock.close()
    manager.path.unlink()
    is_serving(server)
    server.reload({"greeting": "anew"})
    wait_until(lambda: "settings" in server.log_text, "the reload")
    is_serving(server)
    server.stop()
    assert server.stderr == ""


def test_a_manager_that_does_not_listen_costs_little(servers: Servers, manager: Manager) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as flood:
        flood.setblocking(False)
        server = servers.start(env=manager.env | {"WATCHDOG_USEC": "100000"})
        is_full = False
        while not is_full:
            try:
                flood.sendto(b"", str(manager.path))
            except BlockingIOError:
                is_full = True
    is_serving(server)
    server.reload({"greeting": "anew"})
    wait_until(lambda: "settings" in server.log_text, "the reload")
    is_serving(server)
    server.stop()


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="needs root, on Linux")
@pytest.mark.parametrize(("state_directory", "mode"), [("/var/lib/smtppseudo", 0o640), ("", 0o600)])
def test_the_cookie_of_a_service_is_its_groups(servers: Servers, state_directory: str, mode: int) -> None:
    own_var_lib = 'umask 027; mount -t tmpfs tmpfs /var/lib && mkdir /var/lib/smtppseudo && exec "$@"'
    prefix = ["unshare", "-m", "sh", "-c", own_var_lib, "sh"]
    env = {"STATE_DIRECTORY": state_directory}
    server = servers.start(None, "--state-dir", "/var/lib/smtppseudo", prefix=prefix, env=env)
    state = Path(f"/proc/{server.pid}/root/var/lib/smtppseudo")
    assert (state / "cookie").stat().st_mode & 0o777 == mode
    assert (state / "monitor_port").stat().st_mode & 0o777 == 0o644
