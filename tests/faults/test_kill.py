"""kill -9 under load: the log is complete except for its last line, which the next start ends."""

import contextlib
import os
import random
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from smtppseudo.events import Closed, Command, Connected, Offline, Online
from tests.clients import connect, wait_until
from tests.records import parse
from tests.running import Running, Servers, events, read_records

KILLS = int(os.environ.get("SMTPPSEUDO_TEST_KILLS", "30"))
CLIENTS = 4
LONGEST_S = 0.15


class Load:
    """Clients that play one session after the other until the server is killed, and count the complete ones."""

    def __init__(self, port: int) -> None:
        self.played = 0
        self._port = port
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._play_on) for _ in range(CLIENTS)]

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Play during the block, until the server is killed."""
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            for thread in self._threads:
                thread.join()

    def _play_on(self) -> None:
        with contextlib.suppress(OSError, AssertionError):
            while True:
                self._play()
                with self._lock:
                    self.played += 1

    def _play(self) -> None:
        with connect("127.0.0.1", self._port) as client:
            client.send("EHLO x", *["NOOP " + "x" * 400] * 20, "QUIT")  # many bytes in each write
            client.sock.shutdown(socket.SHUT_WR)
            assert b"221" in client.rest()


def kill_under_load(server: Running, at: random.Random) -> int:
    """Kill a server at a random moment; return how many sessions were complete."""
    load = Load(server.port)
    moment = time.monotonic() + at.random() * LONGEST_S
    with load.running():
        wait_until(lambda: time.monotonic() > moment, "the moment", poll_s=0.001)
        server.kill()
    return load.played


@pytest.mark.slow
@pytest.mark.timeout(60 + KILLS)
def test_a_kill_leaves_at_most_the_last_line_unfinished(servers: Servers, tmp_path: Path) -> None:
    at, log_dir = random.Random(25), tmp_path / "log"
    bytes_before, is_cut_short = 0, False
    for _ in range(KILLS):
        server = servers.start(log_dir=log_dir)
        played = kill_under_load(server, at)
        log = b"".join(path.read_bytes() for path in sorted(log_dir.iterdir()))
        *lines, rest = log[bytes_before:].split(b"\n")
        if is_cut_short:
            assert lines.pop(0) == b""  # first the server ends the unfinished line
        records = [parse(line.decode("ascii")) for line in lines]
        # A session is logged in the turn in which it ends, so each client misses at most its last one.
        assert len(events(records, Closed)) >= played - CLIENTS
        bytes_before, is_cut_short = len(log), rest != b""


def test_the_next_start_ends_a_line_that_was_cut_short(servers: Servers, tmp_path: Path) -> None:
    log_dir = tmp_path / "log"
    server = servers.start(log_dir=log_dir)
    server.play("HELO x")
    server.wait_for_event(Closed)
    server.kill()
    (path,) = log_dir.iterdir()
    cut_short = path.read_bytes()[:-30]
    path.write_bytes(cut_short)
    server = servers.start(log_dir=log_dir)
    server.play("HELO x")
    server.stop()
    data = path.read_bytes()
    assert data.startswith(cut_short + b"\n")
    new = data[len(cut_short) + 1 :].decode("ascii").splitlines()
    assert [type(parse(line).event) for line in new] == [Online, Connected, Command, Command, Closed, Offline]


def test_a_kill_leaves_no_gap_before_the_last_turn(servers: Servers, tmp_path: Path) -> None:
    server = servers.start(log_dir=tmp_path / "log")
    kill_under_load(server, random.Random(26))
    sessions = [stamped.session for stamped in read_records(tmp_path / "log") if isinstance(stamped.event, Connected)]
    assert sessions == list(range(1, len(sessions) + 1))
