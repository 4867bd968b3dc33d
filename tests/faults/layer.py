"""A layer between the server and the system that counts its calls, and makes one of them fail."""

import contextlib
import errno
import io
import os
import select
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import pytest

Call = Callable[..., Any]

OF_OS: Final = {
    "open": "open",
    "close": "close",
    "write": "write",
    "read": "read",
    "lseek": "lseek",
    "fsync": "fsync",
    "fstat": "fstat",
    "fstatvfs": "fstatvfs",
    "stat": "stat",
    "lstat": "stat",
    "mkdir": "mkdir",
    "unlink": "unlink",
    "replace": "rename",
    "rename": "rename",
    "listdir": "readdir",
    "scandir": "readdir",
}
"""The names in `os`, and the system calls behind them."""

OF_SOCKET: Final = {
    "_accept": "accept",
    "recv": "recv",
    "send": "send",
    "shutdown": "shutdown",
    "listen": "listen",
    "setsockopt": "setsockopt",
    "getsockopt": "getsockopt",
    "_real_close": "close of a socket",
}
OF_EPOLL: Final = {"register": "epoll_ctl ADD", "modify": "epoll_ctl MOD", "unregister": "epoll_ctl DEL"}
FILES: Final = frozenset(OF_OS.values()) | {"fopen"}

DONE_ALL_THE_SAME: Final = ("close", "close of a socket", "epoll_ctl DEL")
"""Calls that have their effect even if they fail: see close(2), and removing needs no memory."""

SHORT: Final = 0
"""Instead of an errno: the call transfers only one byte."""


class Fault(NamedTuple):
    """The call that fails, its errno, and how many calls of that kind succeed before."""

    call: str
    errno: int
    after: int

    def __str__(self) -> str:
        how = errno.errorcode[self.errno] if self.errno else "short"
        return f"{self.call}, {how}, after {self.after}"


class Layer:
    """Counts calls by name while it is `active` and not `at_rest`, and makes one of them fail."""

    def __init__(self, fault: Fault | None = None) -> None:
        self.counts: Counter[str] = Counter()
        self.fault = fault
        self.has_failed = False
        self.at_rest = False
        self._active = False
        self._calls: frozenset[str] | None = None

    @contextlib.contextmanager
    def active(self, calls: frozenset[str] | None = None) -> Iterator[None]:
        """Count the calls and let the fault happen inside the block; `calls` limits that to some calls."""
        before, self._active, self._calls = self._active, True, calls
        try:
            yield
        finally:
            self._active = before

    def around(self, name: str, call: Call) -> Call:
        """Return a function that replaces a call."""

        def replacement(*arguments: Any, **named: Any) -> Any:
            if self.at_rest or not self._active or (self._calls is not None and name not in self._calls):
                return call(*arguments, **named)
            number = self.counts[name]
            self.counts[name] += 1
            fault = self.fault
            if fault is None or (fault.call, fault.after) != (name, number):
                return call(*arguments, **named)
            self.has_failed = True
            if fault.errno == SHORT:
                place, data, *flags = arguments
                return call(place, data[:1], *flags)
            if name in DONE_ALL_THE_SAME:
                call(*arguments, **named)
            raise OSError(fault.errno, os.strerror(fault.errno))

        return replacement

    def without(self, call: Call) -> Call:
        """Return a function that does the same at rest."""

        def replacement(*arguments: Any) -> Any:
            before, self.at_rest = self.at_rest, True
            try:
                return call(*arguments)
            finally:
                self.at_rest = before

        return replacement

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Replace the calls until the test ends."""
        for attribute, name in OF_OS.items():
            monkeypatch.setattr(os, attribute, self.around(name, getattr(os, attribute)))
        monkeypatch.setattr(io, "open", self.around("fopen", io.open))
        for attribute, name in OF_SOCKET.items():
            monkeypatch.setattr(socket.socket, attribute, self.around(name, getattr(socket.socket, attribute)))
        monkeypatch.setattr(socket, "SocketType", socket.socket)  # the class of connections cannot be changed
        real_epoll = select.epoll
        monkeypatch.setattr(select, "epoll", lambda: _Epoll(self, real_epoll()))


class _Epoll:
    """An epoll behind the layer; the real class can be neither changed nor inherited from."""

    def __init__(self, layer: Layer, epoll: Any) -> None:
        self.poll = epoll.poll
        self.close = epoll.close
        self.fileno = epoll.fileno
        for attribute, name in OF_EPOLL.items():
            setattr(self, attribute, layer.around(name, getattr(epoll, attribute)))
