"""Dated log files: names, limits, and exact counts of lost lines after any failure of the disk."""

import contextlib
import os
import re
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from smtppseudo.config.settings import Settings
from smtppseudo.log.dated_files import CHECK_EVERY_S, DatedLog

DAY, NEXT_DAY = "2026-01-31", "2026-02-01"
LOGROTATE = shutil.which("logrotate", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
REPORT = re.compile(r"report (\d+) (.*)")


class Book:
    """A dated log that is written as by the recorder, on a clock that the test advances."""

    def __init__(
        self, directory: Path, keep_days: int = 0, max_bytes_per_day: int = 0, min_free_bytes: int = 0
    ) -> None:
        self.directory = directory
        self.troubles: list[str] = []
        settings = Settings(
            log_dir=str(directory),
            log_keep_days=keep_days,
            log_max_bytes_per_day=max_bytes_per_day,
            log_min_free_bytes=min_free_bytes,
        )
        self.log = DatedLog(settings, self.troubles.append)
        self.day = DAY
        self.now = 100.0

    def write(self, *texts: str) -> None:
        """Write the lines of one turn."""
        lost = self.log.prepare(self.day, self.now)
        lines = [f"{text}\n" for text in texts]
        if lost:
            lines.insert(0, f"report {lost} {self.log.account.reason}\n")
        self.log.write(lines, self.now)

    def write_later(self, *texts: str) -> None:
        """Write when the next check is due."""
        self.now += CHECK_EVERY_S
        self.write(*texts)

    @property
    def path(self) -> Path:
        """Today's file."""
        return self.directory / f"{self.day}.log"

    @property
    def lines(self) -> list[str]:
        """The lines of today's file, and the rest after its last LF."""
        return self.path.read_text().split("\n")


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    """A log without limits, in a directory that does not exist yet."""
    book = Book(tmp_path / "log")
    yield book
    book.log.close()


@contextlib.contextmanager
def files_limited_to(data: int) -> Iterator[None]:
    """Limit the size of files in the kernel: a write beyond it is partial, the next one fails."""
    resource = pytest.importorskip("resource", reason="POSIX only")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (data, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_lines_go_to_a_dated_file_without_access_for_others(book: Book) -> None:
    umask = os.umask(0)
    try:
        book.write("one", "two")
    finally:
        os.umask(umask)
    book.write("three")
    assert book.lines == ["one", "two", "three", ""]
    assert stat.S_IMODE(book.path.stat().st_mode) == 0o640
    assert stat.S_IMODE(book.directory.stat().st_mode) == 0o750
    assert (book.log.account.lost_lines, book.troubles) == (0, [])


def test_new_day_opens_a_new_file(book: Book) -> None:
    book.write("old")
    book.day = NEXT_DAY
    book.write("new")
    assert book.lines == ["new", ""]
    assert (book.directory / f"{DAY}.log").read_text() == "old\n"


def test_existing_file_is_appended_to(book: Book) -> None:
    book.directory.mkdir()
    book.path.write_text("before\n")
    book.write("after")
    assert book.lines == ["before", "after", ""]


def test_partial_last_line_is_ended_first(book: Book) -> None:
    book.directory.mkdir()
    book.path.write_text("before\ncut sho")
    book.write("after")
    assert book.lines == ["before", "cut sho", "after", ""]
    assert book.log.account.lost_lines == 0


BEFORE = "2026-01-30.log"


def test_logs_older_than_the_limit_are_removed(tmp_path: Path) -> None:
    book = Book(tmp_path, keep_days=2)
    kept = ["2026-01-29.log", "2026-01-30.log.gz", "1999-01-01.txt", "1999-01-01.log.bak", "x1999-01-01.log", "notes"]
    old = ["2026-01-28.log", "2025-12-31.log", "1999-01-01.log", "1999-01-02.log.1", "1999-01-03.1.log.xz"]
    for name in kept + old:
        (tmp_path / name).touch()
    book.write("today")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*kept, f"{DAY}.log"])
    book.day = NEXT_DAY
    book.write("tomorrow")
    assert not (tmp_path / "2026-01-29.log").exists()
    assert (tmp_path / f"{DAY}.log").exists()
    book.log.close()


