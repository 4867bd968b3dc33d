"""A real server process; strace replaces results of the kernel with errors."""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from smtppseudo.events import Closed, Connected, Error, SettingsChanged
from tests.clients import wait_until
from tests.faults.account import Account
from tests.monitors import Monitors
from tests.running import Running, Servers

ATTACH_LIMIT_S = 10.0


@contextlib.contextmanager
def injected(server: Running, call: str, error: str, trace: Path, times: int = 1) -> Iterator[None]:
    """Make the next calls of a kind fail; at the end of the block they must have happened."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    inject = f"inject={call}:error={error}:when=1..{times}"
    words = ["strace", "-p", str(server.pid), "-e", f"trace={call}", "-e", inject, "-o", str(trace)]
    with trace.with_suffix(".said").open("w+b") as said:
        tracer = subprocess.Popen(words, stderr=said, env={**os.environ, "LC_ALL": "C"})

        def attached() -> bool:
            text = Path(said.name).read_text()
            if "ptrace" in text:
                pytest.skip(f"strace may not attach here: {text}")
            return "attached" in text

        try:
            wait_until(attached, "strace", ATTACH_LIMIT_S)
            yield
            wait_until(lambda: trace.read_text().count("(INJECTED)") == times, f"{times} of {call}")
        finally:
            tracer.send_signal(signal.SIGINT)
            tracer.wait()


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        ("accept4", "ECONNABORTED", ""),
        ("accept4", "EPROTO", ""),
        ("accept4", "EMFILE", "cannot accept connections on port {port}: Too many open files"),
        ("accept4", "ENOMEM", "cannot accept connections on port {port}: Cannot allocate memory"),
    ],
)
def test_accept(servers: Servers, tmp_path: Path, call: str, error: str, words: str) -> None:
    server = servers.start()
    account = Account(server)
    with injected(server, call, error, tmp_path / "trace"):
        account.play()
    account.play()
    assert account.check() == 0
    messages = [event.message for event in server.events(Error)]
    assert messages == ([f"{words.format(port=server.port)}{hint(error)}"] if words else [])


def hint(error: str) -> str:
    return "; raise the limit of open files (ulimit -n, LimitNOFILE=)" if error == "EMFILE" else ""


@pytest.mark.parametrize(
    ("call", "error", "reason"),
    [
        ("sendto", "ECONNRESET", "reset"),
        ("sendto", "ENOBUFS", "reset"),
        ("sendto", "EPIPE", "reset"),
        ("recvfrom", "ETIMEDOUT", "reset"),
        ("recvfrom", "EHOSTUNREACH", "reset"),
        ("epoll_ctl", "ENOSPC", "fault"),
        ("epoll_ctl", "ENOMEM", "fault"),
    ],
)
def test_one_session_is_lost(servers: Servers, tmp_path: Path, call: str, error: str, reason: str) -> None:
    server = servers.start()
    account = Account(server)
    account.play()
    with injected(server, call, error, tmp_path / "trace"), server.connect() as lost:
        lost.send("NOOP")
        try:
            lost.rest()
        except ConnectionResetError:
            pass
    server.wait_for_event(Closed, reason=reason)
    account.play()
    server.stop()
    assert [event.reason for event in server.events(Closed)] == ["quit", reason, "quit"]
    assert len(server.events(Connected)) == 3
    assert server.events(Error) == []


@pytest.mark.parametrize(
    ("call", "error", "times"),
    [
        ("sendto", "EAGAIN", 1),
        ("recvfrom", "EAGAIN", 1),
        ("sendto", "EINTR", 3),
        ("recvfrom", "EINTR", 3),
        ("accept4", "EINTR", 3),
        ("epoll_wait", "EINTR", 3),
        ("write", "EINTR", 3),
    ],
)
def test_calls_that_are_repeated(servers: Servers, tmp_path: Path, call: str, error: str, times: int) -> None:
    server = servers.start()
    account = Account(server)
    with injected(server, call, error, tmp_path / "trace", times):
        account.play(3)
    assert account.check() == 0
    assert server.stderr == ""


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("ENOSPC", "No space left on device"),
        ("EIO", "Input/output error"),
        ("EDQUOT", "Disk quota exceeded"),
        ("EFBIG", "File too large"),
    ],
)
def test_log_lines_are_lost_and_counted(servers: Servers, tmp_path: Path, error: str, words: str) -> None:
    server = servers.start()
    account = Account(server)
    account.play()
    server.wait_for_event(Closed)
    with injected(server, "write", error, tmp_path / "trace"):
        account.play()
        wait_until(lambda: f"{words}; log lines are lost until writing works again" in server.stderr, "the complaint")
    account.play_until_logged()
    assert account.check() > 0
    assert server.stderr.count("\n") == 1


def test_the_log_cannot_be_synced(servers: Servers, tmp_path: Path) -> None:
    server = servers.start()
    account = Account(server)
    account.play()
    with injected(server, "fsync", "EIO", tmp_path / "trace"):
        assert account.check() == 0
    assert "Input/output error; the last log lines may be lost" in server.stderr


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        ("rename", "EROFS", "Read-only file system"),
        ("rename", "ENOSPC", "No space left on device"),
        ("fsync", "EIO", "Input/output error"),
        ("write", "EDQUOT", "Disk quota exceeded"),
        ("openat", "EMFILE", "Too many open files"),
    ],
)
def test_a_setting_is_not_kept(
    servers: Servers, monitors: Monitors, tmp_path: Path, call: str, error: str, words: str
) -> None:
    server = servers.start()
    monitor = monitors.log_in(server)
    monitor.ok("set", changes={"greeting": "Old"})
    server.wait_for_event(SettingsChanged)
    with injected(server, call, error, tmp_path / "trace"):
        assert (
            monitor.refused("set", "io", changes={"greeting": "New"})
            == f"the server could not do that: {words}; nothing was changed"
        )
    with server.connect() as client:
        client.expect("220 Old")
    monitor.ok("set", changes={"greeting": "New"})
