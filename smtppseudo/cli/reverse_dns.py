"""Reverse DNS: the names of addresses, for people who ask for them. The server never does."""

import os
import queue
import socket
import threading
import time
from collections.abc import Sequence
from typing import Final

from smtppseudo.events import escape

LIMIT_S: Final = 5.0
THREADS_MAX: Final = 16
# For the C library's resolver (resolv.conf(5)), which knows no other limit for a single lookup.
_EACH: Final = "timeout:2 attempts:1"


def look_up(addresses: Sequence[str], limit_s: float = LIMIT_S) -> dict[str, str]:
    """Return the names of addresses, as far as they are known within `limit_s` seconds in all, escaped.

    Each address is asked for once; who owns the address decides what its name is.
    """
    os.environ.setdefault("RES_OPTIONS", _EACH)
    waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
    found: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
    for address in addresses:
        waiting.put(address)
    for _ in range(min(THREADS_MAX, len(addresses))):
        # A lookup cannot be broken off: whatever still waits when the time is over ends with the process.
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
        except OSError:  # it has none, or nobody answers
            name = ""
        found.put((address, escape(name.encode("utf-8", "backslashreplace"))))
