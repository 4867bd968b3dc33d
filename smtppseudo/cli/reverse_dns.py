"""Reverse DNS: the names of addresses for `report --resolve`. The server never looks up a name."""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Sequence
from typing import Final

from smtppseudo.events import escape_text

LIMIT_S: Final = 5.0
THREADS_MAX: Final = 16


def look_up(addresses: Sequence[str]) -> dict[str, str]:
    """Return the name of each address that is found within `LIMIT_S` in all, escaped: an address's owner chooses it."""
    # For the C library's resolver (resolv.conf(5)): the only way to limit a single lookup.
    os.environ.setdefault("RES_OPTIONS", "timeout:2 attempts:1")
    waiting = [*reversed(addresses)]
    names: dict[str, str] = {}

    def work() -> None:
        while waiting:
            with contextlib.suppress(IndexError, OSError):  # another thread took the last one; no name, or no reply
                address = waiting.pop()
                names[address] = escape_text(socket.getnameinfo((address, 0), socket.NI_NAMEREQD)[0])

    # A lookup cannot be cancelled. Daemon threads end with the process.
    threads = [threading.Thread(target=work, daemon=True) for _ in addresses[:THREADS_MAX]]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + LIMIT_S
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return names.copy()
