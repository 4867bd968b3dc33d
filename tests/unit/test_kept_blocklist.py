"""The kept block list: hits become entries, the file is replaced at most once a minute, hits outlast a restart."""

import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from smtppseudo.blocklist.formats import sources_in
from smtppseudo.config.settings import Settings, SettingsError
from smtppseudo.events import Closed, Command, Connected
from smtppseudo.files import HITS_FILE
from smtppseudo.loop.clock import Clock
from smtppseudo.loop.reactor import Reactor
from smtppseudo.server.kept_blocklist import KeptBlocklist
from smtppseudo.smtp.dialogue import Dialogue
from smtppseudo.smtp.session import SmtpSession
from tests.inside import FakeTime

MAIL = Command("MAIL FROM:<a@b>", "553 no")
HELO = Command("HELO x", "250 hello")
A, B, C = "20.1.1.1", "20.1.1.2", "2a01:4f8:1:2::25"
DAY_S = 86_400


DIALOGUE = Dialogue(Settings())


def session_of(ip: str, number: int) -> SmtpSession:
    return SmtpSession(DIALOGUE, number, 1, ip, 40_000, b"", 0.0)


class Bench:
    """A kept block list and its files, with a clock that the test moves."""

    def __init__(self, directory: Path, **settings: object) -> None:
        self.time = FakeTime()
        self.path = directory / "list"
        self.directory = directory
        self.local_ips: list[str] = []
        self.asked = 0
        self.troubles: list[str] = []
        self.session_id = 0
        self._settings = settings
        self.start()

    def start(self) -> None:
        """Start it, as a new server does."""
        clock = Clock(monotonic=lambda: self.time.monotonic_s, wall_ns=lambda: self.time.wall_ns)
        self.reactor = Reactor(clock)
        self.reactor.on_fault = self.fault
        given = {"blocklist_file": str(self.path), "state_dir": str(self.directory), **self._settings}
        settings = Settings(**given)  # type: ignore[arg-type]
        self.blocklist = KeptBlocklist(settings, self.reactor, self.local_ip, self.troubles.append)
        self.blocklist.begin()
        self.pass_time(1)

    def stop(self) -> None:
        self.blocklist.close()
        self.reactor.close()

    def local_ip(self, slot: int) -> str:
        self.asked += 1
        return self.local_ips[0] if self.local_ips else ""

    def fault(self, error: Exception) -> None:
        raise error

    def pass_time(self, seconds: float) -> None:
        """Advance the clock, and call each alarm when it is due."""
        end = self.time.monotonic_s + seconds
        while True:
            due = self.reactor.wheel.next_due()
            if due is None or due > end:
                break
            self.time.advance(max(0.0, due - self.time.monotonic_s))
            self.reactor.clock.read()
            for timed in self.reactor.wheel.take_due(due):
                try:
                    timed.due(self.reactor.clock.now)
                except ZeroDivisionError as error:  # as the loop does
                    timed.fault(error)
        self.time.advance(end - self.time.monotonic_s)
        self.reactor.clock.read()

    def call(self, *ips: str, command: Command = MAIL) -> None:
        """Record one session of each address."""
        for ip in ips:
            self.session_id += 1
            session = session_of(ip, self.session_id)
            for event in (Connected(25), HELO, command, Closed("quit", 1, 2, 3, 4)):
                self.blocklist.record(session, (event,))

    @property
    def listed_sources(self) -> list[str]:
        """Return what is listed, in any format."""
        return list(sources_in(self.path.read_text().splitlines()))

    @property
    def listed(self) -> list[str]:
        return self.path.read_text().split()


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(**settings: object) -> Bench:
        made.append(Bench(tmp_path, **settings))
        return made[-1]

    yield make
    for bench in made:
        bench.reactor.close()


def test_an_empty_list_is_written_at_the_start(make: Callable[..., Bench]) -> None:
    bench = make()
    assert bench.listed == []
    assert stat.S_IMODE(bench.path.stat().st_mode) == 0o644
    assert stat.S_IMODE((bench.directory / HITS_FILE).stat().st_mode) == 0o600


def test_a_source_with_min_hits_sessions_is_listed(make: Callable[..., Bench]) -> None:
    bench = make()
    bench.pass_time(60)
    bench.call(A, A, A, B, B, C, C, C, A)
    bench.pass_time(2)
    assert bench.listed == [A, "2a01:4f8:1:2::/64"]


