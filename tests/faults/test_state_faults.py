"""Errors of the state directory and kills during a write: the state is the old or the new one, errors are clear."""

import io
import json
import os
import random
import resource
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from smtppseudo.server.console import WRITES_BURST
from tests.clients import wait_until
from tests.monitors import Monitors, Peer, credentials_text, line_of, state_dir, word_fields
from tests.running import Running, Servers, without_capabilities

KILLS = int(os.environ.get("SMTPPSEUDO_TEST_KILLS", "30"))
LONGEST_S = 0.003
WORD, NEXT_WORD = "open sesame", "open barley"
NOTHING = "; nothing was changed"
NOT_DONE = "the server could not do that: "
FILES = {"cookie", "monitor_port", "settings.json"}
"""Each may also exist half written, under a temporary name that the next write uses again."""


def check_all_refused(monitor: Peer, server: Running, reason: str) -> None:
    """Check that every op that writes is refused and changes nothing, in memory or on the disk."""
    before, files = monitor.ok("get"), contents(server)
    message = NOT_DONE + reason + NOTHING
    assert monitor.refused("set", "io", changes={"greeting": "New", "accept_mail": True}) == message
    assert monitor.refused("unset", "io", keys=["greeting"]) == message
    assert monitor.refused("magic_word", "io", **word_fields(NEXT_WORD)) == message
    assert monitor.ok("get") == before
    assert contents(server) == files
    with server.connect() as client:
        client.expect("220 Old")
        client.say("MAIL FROM:<a@b>", "553")
        client.say("QUIT", "221")


def contents(server: Running) -> dict[str, bytes]:
    directory = state_dir(server)
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.name != "filler"}


def set_old_state(monitor: Peer) -> None:
    monitor.ok("magic_word", **word_fields(WORD))
    monitor.ok("set", changes={"greeting": "Old"})


def check_writing_works(monitor: Peer, server: Running, monitors: Monitors) -> None:
    monitors.greeted(server).log_in("magic", WORD)
    monitor.ok("set", changes={"greeting": "New"})
    with server.connect() as client:
        client.expect("220 New")
    assert set(contents(server)) == {"cookie", "credentials", "monitor_port", "settings.json"}


def test_a_directory_that_becomes_read_only(servers: Servers, monitors: Monitors) -> None:
    server = servers.start(prefix=without_capabilities("dac_override"))
    monitor = monitors.log_in(server)
    set_old_state(monitor)
    state_dir(server).chmod(0o500)
    try:
        check_all_refused(monitor, server, "Permission denied")
    finally:
        state_dir(server).chmod(0o700)
    check_writing_works(monitor, server, monitors)


def test_a_directory_that_is_read_only_from_the_start(servers: Servers, monitors: Monitors, tmp_path: Path) -> None:
    """The cookie cannot be written, but the magic word still works."""
    directory = tmp_path / "state"
    directory.mkdir()
    (directory / "credentials").write_text(credentials_text(WORD))
    (directory / "settings.json").write_text('{"greeting": "Old"}\n')
    directory.chmod(0o500)
    try:
        server = servers.start(None, "--state-dir", str(directory), prefix=without_capabilities("dac_override"))
        assert "Permission denied; monitors on this machine need the magic word" in server.stderr
        monitor = monitors.greeted(server).log_in("magic", WORD)
        before = monitor.ok("get")
        assert monitor.refused("set", "io", changes={"greeting": "New"}) == f"{NOT_DONE}Permission denied{NOTHING}"
        assert monitor.refused("magic_word", "io", **word_fields(NEXT_WORD)) == f"{NOT_DONE}Permission denied{NOTHING}"
        assert monitor.ok("get") == before
        assert before["settings"]["greeting"] == "Old"
        monitors.greeted(server).log_in("magic", WORD)
        server.stop()
    finally:
        directory.chmod(0o700)


def test_a_file_in_place_of_the_directory(servers: Servers, monitors: Monitors, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    server = servers.start(None, "--state-dir", str(tmp_path / "file"))
    server.play("HELO x")
    assert "monitors on this machine need the magic word" in server.stderr
    assert monitors.greeted(server).hello["protocol"] == 1


def test_a_directory_that_is_removed_is_made_again(servers: Servers, monitors: Monitors) -> None:
    server = servers.start()
    monitor = monitors.log_in(server)
    for path in state_dir(server).iterdir():
        path.unlink()
    state_dir(server).rmdir()
    monitor.ok("set", changes={"greeting": "New"})
    assert json.loads((state_dir(server) / "settings.json").read_text()) == {"greeting": "New"}


def can_mount() -> bool:
    probe = ["unshare", "-m", "mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", "/mnt"]
    return os.geteuid() == 0 and subprocess.run(probe, capture_output=True, check=False).returncode == 0


@pytest.fixture
def small_disk(servers: Servers) -> Iterator[Running]:
    """Yield a server whose state directory is a disk of 64 KiB, mounted for the server alone."""
    if not can_mount():
        pytest.skip("needs root and mounts of its own")
    directory = servers.directory / "small"
    directory.mkdir()
    mount = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs -o size=64k tmpfs "$0" && exec "$@"', str(directory)]
    server = servers.start(None, "--state-dir", str(directory), prefix=mount)
    disk = os.open(f"/proc/{server.pid}/root{directory}", os.O_DIRECTORY)
    try:
        (server.directory / "state").symlink_to(f"/proc/{os.getpid()}/fd/{disk}")
        yield server
    finally:
        os.close(disk)


def fill(file: io.RawIOBase) -> None:
    while file.write(b"x" * 4_096):
        pass


def test_a_full_disk(small_disk: Running, monitors: Monitors) -> None:
    monitor = monitors.log_in(small_disk)
    set_old_state(monitor)
    filler = state_dir(small_disk) / "filler"
    with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        fill(file)
    check_all_refused(monitor, small_disk, "No space left on device")
    filler.unlink()
    check_writing_works(monitor, small_disk, monitors)


@pytest.mark.parametrize("most", [0, 1, 2])
def test_a_file_size_limit(servers: Servers, monitors: Monitors, most: int) -> None:
    """A write may be cut short: half a file must not replace a whole one."""
    server = servers.start()
    monitor = monitors.log_in(server)
    set_old_state(monitor)
    before = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (most, before[1]))
    check_all_refused(monitor, server, "File too large")
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, before)
    check_writing_works(monitor, server, monitors)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"greeting": 5}', '{"port": 25}', "\x00"])
