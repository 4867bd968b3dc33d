"""The system calls of a session, counted by strace: a measure without noise."""

import re
import shutil
import socket
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from smtppseudo.events import Closed
from tests.clients import LIMIT_S, Client
from tests.running import Running, Servers

SESSIONS = 200
CLIENTS = 25
CALLS_PER_SESSION_MAX = 14.0


def connect_as_proxy(server: Running) -> Client:
    """Connect and send a header. As with HAProxy, it comes in the segment that acknowledges the handshake."""
    sock = socket.socket()
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
    sock.settimeout(LIMIT_S)
    sock.connect(("127.0.0.1", server.port))
    sock.sendall(b"PROXY TCP4 192.0.2.7 192.0.2.25 50000 25\r\n")
    return Client(sock)


def play_together(server: Running, rounds: int, connect: Callable[[Running], Client] = Running.connect) -> None:
    """Play reject sessions, 25 at once; all clients do each step before the next."""
    for _ in range(rounds):
        clients = [connect(server) for _ in range(CLIENTS)]
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


def count_calls(
    servers: Servers, directory: Path, settings: dict[str, Any], connect: Callable[[Running], Client]
) -> Counter[str]:
    """Count the calls of a server that serves all sessions."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    trace = directory / "trace"
    server = servers.start(settings, prefix=["strace", "-D", "-f", "-qq", "-o", str(trace)])
    play_together(server, SESSIONS // CLIENTS, connect)
    server.wait_for_event(Closed, count=SESSIONS, reason="quit")
    calls = calls_between_sessions(trace)
    assert calls["accept4"] >= SESSIONS
    return calls


def test_system_calls_per_session(servers: Servers, tmp_path: Path) -> None:
    calls = count_calls(servers, tmp_path, {}, Running.connect)
    assert calls.total() / SESSIONS <= CALLS_PER_SESSION_MAX, calls


def test_only_a_logged_local_address_costs_a_system_call(servers: Servers, tmp_path: Path) -> None:
    counts = []
    for name, settings in (("without", {}), ("with", {"log_local_ip": True})):
        directory = tmp_path / name
        directory.mkdir()
        counts.append(count_calls(servers, directory, settings, Running.connect)["getsockname"])
    assert counts == [SESSIONS, 2 * SESSIONS]  # Python asks once for each socket that it accepts


def test_a_header_costs_one_more_system_call(servers: Servers, tmp_path: Path) -> None:
    if not hasattr(socket, "TCP_QUICKACK"):
        pytest.skip("needs Linux's TCP_QUICKACK")
    settings = {"proxies": ["127.0.0.1"], "slots_per_client": 0}
    calls = count_calls(servers, tmp_path, settings, connect_as_proxy)
    assert calls["recvfrom"] == 4 * SESSIONS, calls  # the header, and three commands
    assert calls.total() / SESSIONS <= CALLS_PER_SESSION_MAX + 1, calls