LOGROTATE_FORMS = [
    "",
    "compress",
    "compress\ndelaycompress",
    "compress\ncompresscmd /usr/bin/xz\ncompressext .xz",
    "start 0",
    "dateext",
    "dateext\ncompress",
    "dateext\ndateformat .%Y-%m-%d-%s",
    "dateext\ndateformat _%Y%m%d",
    "extension .log",
    "extension .log\ndateext\ncompress",
    "addextension .log",
    "copytruncate",
    "nocopy\ncreate",
]


@pytest.mark.skipif(LOGROTATE is None, reason="logrotate is not installed")
@pytest.mark.parametrize("options", LOGROTATE_FORMS)
def test_old_logs_are_removed_whatever_logrotate_made_of_them(tmp_path: Path, options: str) -> None:
    directory = tmp_path / "log"
    directory.mkdir(mode=0o750)
    (directory / "1999-01-01.log").write_text("line\n")
    (directory / BEFORE).touch()
    config = tmp_path / "config"
    config.write_text(f"{directory}/1999-01-01.log {{\nrotate 9\n{options}\n}}\n")
    config.chmod(0o644)
    assert LOGROTATE
    for _ in range(3 if "dateext" not in options else 1):
        (directory / "1999-01-01.log").write_text("line\n")
        subprocess.run([LOGROTATE, "--force", "--state", str(tmp_path / "state"), str(config)], check=True)
    assert len(list(directory.iterdir())) > 1
    book = Book(directory, keep_days=2)
    book.write("today")
    book.log.close()
    assert sorted(path.name for path in directory.iterdir()) == [BEFORE, f"{DAY}.log"]


def test_old_log_that_cannot_be_removed_does_not_protect_others(tmp_path: Path) -> None:
    book = Book(tmp_path, keep_days=2)
    for year in range(1990, 2020, 2):
        (tmp_path / f"{year}-01-01.log").touch()
        (tmp_path / f"{year + 1}-01-01.log").mkdir()
    (tmp_path / BEFORE).touch()
    book.write("today")
    assert [path.name for path in sorted(tmp_path.glob("*.log")) if path.is_file()] == [BEFORE, f"{DAY}.log"]
    assert book.lines == ["today", ""]
    book.log.close()


KEPT = "old logs are kept until tomorrow"


@pytest.mark.parametrize("wrong", ["2027-01-31", "2026-04-15", "2036-01-31"])
def test_clock_jump_removes_no_logs(tmp_path: Path, wrong: str) -> None:
    book = Book(tmp_path, keep_days=2)
    names = ["2026-01-29.log", "2026-01-30.log", f"{DAY}.log"]
    for name in names[:2]:
        (tmp_path / name).touch()
    book.write("before")
    book.day = wrong
    book.write_later("ahead")
    book.log.reopen()  # as SIGHUP does
    book.write_later("ahead still")
    book.day = DAY
    book.write_later("right again")
    book.day = wrong
    book.write_later("ahead again")
    assert sorted(path.name for path in tmp_path.iterdir()) == [*names, f"{wrong}.log"]
    assert [KEPT in trouble for trouble in book.troubles] == [True, True]
    book.log.close()


def test_old_logs_are_removed_a_day_after_a_clock_jump(tmp_path: Path) -> None:
    book = Book(tmp_path, keep_days=2)
    book.write("before")
    for book.day in ("2026-06-01", "2026-06-02"):
        book.now += 86_400
        book.write("after")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2026-06-01.log", "2026-06-02.log"]
    book.log.close()


def test_days_without_lines_are_not_a_clock_jump(tmp_path: Path) -> None:
    book = Book(tmp_path, keep_days=2)
    book.write("before")
    book.day, book.now = "2026-02-20", book.now + 20 * 86_400
    book.write("after")
    assert [path.name for path in tmp_path.iterdir()] == ["2026-02-20.log"]
    assert book.troubles == []
    book.log.close()


