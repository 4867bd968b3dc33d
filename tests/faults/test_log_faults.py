"""Failures of the log: the server replies, counts lost lines, and resumes logging without a restart."""

import os
import re
import resource
import shutil
import signal
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest

from smtppseudo.events import Closed, Command, Connected, Error, Offline, Online
from tests.clients import wait_until
from tests.conftest import MakeInside
from tests.faults.account import LINES_PER_SESSION, Account
from tests.running import Servers, events, matching, read_records, without_capabilities

BEING_LOST = "log lines are lost until writing works again"


def test_file_in_place_of_the_log_directory(servers: Servers, tmp_path: Path) -> None:
    log_dir = tmp_path / "no-directory"
    log_dir.touch()
    server = servers.start(log_dir=log_dir)
    account = Account(server)
    account.play(3)
    assert re.fullmatch(rf"smtppseudo: .*: File exists; {BEING_LOST}\n", server.stderr)
    log_dir.unlink()
    account.play_until_logged()
    assert account.check() >= 1 + 3 * LINES_PER_SESSION


def test_unwritable_log_directory(servers: Servers, tmp_path: Path) -> None:
    log_dir = tmp_path / "log"
    log_dir.mkdir(0o500)
    server = servers.start(log_dir=log_dir, prefix=without_capabilities("dac_override"))
    account = Account(server)
    account.play(3)
    assert re.fullmatch(rf"smtppseudo: .*: Permission denied; {BEING_LOST}\n", server.stderr)
    log_dir.chmod(0o700)
    account.play_until_logged()
    assert account.check() >= 1 + 3 * LINES_PER_SESSION


def test_directory_permission_removed_and_restored(servers: Servers, tmp_path: Path) -> None:
    """The file is open and can be written, so no line is lost."""
    log_dir = tmp_path / "log"
    server = servers.start(log_dir=log_dir, prefix=without_capabilities("dac_override", "dac_read_search"))
    account = Account(server)
    account.play()
    log_dir.chmod(0)
    try:
        began_at = time.monotonic()
        account.play_until(lambda: time.monotonic() > began_at + 1.2, "the next check")
    finally:
        log_dir.chmod(0o700)
    account.play_until_logged()
    assert account.check() == 0


def test_removed_log_directory(servers: Servers) -> None:
    server = servers.start()
    account = Account(server)
    account.play(2)
    server.wait_for_event(Closed, count=2)
    shutil.rmtree(server.log_dir)
    account.play_until_logged()
    server.stop()
    records = account.records()
    lost = sum(error.lost for error in events(records, Error))
    kept = [record for record in records if not isinstance(record.event, Error)]
    given_since = 1 + (account.sessions - 2) * LINES_PER_SESSION
    assert given_since <= lost + len(kept) <= given_since + 1 + 2 * LINES_PER_SESSION
    assert "the log file was removed" in server.stderr


def can_mount() -> bool:
    probe = ["unshare", "-m", "mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", "/mnt"]
    return os.geteuid() == 0 and subprocess.run(probe, capture_output=True, check=False).returncode == 0


def test_full_disk(servers: Servers, tmp_path: Path) -> None:
    if not can_mount():
        pytest.skip("needs root and mounts of its own")
    log_dir = tmp_path / "log"
    log_dir.mkdir()
    mount = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs -o size=64k tmpfs "$0" && exec "$@"', str(log_dir)]
    server = servers.start(log_dir=log_dir, prefix=mount)
    disk = os.open(f"/proc/{server.pid}/root{log_dir}", os.O_DIRECTORY)
    try:
        server.log_dir = Path(f"/proc/self/fd/{disk}")  # only the server sees the mount under its name
        filler = server.log_dir / "filler"
        filler.write_bytes(b"x" * 48 * 1024)
        account = Account(server)
        account.play_until(lambda: "No space left on device" in server.stderr, "a full disk")
        account.play(3)
        filler.unlink()
        account.play_until_logged()
        assert account.check() >= 3 * LINES_PER_SESSION
        assert server.stderr.count(BEING_LOST) == 1
    finally:
        os.close(disk)


def test_full_device(servers: Servers, tmp_path: Path) -> None:
    log_dir = tmp_path / "log"
    log_dir.mkdir()
    paths = [log_dir / f"{date.today() + timedelta(days=days)}.log" for days in (-1, 0, 1)]  # noqa: DTZ011
    try:
        for path in paths:
            os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 7))  # the device /dev/full
            path.open("ab").close()
    except PermissionError:
        pytest.skip("may not make a device here")
    server = servers.start(log_dir=log_dir)
    server.play("HELO x")
    assert "No space left on device" in server.stderr
    server.stop()
    assert server.stderr.count("No space left on device") == 1
    for path in paths:
        path.unlink()


def test_partial_write(servers: Servers) -> None:
    server = servers.start()
    account = Account(server)
    account.play()
    server.wait_for_event(Closed)
    soft, hard = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
    data = sum(path.stat().st_size for path in server.log_dir.iterdir())
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (data + 150, hard))
    account.play(3)
    wait_until(lambda: "File too large" in server.stderr, "the limit reached")
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (soft, hard))
    account.play_until_logged()
    assert account.check() >= 2 * LINES_PER_SESSION
    assert len(server.log_text.splitlines()) - len(account.records()) == 1