def test_only_evidence_counts(make: Callable[..., Bench]) -> None:
    bench = make()
    bench.call(*[A] * 9, command=Command("MAIL FROM:<>", "553 no"))
    bench.call(*[B] * 9, command=Command("NOOP", "250 OK", pregreet=True))
    bench.pass_time(61)
    assert bench.listed == [B]


def test_the_list_is_written_once_a_minute_at_most(make: Callable[..., Bench]) -> None:
    bench = make()  # the first time
    bench.call(*[A] * 3)
    bench.pass_time(57)
    assert bench.listed == []
    bench.pass_time(4)
    assert bench.listed == [A]
    bench.call(*[B] * 3)
    bench.pass_time(57)
    assert bench.listed == [A]
    bench.pass_time(4)
    assert bench.listed == [A, B]


def test_an_entry_expires_after_the_latest_hit(make: Callable[..., Bench]) -> None:
    bench = make()
    bench.call(*[A] * 3)
    bench.pass_time(3 * DAY_S)
    bench.call(*[B] * 3)
    bench.pass_time(4 * DAY_S - 10)
    assert bench.listed == [A, B]
    bench.pass_time(70)
    assert bench.listed == [B]
    bench.pass_time(3 * DAY_S)
    assert bench.listed == []
    bench.call(B)
    bench.pass_time(61)
    assert bench.listed == [B]
    bench.pass_time(40 * DAY_S)
    bench.call(A)
    bench.pass_time(61)
    assert bench.blocklist._hits.sources() == [A]


def test_a_file_with_unchanged_content_is_not_replaced(make: Callable[..., Bench]) -> None:
    """Programs that watch the file must not read it again."""
    bench = make()
    bench.call(*[A] * 3)
    bench.pass_time(61)
    before = bench.path.stat().st_ino
    bench.call(A)
    bench.pass_time(61)
    assert bench.path.stat().st_ino == before
    bench.stop()
    bench.start()
    bench.pass_time(61)
    assert bench.path.stat().st_ino == before
    bench.path.unlink()
    bench.call(A)
    bench.pass_time(61)
    assert bench.listed == [A]


def test_hits_outlast_a_restart(make: Callable[..., Bench]) -> None:
    bench = make(blocklist_format="json")
    bench.call(A, A, B, B, B)
    bench.stop()
    assert [entry["source"] for entry in json.loads(bench.path.read_text())["entries"]] == [B]
    bench.start()
    bench.call(A)
    bench.pass_time(2)
    assert [entry["source"] for entry in json.loads(bench.path.read_text())["entries"]] == [A, B]


def test_the_file_of_hits_can_be_read_beside_those_of_other_servers(make: Callable[..., Bench]) -> None:
    bench = make(server_name="mx1", blocklist_min_hits=20, blocklist_evidence=("auth", "mail"))
    bench.call(A)
    bench.stop()
    first, second = (bench.directory / HITS_FILE).read_text().splitlines()
    # 30 + 7 days, and for 20 hits within 30 days and 7 after the latest, 19 hits more
    assert first == "smtppseudo-hits 1 server=mx1 window_s=3196800 evidence=auth,mail times=39"
    assert second.split()[0] == A


def test_hits_of_an_older_version_are_taken_over(make: Callable[..., Bench]) -> None:
    """Their file had no first line."""
    bench = make()
    bench.call(A, A, B, B, B)
    bench.stop()
    hits = bench.directory / HITS_FILE
    header, lines = hits.read_text().split("\n", 1)
    hits.write_text(lines)
    bench.path.unlink()
    bench.start()
    bench.call(A)
    bench.stop()
    assert (bench.listed, bench.troubles) == ([A, B], [])
    assert hits.read_text().startswith(f"{header}\n")


def test_hits_are_kept_as_long_as_a_list_of_several_servers_needs_them(make: Callable[..., Bench]) -> None:
    """A hit of 36 days ago lists a source today, if another server has seen it 7 and 6 days ago."""
    bench = make()
    bench.call(A)
    bench.pass_time(36.9 * DAY_S)
    bench.call(B)
    bench.pass_time(61)
    assert bench.blocklist._hits.sources() == [A, B]
    bench.pass_time(DAY_S)
    bench.call(B)
    bench.pass_time(61)
    assert bench.blocklist._hits.sources() == [B]


