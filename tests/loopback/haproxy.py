"""Debian's HAProxy, with a configuration of the test's own."""

import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients import wait_until

_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin"
_START = """\
global
    stats socket {directory}/socket
defaults
    mode tcp
    timeout connect 5s
    timeout client 60s
    timeout server 60s
"""


class Haproxy:
    """An HAProxy that runs."""

    def __init__(self, directory: Path) -> None:
        self._socket = directory / "socket"

    def states(self) -> dict[str, tuple[str, str]]:
        """Return the state of each server by its name: UP or DOWN, and what the last check found."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(self._socket))
            sock.sendall(b"show stat\n")
            text = b"".join(iter(lambda: sock.recv(65_536), b"")).decode()
        names, *rows = [line.removeprefix("# ").split(",") for line in text.splitlines() if line]
        found = [dict(zip(names, row, strict=True)) for row in rows]
        return {
            row["svname"]: (row["status"], row["check_status"])
            for row in found
            if row["svname"] not in ("FRONTEND", "BACKEND")
        }


def program() -> str:
    """Return its path; skip where it is not installed."""
    found = shutil.which("haproxy", path=_PATH)
    if found is None:
        pytest.skip("haproxy is not installed")
    return found


def free_port(address: str) -> int:
    """Return a port that nobody listens on."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as sock:
        sock.bind((address, 0))
        port: int = sock.getsockname()[1]
        return port


@contextlib.contextmanager
def running(directory: Path, proxies: str) -> Iterator[Haproxy]:
    """Run one with these sections."""
    config = directory / "haproxy.cfg"
    config.write_text(_START.format(directory=directory) + proxies)
    process = subprocess.Popen([program(), "-db", "-q", "-f", str(config)], stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: (directory / "socket").exists() or process.poll() is not None, "the start of HAProxy")
        if process.poll() is not None:
            assert process.stderr is not None
            pytest.fail(process.stderr.read())
        yield Haproxy(directory)
    finally:
        process.terminate()
        process.communicate()