def test_damaged_stored_settings_are_reported_and_ignored(servers: Servers, monitors: Monitors, text: str) -> None:
    directory = servers.directory / "kept"
    directory.mkdir()
    (directory / "settings.json").write_text(text)
    server = servers.start({"greeting": "File"}, "--state-dir", str(directory))
    assert f"{directory}/settings.json: " in server.stderr
    with server.connect() as client:
        client.expect("220 File")


class Writer:
    """A monitor that sets one greeting after another, three at a time."""

    def __init__(self, monitor: Peer, first: int) -> None:
        self.sent = self.confirmed = first
        self._last = first + WRITES_BURST
        self._monitor = monitor
        self._ids: dict[int, int] = {}

    def write_until(self, moment: float) -> None:
        """Set greetings until a moment, or until so many were set that the server refuses more."""
        while time.monotonic() < moment and self.sent < self._last:
            while len(self._ids) < 3 and self.sent < self._last:
                self.sent += 1
                self._ids[self._monitor.send("set", changes={"greeting": f"Number {self.sent}"})] = self.sent
            self._read()

    def read_rest(self) -> None:
        """Read the replies that the server sent before its end."""
        try:
            while self._ids:
                self._read()
        except (AssertionError, ConnectionResetError):
            pass  # the end, perhaps in the middle of a frame

    def _read(self) -> None:
        reply = self._monitor.frame()
        assert reply["ok"] is True, reply
        self.confirmed = self._ids.pop(reply["id"])


@pytest.mark.timeout(30 + 2 * KILLS)
def test_kill_9_while_settings_are_written(servers: Servers, monitors: Monitors) -> None:
    """The next start finds the last confirmed settings, or later ones that were sent; all files are whole."""
    at = random.Random(7)
    directory = servers.directory / "kept"
    directory.mkdir()
    number = 100_000
    (directory / "settings.json").write_text(json.dumps({"greeting": f"Number {number} "}))
    for _ in range(KILLS):
        server = servers.start(None, "--state-dir", str(directory))
        assert server.stderr == ""
        cookie = (directory / "cookie").read_text().strip()
        writer = Writer(monitors.greeted(server).log_in("cookie", cookie), number)
        writer.write_until(time.monotonic() + at.uniform(0, 20 * LONGEST_S))
        server.kill()
        writer.read_rest()
        assert {path.name for path in directory.iterdir()} <= FILES | {f".{name}.new" for name in FILES}
        greeting = json.loads((directory / "settings.json").read_text())["greeting"]
        number = int(greeting.split()[1])
        assert writer.confirmed <= number <= writer.sent
    assert number > 100_000 + KILLS
    last = servers.start(None, "--state-dir", str(directory))
    cookie = (directory / "cookie").read_text().strip()
    got = monitors.greeted(last).log_in("cookie", cookie).ok("get")
    assert (got["settings"]["greeting"], got["origins"]["greeting"]) == (greeting, "monitor")
    assert {path.name for path in directory.iterdir()} <= FILES


@pytest.mark.slow
@pytest.mark.timeout(30 + 2 * KILLS)
def test_kill_9_while_the_magic_word_is_changed(servers: Servers, monitors: Monitors) -> None:
    at = random.Random(8)
    directory = servers.directory / "kept"
    word = ""
    for number in range(KILLS):
        server = servers.start(None, "--state-dir", str(directory))
        cookie = (directory / "cookie").read_text().strip()
        if word:
            monitors.greeted(server).log_in("magic", word).close()
        monitor = monitors.greeted(server).log_in("cookie", cookie)
        words = [f"magic word {number}.{turn}" for turn in range(4)]
        monitor.send_bytes(b"".join(line_of({"id": 9, "op": "magic_word", **word_fields(each)}) for each in words))
        moment = time.monotonic() + at.uniform(0, 2 * LONGEST_S)
        wait_until(lambda moment=moment: time.monotonic() > moment, "the moment", poll_s=0)  # type: ignore[misc]
        server.kill()
        kept = (directory / "credentials").read_text() if (directory / "credentials").exists() else ""
        candidates = [each for each in [word, *words] if (credentials_text(each) if each else "") == kept]
        assert len(candidates) == 1
        word = candidates[0]
