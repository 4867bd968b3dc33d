"""Callers that keep a server busy during a test, and the memory of the server."""

import os
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests import ON_WINDOWS
from tests.running import Running


class Callers:
    """Threads that play sessions until the block ends; an error in one of them fails the test."""

    def __init__(self, server: Running, count: int = 1, noops: int = 0) -> None:
        self.sessions = 0
        self._server = server
        self._noops = noops
        self._is_over = threading.Event()
        self._errors: list[BaseException] = []
        self._threads = [threading.Thread(target=self._play) for _ in range(count)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()
        if kind is None and self._errors:
            raise self._errors[0]

    def _play(self) -> None:
        try:
            while not self._is_over.is_set():
                self._server.play("HELO caller.test", "MAIL FROM:<a@caller.test>")
                if self._noops:
                    play_noops(self._server, self._noops)
                self.sessions += 1
        except BaseException as error:
            self._errors.append(error)
            raise


def play_noops(server: Running, count: int, sessions: int = 1, at_once: int = 50) -> None:
    """Play sessions of `count` NOOPs, in groups of `at_once`, and QUIT."""
    for _ in range(sessions):
        _play_noops(server, count, at_once)


def _play_noops(server: Running, count: int, at_once: int) -> None:
    with server.connect() as client:
        client.expect("220")
        for begin in range(0, count, at_once):
            lines = ["NOOP"] * min(at_once, count - begin)
            client.send(*lines)
            for _ in lines:
                client.expect("250")
        client.say("QUIT", "221")
        client.expect_end()


def resident(server: Running) -> int:
    """Return the resident memory of a server, in bytes."""
    if ON_WINDOWS:
        pytest.skip("reads /proc")
    return int(Path(f"/proc/{server.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
