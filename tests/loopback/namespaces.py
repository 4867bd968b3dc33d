"""Two network namespaces and a cable between them, with addresses as the internet has them; nothing leaves them."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.clients import LIMIT_S, wait_until

SERVER_4, CLIENT_4 = "20.1.1.1", "20.1.1.2"
SERVER_6, CLIENT_6 = "2a01:4f8:1:1::1", "2a01:4f8:1:2::2"
_PREFIX_4, _PREFIX_6 = 24, 48


class Cable(NamedTuple):
    """What runs a program at either end."""

    server: list[str]
    client: list[str]


@contextlib.contextmanager
def cable() -> Iterator[Cable]:
    """Make them for as long as the block lasts; skip where that is not allowed."""
    with namespaces(2) as (server, client):
        _ip([], "link", "add", "smtp0", "netns", server, "type", "veth", "peer", "name", "smtp0", "netns", client)
        ends = Cable(*map(inside, (server, client)))
        for end, four, six in ((ends.server, SERVER_4, SERVER_6), (ends.client, CLIENT_4, CLIENT_6)):
            _ip(end, "address", "add", f"{four}/{_PREFIX_4}", "dev", "smtp0")
            _ip(end, "address", "add", f"{six}/{_PREFIX_6}", "dev", "smtp0", "nodad")
            _ip(end, "link", "set", "smtp0", "up")
        yield ends


def inside(pid: str) -> list[str]:
    """Return what runs a program in the network of a process."""
    return ["nsenter", "-t", pid, "-n"]


@contextlib.contextmanager
def namespaces(count: int) -> Iterator[list[str]]:
    """Make networks that have loopback alone, for as long as the block lasts; yield a process in each."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "nsenter", "ip"))):
        pytest.skip("needs root, unshare, nsenter and ip")
    holders = [subprocess.Popen(["unshare", "-n", "sleep", "1800"]) for _ in range(count)]
    try:
        wait_until(lambda: all(_is_apart(holder.pid) for holder in holders), "the namespaces")
        pids = [str(holder.pid) for holder in holders]
        for pid in pids:
            _ip(inside(pid), "link", "set", "lo", "up")
        yield pids
    finally:
        for holder in holders:
            holder.kill()
            holder.wait()


def _is_apart(pid: int) -> bool:
    ours, theirs = (Path("/proc", who, "ns/net").readlink() for who in ("self", str(pid)))
    return ours != theirs


def _ip(prefix: list[str], *arguments: str) -> None:
    done = subprocess.run([*prefix, "ip", *arguments], capture_output=True, text=True, timeout=LIMIT_S, check=False)
    if done.returncode and "Operation not permitted" in done.stderr + done.stdout:
        pytest.skip(f"this machine lets no namespaces be connected: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