def test_first_day_with_only_old_logs_removes_none(tmp_path: Path) -> None:
    (tmp_path / "2025-01-31.log").touch()
    book = Book(tmp_path, keep_days=2)
    book.write("today")
    assert (tmp_path / "2025-01-31.log").exists()
    book.day, book.now = NEXT_DAY, book.now + 86_400
    book.write("tomorrow")
    assert not (tmp_path / "2025-01-31.log").exists()
    book.log.close()


def test_zero_keep_days_removes_nothing(tmp_path: Path) -> None:
    book = Book(tmp_path, keep_days=0)
    (tmp_path / "1999-01-01.log").touch()
    book.write("today")
    assert (tmp_path / "1999-01-01.log").exists()
    book.log.close()


def test_log_of_a_day_stays_within_its_limit(tmp_path: Path) -> None:
    book = Book(tmp_path, max_bytes_per_day=100)
    book.path.write_text("x" * 49 + "\n")
    for number in range(30):
        book.write_later(f"line {number:04d}")
    size = book.path.stat().st_size
    assert 90 < size <= 100
    written = sum(line.startswith("line") for line in book.lines)
    assert written + book.log.account.lost_lines == 30
    assert len(book.troubles) == 1
    assert "log_max_bytes_per_day is reached" in book.troubles[0]
    book.day = NEXT_DAY
    book.write("morning")
    assert book.lines == [f"report {book.log.account.lost_lines} log_max_bytes_per_day is reached", "morning", ""]
    book.log.close()


def test_logging_stops_and_resumes_with_free_space(book: Book, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    book = Book(tmp_path / "floor", min_free_bytes=1000)
    free = SimpleNamespace(f_bavail=10, f_frsize=100)
    monkeypatch.setattr(os, "fstatvfs", lambda fd: free)
    book.write("one")
    free.f_bavail = 9
    book.write_later("two")
    book.write("three")
    assert book.lines == ["one", ""]
    assert (book.log.account.lost_lines, len(book.troubles)) == (2, 1)
    assert "log_min_free_bytes" in book.troubles[0]
    free.f_bavail = 10
    book.write_later("four")
    assert book.lines == ["one", "report 2 fewer than log_min_free_bytes are free on the disk", "four", ""]
    book.log.close()


def test_free_space_is_checked_on_systems_without_fstatvfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "fstatvfs", raising=False)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=999))
    for min_free_bytes, lost in ((999, 0), (1000, 1)):
        book = Book(tmp_path / str(min_free_bytes), min_free_bytes=min_free_bytes)
        book.write("one")
        assert book.log.account.lost_lines == lost
        book.log.close()


def test_free_space_of_the_real_disk_is_checked(tmp_path: Path) -> None:
    book = Book(tmp_path, min_free_bytes=1 << 60)
    book.write("one")
    assert book.log.account.lost_lines == 1
    book.log.close()


def test_new_file_replaces_a_renamed_one_within_a_second(book: Book) -> None:
    book.write("one")
    book.path.rename(book.directory / "rotated")
    book.write("two")
    book.write_later("three")
    assert (book.directory / "rotated").read_text() == "one\ntwo\n"
    assert book.lines == ["three", ""]
    assert (book.log.account.lost_lines, book.troubles) == (0, [])


def test_reopen_replaces_a_renamed_file_at_once(book: Book) -> None:
    book.write("one")
    book.path.rename(book.directory / "rotated")
    book.log.reopen()
    book.write("two")
    assert (book.directory / "rotated").read_text() == "one\n"
    assert book.lines == ["two", ""]


def test_lines_in_a_removed_file_are_counted_as_lost(book: Book) -> None:
    book.write("one")
    book.write_later("two")
    book.path.unlink()
    book.write("three")
    book.write_later("four")
    report = REPORT.fullmatch(book.lines[0])
    assert report is not None
    assert 1 <= int(report[1]) == book.log.account.lost_lines <= 2  # "two" may have been read before the removal
    assert book.lines[1:] == ["four", ""]
    assert "removed" in book.troubles[0]


def test_removed_directory_is_created_again(book: Book) -> None:
    book.write("one")
    book.path.unlink()
    book.directory.rmdir()
    book.write_later("two")
    assert book.lines[-2:] == ["two", ""]