def test_a_crash_loses_no_entry(make: Callable[..., Bench]) -> None:
    bench = make()
    bench.call(*[A] * 3)
    for _ in bench.blocklist._refresh():
        if bench.listed:
            break
    bench.reactor.close()
    bench.start()
    assert bench.listed == [A]


def test_hits_during_the_restore_are_not_lost(make: Callable[..., Bench]) -> None:
    bench = make()
    bench.call(*[A] * 2, *[B] * 3)
    bench.stop()
    bench.start = lambda: None  # type: ignore[method-assign]
    settings = Settings(blocklist_file=str(bench.path), state_dir=str(bench.directory))
    blocklist = KeptBlocklist(settings, bench.reactor, bench.local_ip, bench.troubles.append)
    blocklist.begin()
    blocklist.record(session_of(A, 1), (Connected(25), MAIL))
    blocklist.close()
    assert bench.listed == [A, B]


@pytest.mark.parametrize("ip", ["127.0.0.1", "192.168.1.1", "::1", "fe80::1%eth0", "2001:db8::1", "192.0.2.7"])
def test_special_purpose_addresses_are_not_counted(make: Callable[..., Bench], ip: str) -> None:
    bench = make()
    bench.call(*[ip] * 9)
    bench.pass_time(61)
    assert bench.listed == []
    assert len(bench.blocklist._hits.sources()) == 0


def test_the_addresses_that_callers_connect_to_are_never_listed(make: Callable[..., Bench]) -> None:
    bench = make(listen=("20.1.1.9", "::"))
    bench.local_ips = [A]
    bench.call(*[A] * 3, *["20.1.1.9"] * 3)
    bench.pass_time(61)
    assert bench.listed == []
    bench.local_ips = [C]
    bench.call(*[B] * 3, *[C] * 3)
    bench.pass_time(61)
    assert bench.listed == [B]


def test_the_local_address_is_asked_once_for_each_new_entry(make: Callable[..., Bench]) -> None:
    bench = make()
    bench.call(*[A] * 50, *[B] * 2)
    assert bench.asked == 1


def test_never_listed_sources_are_left_out_and_their_file_is_read_again(
    make: Callable[..., Bench], tmp_path: Path
) -> None:
    never = tmp_path / "never"
    never.write_text(f"{A}\n")
    bench = make(blocklist_never=(str(never),))
    bench.call(*[A] * 3, *[B] * 3)
    bench.pass_time(61)
    assert bench.listed == [B]
    never.write_text(f"{A}\n{B}\n")
    bench.blocklist.set_never_listed((str(never),))
    bench.pass_time(61)
    assert bench.listed == []
    never.unlink()
    with pytest.raises(SettingsError, match="No such file"):
        bench.blocklist.set_never_listed((str(never),))
    bench.call(*[B] * 3)
    bench.pass_time(61)
    assert bench.listed == []


def test_a_write_error_is_reported_once_and_the_write_is_retried(make: Callable[..., Bench], tmp_path: Path) -> None:
    bench = make()
    bench.path.unlink()
    bench.path.mkdir()
    bench.call(*[A] * 3)
    bench.pass_time(300)
    assert bench.troubles == [
        f"{bench.path}: not a regular file; the block list is out of date until writing works again"
    ]
    bench.path.rmdir()
    bench.pass_time(61)
    assert bench.listed == [A]
    assert sorted(path.name for path in tmp_path.iterdir()) == [HITS_FILE, "list"]


