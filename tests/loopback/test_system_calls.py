"""The system calls of a session, counted by strace: a measure without noise."""

import re
import shutil
from collections import Counter
from pathlib import Path

import pytest

from smtppseudo.events import Closed
from tests.clients import Client
from tests.running import Running, Servers

SESSIONS = 200
CLIENTS = 25
CALLS_PER_SESSION_MAX = 14.0


def play_together(server: Running, rounds: int) -> None:
    """Play reject sessions, 25 at once; all clients do each step before the next."""
    for _ in range(rounds):
        clients = [server.connect() for _ in range(CLIENTS)]
        for line, start in (("HELO me", "220"), ("MAIL FROM:<a@b>", "250"), ("QUIT", "553")):
            step(clients, line, start)
        for client in clients:
            client.expect("221")
            client.expect_end()
            client.close()


def step(clients: list[Client], line: str, start: str) -> None:
    for client in clients:
        client.expect(start)
    for client in clients:
        client.send(line)


def calls_between_sessions(trace: Path) -> Counter[str]:
    """Count the calls from the first accept to the last close."""
    names = re.findall(r"^(?:\d+ +)?(\w+)\(", trace.read_text(), re.MULTILINE)
    first = next(index for index, name in enumerate(names) if name == "accept4")
    last = max(index for index, name in enumerate(names) if name == "close")
    return Counter(names[first : last + 1])


def test_system_calls_per_session(servers: Servers, tmp_path: Path) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    trace = tmp_path / "trace"
    server = servers.start(prefix=["strace", "-D", "-f", "-qq", "-o", str(trace)])
    play_together(server, SESSIONS // CLIENTS)
    server.wait_for_event(Closed, count=SESSIONS, reason="quit")
    calls = calls_between_sessions(trace)
    assert calls["accept4"] >= SESSIONS
    per_session = calls.total() / SESSIONS
    assert per_session <= CALLS_PER_SESSION_MAX, calls