@pytest.mark.parametrize("kind", ["symlink", "fifo", "directory"])
def test_only_a_regular_file_is_written(book: Book, tmp_path: Path, kind: str) -> None:
    book.directory.mkdir()
    target = tmp_path / "target"
    target.write_text("untouched")
    if kind == "symlink":
        book.path.symlink_to(target)
    elif kind == "fifo":
        os.mkfifo(book.path)
    else:
        book.path.mkdir()
    book.write("lost")
    assert (book.log.account.lost_lines, len(book.troubles)) == (1, 1)
    assert target.read_text() == "untouched"
    book.path.rename(tmp_path / "away")
    book.write_later("written")
    assert REPORT.fullmatch(book.lines[0])
    assert book.lines[1:] == ["written", ""]


def test_full_device_loses_every_line_and_reports_once(book: Book) -> None:
    book.directory.mkdir()
    try:
        os.mknod(book.path, stat.S_IFCHR | 0o600, os.makedev(1, 7))  # the device /dev/full
        book.path.open("ab").close()
    except PermissionError:
        pytest.skip("may not make a device here")
    for number in range(10):
        book.write_later(f"line {number}", "and another")
    assert book.log.account.lost_lines == 20
    assert book.troubles == [f"{book.path}: No space left on device; log lines are lost until writing works again"]
    book.path.unlink()
    book.write_later("written")
    report = REPORT.fullmatch(book.lines[0])
    assert report is not None
    assert int(report[1]) == book.log.account.lost_lines == 20
    assert book.lines[1:] == ["written", ""]


def test_lost_lines_are_exact_wherever_a_write_is_cut(tmp_path: Path) -> None:
    texts = ["first of all", "second", "third and last"]
    whole = len("".join(texts)) + len(texts)
    for limit in range(whole + 1):
        book = Book(tmp_path / str(limit))
        with files_limited_to(limit):
            book.write(*texts)
            book.write("lost at the limit", "as well")
        book.write("within the second after")
        book.write_later("the end")
        expect_account(book, [*texts, "lost at the limit", "as well", "within the second after", "the end"])
        assert len(book.troubles) == 1
        book.log.close()


def test_lost_lines_are_exact_when_the_report_is_cut_too(tmp_path: Path) -> None:
    texts = ["first", "second"]
    for first in range(0, len("first\nsecond\n"), 2):
        for second in range(first, first + 50):
            book = Book(tmp_path / f"{first}-{second}")
            with files_limited_to(first):
                book.write(*texts)
            with files_limited_to(second):
                book.write_later("third", "fourth")
            book.write_later("the end")
            expect_account(book, [*texts, "third", "fourth", "the end"])
            book.log.close()


def expect_account(book: Book, given: list[str]) -> None:
    """Assert that each given line is in the file, or counted and reported as lost, and that partial lines are ended."""
    *lines, rest = book.lines
    assert rest == ""
    whole = [line for line in lines if line in given]
    assert whole == sorted(set(whole), key=given.index)
    assert len(whole) + book.log.account.lost_lines == len(given)
    reported = [int(match[1]) for match in map(REPORT.fullmatch, lines) if match and match[2] == "File too large"]
    assert sum(reported) == book.log.account.lost_lines
    pieces = [line for line in lines if line not in given and not line.endswith("File too large")]
    reports = [f"report {count} File too large" for count in range(len(given))]
    assert all(any(line.startswith(piece) for line in given + reports) for piece in pieces)
    assert len(pieces) <= len(book.troubles) + 1


def test_repeated_trouble_is_reported_again(book: Book) -> None:
    for number in range(2):
        with files_limited_to(0):
            book.write_later(f"lost {number}")
            book.write_later("lost too")
        book.write_later("written")
    assert len(book.troubles) == 2
    assert book.log.account.lost_lines == 4


def test_descriptor_is_not_inheritable(book: Book) -> None:
    book.write("one")
    opened = [fd for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink() and fd.readlink() == book.path]
    assert len(opened) == 1
    assert not os.get_inheritable(int(opened[0].name))