def test_a_bug_is_reported_once_a_minute_and_does_not_stop_the_list(
    make: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make()
    faults: list[Exception] = []
    bench.reactor.on_fault = faults.append
    with monkeypatch.context() as patched:
        patched.setattr(bench.blocklist, "_listed_of", lambda sources: 1 // 0)
        bench.call(*[A] * 3)
        bench.pass_time(200)
    assert 1 <= len(faults) <= 4
    bench.pass_time(61)
    assert bench.listed == [A]


def test_damaged_lines_of_hits_are_skipped(make: Callable[..., Bench]) -> None:
    bench = make()
    bench.call(*[A] * 3)
    bench.stop()
    hits = bench.directory / HITS_FILE
    hits.write_bytes(b"\xff\0 nonsense\n" + hits.read_bytes() + b"192.168.1.1 1 2 3\n20.1.1.2 17")
    bench.start()
    assert bench.listed == [A]
    assert bench.troubles == []


@pytest.mark.parametrize("name", ["plain", "rbldnsd", "nft", "json"])
@pytest.mark.parametrize("damage", ["a directory", "an error", "all zero", "a line"])
def test_entries_whose_hits_cannot_be_read_stay_listed_until_they_expire(
    make: Callable[..., Bench], name: str, damage: str
) -> None:
    bench = make(blocklist_format=name)
    bench.call(*[A] * 3, *[C] * 3)
    bench.stop()
    hits = bench.directory / HITS_FILE
    if damage == "a line":
        hits.write_bytes(b"\0" + hits.read_bytes())
    elif damage == "all zero":
        hits.write_bytes(bytes(60))
    else:
        hits.unlink()
        if damage == "a directory":
            hits.mkdir()
        else:
            hits.symlink_to("/proc/self/mem")  # an I/O error when it is read
    bench.start()
    bench.call(*[B] * 3)
    bench.pass_time(61)
    assert bench.listed_sources == [A, B, "2a01:4f8:1:2::/64"]
    if damage == "a directory":
        assert bench.troubles[0] == f"{hits}: not a regular file; its hits are lost, and the list keeps its entries"
        hits.rmdir()
    bench.pass_time(7 * DAY_S)
    assert bench.listed_sources == []
    bench.stop()
    bench.start()
    assert bench.listed_sources == []


@pytest.mark.parametrize("is_removed", [False, True])
def test_a_list_without_its_hits_is_replaced(make: Callable[..., Bench], is_removed: bool) -> None:
    """It expired, or somebody removed the hits to begin again."""
    bench = make()
    bench.call(*[A] * 3)
    bench.stop()
    if is_removed:
        (bench.directory / HITS_FILE).unlink()
    else:
        bench.time.advance(8 * DAY_S)
    bench.start()
    assert bench.path.read_text() == ""
    assert bench.troubles == []


def test_listed_sources_are_forgotten_last_and_that_is_reported(
    make: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smtppseudo.server.kept_blocklist.SOURCES_MAX", 5)
    bench = make()
    bench.call(*[A] * 3)
    bench.call(*(f"20.1.{number}.9" for number in range(200)), *(f"2a01:4f8:1:{number:x}::25" for number in range(200)))
    bench.pass_time(61)
    assert (bench.listed, bench.troubles) == ([A], [])
    bench.stop()
    bench.start()
    assert bench.listed == [A]
    for number in range(5):
        bench.call(*[f"20.1.2.{number}"] * 3)
    bench.pass_time(61)
    assert bench.listed == [f"20.1.2.{number}" for number in range(5)]
    assert bench.troubles == [f"{bench.path}: more than 5 sources; the oldest listed ones are forgotten"]


def test_one_48_takes_64_places_of_sources_that_are_not_listed(make: Callable[..., Bench]) -> None:
    bench = make()
    bench.call(*(f"2a01:4f8:1:{number:x}::25" for number in range(200)), C)
    assert len(bench.blocklist._hits.sources()) == 64
    bench.call(C, C)
    bench.pass_time(61)
    assert bench.listed == ["2a01:4f8:1:2::/64"]


def test_a_device_is_not_replaced(make: Callable[..., Bench], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "list")
    bench = make()
    bench.call(*[A] * 3)
    bench.pass_time(61)
    assert stat.S_ISFIFO((tmp_path / "list").stat().st_mode)
    assert len(bench.troubles) == 1


def test_long_work_is_done_in_steps(make: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch) -> None:
    """No turn of the loop handles more sources or lines than one step."""
    monkeypatch.setattr("smtppseudo.server.kept_blocklist._STEP", 7)
    bench = make()
    ips = [f"20.1.{number}.1" for number in range(100)]
    for ip in ips:
        bench.call(ip, ip, ip)
    reviewed: list[int] = []
    review = bench.blocklist._listed_of

    def count(sources: list[str]) -> object:
        reviewed.append(len(sources))
        return review(sources)

    monkeypatch.setattr(bench.blocklist, "_listed_of", count)
    bench.pass_time(90)
    assert set(reviewed) <= {7, 100 % 7}
    assert bench.blocklist._next_expiry == min(bench.blocklist._hits.times_of(ip)[-1] for ip in ips) + 7 * DAY_S
    assert sorted(bench.listed) == sorted(ips)
    bench.stop()
    bench.start()
    bench.pass_time(60)
    assert len(bench.blocklist._hits.sources()) == 100
