"""The log on a descriptor: slow readers, closed pipes, and new readers."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from smtppseudo.log.stream import RETRY_EVERY_S, TOO_SLOW, LogStream, write_at_once

fcntl = pytest.importorskip("fcntl", reason="POSIX only")

PIPE_BYTES = 16_384
TEXTS = [f"{number:03} {'x' * 95}" for number in range(300)]  # twice the capacity of the pipe


class Pipe:
    """A small pipe, written as by the recorder, on a clock that the test advances."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = path
        self.troubles: list[str] = []
        self.now = 100.0
        self._reads = self._open()
        self._writes = os.open(path, os.O_WRONLY)
        fcntl.fcntl(self._writes, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self.stream = LogStream(self._writes, self.troubles.append)

    def _open(self) -> int:
        return os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)

    def write(self, *texts: str) -> None:
        """Write the lines of one turn."""
        lost = self.stream.prepare("2026-01-31", self.now)
        lines = [f"{text}\n" for text in texts]
        if lost:
            lines.insert(0, f"report {lost} {self.stream.account.reason}\n")
        self.stream.write(lines, self.now)

    def read(self) -> list[str]:
        """Read all data: lines, and the rest after the last LF."""
        data = b""
        try:
            while piece := os.read(self._reads, 65_536):
                data += piece
        except BlockingIOError:
            pass
        return data.decode().split("\n")

    def close_reader(self) -> None:
        """Close the reading end."""
        os.close(self._reads)

    def reopen_reader(self) -> None:
        """Open the reading end again."""
        self._reads = self._open()

    def close(self) -> None:
        """Close both ends."""
        os.close(self._reads)
        os.close(self._writes)


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[Pipe]:
    """A pipe that is read only by the test."""
    pipe = Pipe(tmp_path / "pipe")
    yield pipe
    pipe.close()


def test_lines_arrive_in_order(pipe: Pipe) -> None:
    pipe.write("a", "b")
    pipe.write("c")
    assert pipe.read() == ["a", "b", "c", ""]
    assert (pipe.stream.account.lost_lines, pipe.troubles) == (0, [])


def test_write_does_not_wait_for_a_slow_reader(pipe: Pipe) -> None:
    for text in TEXTS:
        pipe.write(text)
    arrived = pipe.read()
    kept = len(arrived) - 1
    assert 0 < kept < len(TEXTS)
    assert arrived == [*TEXTS[:kept], ""]
    lost = len(TEXTS) - kept
    assert pipe.stream.account.lost_lines == lost
    assert pipe.stream.account.unreported
    assert pipe.troubles == [f"standard output: {TOO_SLOW}; log lines are lost until writing works again"]
    pipe.write("again")
    assert pipe.read() == [f"report {lost} {TOO_SLOW}", "again", ""]
    assert not pipe.stream.account.unreported


def test_large_write_delivers_whole_lines(pipe: Pipe) -> None:
    pipe.write(*TEXTS)
    arrived = pipe.read()
    assert arrived == [*TEXTS[: len(arrived) - 1], ""]
    assert 1 < len(arrived) <= len(TEXTS)
    assert pipe.stream.account.lost_lines == len(TEXTS) - len(arrived) + 1


def test_line_longer_than_the_pipe_is_cut_and_ended_later(pipe: Pipe) -> None:
    pipe.write("y" * 50_000)
    assert pipe.read() == ["y" * PIPE_BYTES]
    pipe.write("next")
    assert pipe.read() == ["", f"report 1 {TOO_SLOW}", "next", ""]
    assert pipe.stream.account.lost_lines == 1


def test_each_slow_period_is_reported_once(pipe: Pipe) -> None:
    for _ in range(2):
        for text in TEXTS:
            pipe.write(text)
        pipe.read()
        pipe.write("again")
        pipe.read()
    assert len(pipe.troubles) == 2


def test_lines_are_lost_until_the_pipe_has_a_reader_again(pipe: Pipe) -> None:
    pipe.write("a")
    pipe.read()
    pipe.close_reader()
    pipe.write("lost 1")
    pipe.write("lost 2", "lost 3")
    pipe.reopen_reader()
    pipe.write("lost 4: it is not tried again so soon")
    assert pipe.read() == [""]
    assert pipe.stream.account.lost_lines == 4
    assert pipe.troubles == ["standard output: Broken pipe; log lines are lost until writing works again"]
    pipe.now += RETRY_EVERY_S
    pipe.write("b")
    assert pipe.read() == ["report 4 Broken pipe", "b", ""]


def test_reopen_retries_at_once(pipe: Pipe) -> None:
    pipe.close_reader()
    pipe.write("lost")
    pipe.reopen_reader()
    pipe.stream.reopen()
    pipe.write("b")
    assert pipe.read() == ["report 1 Broken pipe", "b", ""]


def test_full_device_loses_every_line() -> None:
    troubles: list[str] = []
    fd = os.open("/dev/full", os.O_WRONLY)
    try:
        stream = LogStream(fd, troubles.append)
        assert stream.prepare("2026-01-31", 1.0) == 0
        stream.write(["a\n", "b\n"], 1.0)
        assert stream.account.lost_lines == 2
    finally:
        os.close(fd)
    assert troubles == ["standard output: No space left on device; log lines are lost until writing works again"]


def test_write_at_once_writes_everything_to_a_file(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        data = b"x" * 99_999 + b"\n"
        assert write_at_once(file.fileno(), data) == (len(data), None)
    assert (tmp_path / "file").read_bytes() == data
