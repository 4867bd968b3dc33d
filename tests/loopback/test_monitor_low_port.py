"""Stopping and starting on a port that the process could not bind again."""

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients import wait_until
from tests.loopback import low_port
from tests.monitors import Monitors
from tests.running import Running, environment

pytestmark = pytest.mark.xdist_group("low port")  # one at a time: what is free now has to be free a moment later


def free_low_port() -> int:
    """Return a port below 1024 that is free; skip where it may be had without a privilege, or not at all."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    limit = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
    if not limit.exists() or int(limit.read_text()) < 1_024:
        pytest.skip("every user may bind low ports here")
    for port in range(987, 600, -1):
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    pytest.skip("no low port is free")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    """Run the server; see that it ends well."""
    port = free_low_port()
    for name in ("log", "state"):
        (tmp_path / name).mkdir(parents=True)
        os.chown(tmp_path / name, low_port.NOBODY, low_port.NOBODY)
    os.chown(tmp_path, low_port.NOBODY, low_port.NOBODY)
    words = [sys.executable, "-m", "tests.loopback.low_port", str(port), str(tmp_path)]
    with (tmp_path / "stdout").open("wb") as out, (tmp_path / "stderr").open("wb") as err:
        process = subprocess.Popen(words, env=environment(), stdout=out, stderr=err)
    server = Running(process, tmp_path, tmp_path / "log", tmp_path / "none")
    try:
        wait_until(lambda: process.poll() is not None or "monitors on" in server.stdout, "listening")
        assert process.poll() is None, server.stderr
        server.listens_on = [("127.0.0.1", port)]
        yield server
        server.stop()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def greet(server: Running) -> None:
    with server.connect() as client:
        client.expect("220")
        client.say("QUIT", "221")


def is_refused(server: Running) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", server.port)) == errno.ECONNREFUSED


def test_a_port_that_cannot_be_bound_again_is_kept(server: Running, monitors: Monitors) -> None:
    assert Path(f"/proc/{server.pid}").stat().st_uid == low_port.NOBODY
    assert server.port < 1_024
    greet(server)
    monitor = monitors.log_in(server)
    for _ in range(5):
        with server.connect() as client:
            client.expect("220")
            assert monitor.ok("stop") == {"state": "offline"}
            client.expect("421")
            client.expect_end()
        assert is_refused(server)
        assert monitor.ok("start") == {"state": "online"}
        greet(server)
    assert server.stderr == ""


def test_what_is_set_is_kept_without_a_privilege(server: Running, monitors: Monitors) -> None:
    monitor = monitors.log_in(server)
    monitor.ok("set", changes={"greeting": "Nobody"})
    assert (server.directory / "state" / "settings.json").stat().st_uid == low_port.NOBODY
    with server.connect() as client:
        client.expect("220 Nobody")
