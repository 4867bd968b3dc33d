"""Without free descriptors accepting pauses, the loop does not spin, sessions continue, and service recovers."""

import contextlib
import itertools
import os
import re
import resource
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from smtppseudo.events import Closed, Error
from tests.clients import Client, wait_until
from tests.running import Running, Servers

CALLERS = 30
CANNOT_ACCEPT = re.compile(r"^(?:\d+ +)?(\d+\.\d+) accept4?\(.*\) = -1 EMFILE", re.MULTILINE)
_CLOCK_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def no_more_descriptors(server: Running) -> Iterator[None]:
    """Keep the server from opening more descriptors inside the block."""
    soft, hard = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
    last = max(int(fd.name) for fd in Path(f"/proc/{server.pid}/fd").iterdir())
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (last + 1, hard))
    try:
        yield
    finally:
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (soft, hard))


def cpu_s(pid: int) -> float:
    """Return the CPU time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _CLOCK_TICKS_PER_S


def expect_service(clients: list[Client]) -> None:
    """Check that all waiting clients are served."""
    for client in clients:
        client.expect("220")
        client.say("QUIT", "221")
        client.expect_end()
        client.close()


def test_sessions_continue_and_new_callers_wait(servers: Servers) -> None:
    server = servers.start({"slots": CALLERS + 1, "quiet_timeout_s": 0})
    with server.connect() as before:
        before.expect("220")
        with no_more_descriptors(server):
            waiting = [server.connect() for _ in range(CALLERS)]
            error = server.wait_for_event(Error)
            assert f"cannot accept connections on port {server.port}: Too many open files" in str(error.event)
            began_cpu_s, end_at = cpu_s(server.pid), time.monotonic() + 1.5
            before.say("NOOP", "250")
            wait_until(lambda: time.monotonic() > end_at, "time for another attempt, which is not reported")
            assert cpu_s(server.pid) - began_cpu_s < 0.2
        expect_service(waiting)
        before.say("NOOP", "250")
    server.wait_for_event(Closed, count=CALLERS, reason="quit")
    assert len(server.events(Error)) == 1
    server.play("HELO x")


def test_accept_is_tried_once_a_second(servers: Servers, tmp_path: Path) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    trace = tmp_path / "trace"
    tracer = ["strace", "-D", "-f", "-ttt", "-e", "trace=accept,accept4", "-o", str(trace)]
    server = servers.start({"slots": CALLERS}, prefix=tracer)
    with no_more_descriptors(server):
        waiting = [server.connect() for _ in range(CALLERS)]
        wait_until(lambda: len(failures(trace)) > 2, "the third attempt")
    expect_service(waiting)
    attempts = failures(trace)
    assert all(later - earlier > 0.95 for earlier, later in itertools.pairwise(attempts))
    assert len(server.events(Error)) == 1


def failures(trace: Path) -> list[float]:
    """Return the times of the attempts that failed, in seconds."""
    return [float(match[1]) for match in CANNOT_ACCEPT.finditer(trace.read_text())]
