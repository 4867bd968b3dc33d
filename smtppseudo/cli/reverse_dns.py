"""Reverse DNS: the names of addresses for `report --resolve`. The server never looks up a name."""

import os
import queue
import socket
import threading
import time
from collections.abc import Sequence
from typing import Final

from smtppseudo.events import escape_text

LIMIT_S: Final = 5.0
THREADS_MAX: Final = 16
# For the C library's resolver (resolv.conf(5)): the only way to limit a single lookup.
_RESOLVER_OPTIONS: Final = "timeout:2 attempts:1"


def look_up(addresses: Sequence[str], limit_s: float = LIMIT_S) -> dict[str, str]:
    """Return the name of each address that is found within `limit_s` seconds in all.

    The names are escaped, because the owner of an address chooses its name.
    """
    os.environ.setdefault("RES_OPTIONS", _RESOLVER_OPTIONS)
    waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
    found: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
    for address in addresses:
        waiting.put(address)
    for _ in range(min(THREADS_MAX, len(addresses))):
        # A lookup cannot be cancelled. Daemon threads end with the process.
        threading.Thread(target=_work, args=(waiting, found), daemon=True).start()
    names: dict[str, str] = {}
    deadline = time.monotonic() + limit_s
    for _ in addresses:
        try:
            address, name = found.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            break
        if name:
            names[address] = name
    return names


def _work(waiting: "queue.SimpleQueue[str]", found: "queue.SimpleQueue[tuple[str, str]]") -> None:
    while True:
        try:
            address = waiting.get_nowait()
        except queue.Empty:
            return
        try:
            name = socket.getnameinfo((address, 0), socket.NI_NAMEREQD)[0]
        except OSError:  # no name, or no reply
            name = ""
        found.put((address, escape_text(name)))