def test_rotation_by_rename_loses_no_line(servers: Servers) -> None:
    server = servers.start()
    account = Account(server)
    for number in range(2):
        account.play_until_logged()
        (path,) = server.log_dir.glob("20*.log")
        path.rename(path.with_name(f"rotated{number}.log"))
        account.play_until(lambda: any(server.log_dir.glob("20*.log")), "a new file")
    assert account.check() == 0
    assert len(list(server.log_dir.iterdir())) == 3


def test_sighup_reopens_the_log_at_once(servers: Servers) -> None:
    server = servers.start()
    server.play("HELO before")
    server.wait_for_event(Closed)
    (path,) = server.log_dir.iterdir()
    path.rename(path.with_name("rotated"))
    server.process.send_signal(signal.SIGHUP)
    server.play("HELO after")  # sent after the signal, so served after it
    server.wait_for_event(Closed)
    assert [command.data for command in server.events(Command)] == ["HELO after", "QUIT"]


def test_two_servers_share_a_directory(servers: Servers, tmp_path: Path) -> None:
    both = [servers.start(log_dir=tmp_path / "log") for _ in range(2)]
    accounts = [Account(server) for server in both]
    threads = [threading.Thread(target=account.play, args=(150,)) for account in accounts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for server in both:
        server.stop()
    records = read_records(tmp_path / "log")  # each line parses, so none was torn
    assert len(records) == 2 * (2 + 150 * LINES_PER_SESSION)
    for server in both:
        assert len(matching(records, Connected, local_port=server.port)) == 150


def test_log_and_stderr_on_one_full_disk(servers: Servers, tmp_path: Path) -> None:
    """The server goes on even if it cannot report the trouble."""
    log_dir = tmp_path / "no-directory"
    log_dir.touch()
    server = servers.start(log_dir=log_dir, stderr=Path("/dev/full"))
    server.play("HELO x")


def test_server_stops_cleanly_without_a_log(servers: Servers, tmp_path: Path) -> None:
    log_dir = tmp_path / "no-directory"
    log_dir.touch()
    server = servers.start(log_dir=log_dir)
    with server.connect() as client:
        client.expect("220")
        server.stop()
        client.expect("421")


def test_failing_log_with_closed_stderr(servers: Servers, tmp_path: Path) -> None:
    log_dir = tmp_path / "no-directory"
    log_dir.touch()
    server = servers.start(log_dir=log_dir, prefix=["sh", "-c", 'exec "$@" 2>&-', "sh"])
    server.play("HELO x")
    assert Path(f"/proc/{server.process.pid}/fd/2").readlink() == Path(os.devnull)  # and no caller's socket


def test_last_lines_are_written_despite_earlier_trouble(servers: Servers, tmp_path: Path) -> None:
    """Nothing is written between two checks, except the last lines, which have no later check."""
    log_dir = tmp_path / "no-directory"
    log_dir.touch()
    server = servers.start(log_dir=log_dir)
    account = Account(server)
    account.play(2)
    log_dir.unlink()
    assert account.check() >= 1 + 2 * LINES_PER_SESSION
    assert isinstance(server.records()[-1].event, Offline)


@pytest.fixture
def five_hours_east(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Local time is UTC+5."""
    monkeypatch.setenv("TZ", "XST-5")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_log_rolls_at_local_midnight(five_hours_east: None, inside: MakeInside) -> None:
    server = inside(quiet_timeout_s=0)  # at 2026-09-21T14:13:20Z
    server.advance(4 * 3600 + 46 * 60 + 39.5)
    client = server.greeted()
    client.say("NOOP before", "250")
    server.advance(1)
    client.say("NOOP after", "250")
    client.say("QUIT", "221")
    first, second = sorted(server.log_dir.iterdir())
    assert [path.name for path in (first, second)] == ["2026-09-21.log", "2026-09-22.log"]
    before, after = server.events(Online), server.events(Command)
    assert len(before) == 1
    assert [command.data for command in after] == ["NOOP before", "NOOP after", "QUIT"]
    assert first.read_text().splitlines()[-1].startswith("2026-09-21T18:59:59.500Z command ")
    assert second.read_text().splitlines()[0].startswith("2026-09-21T19:00:00.500Z command ")


def test_server_process_passes_midnight(servers: Servers) -> None:
    library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
    if library is None:
        pytest.skip("faketime is not installed")
    clock = {"LD_PRELOAD": str(library), "FAKETIME": "@2026-01-31 23:59:58", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    server = servers.start(env=clock | {"TZ": "UTC0"})
    account = Account(server)
    account.play_until((server.log_dir / "2026-02-01.log").exists, "midnight")
    assert account.check() == 0
    assert sorted(path.name for path in server.log_dir.iterdir()) == ["2026-01-31.log", "2026-02-01.log"]
