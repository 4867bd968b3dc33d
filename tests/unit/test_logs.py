"""Finding and reading logs: names, dates, formats, gzip, and damaged files."""

import bz2
import gzip
import lzma
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from pathlib import Path

import pytest

from smtppseudo.events import Closed, Command, Connected, Event, Online, TurnedAway
from smtppseudo.logread.logs import Reading, find, instant
from smtppseudo.logread.scan import Row
from tests.records import Stamped, render_json, render_text

DAY = "2026-11-24"
SESSION: tuple[Event, ...] = (
    Connected(25),
    Command("HELO a b", "250 Hello"),
    Command("QUIT", "221 Bye"),
    Closed("quit", 12, 1, 2, 2),
)


def stamped(*events: Event, day: str = DAY, session: int = 1) -> list[Stamped]:
    """Stamp events of one session, a second apart, from noon."""
    return [
        Stamped(0, f"{day}T12:00:{second:02}.000Z", 1, session, "192.0.2.1", 4000 + session, event)
        for second, event in enumerate(events)
    ]


def text(*events: Event, day: str = DAY) -> bytes:
    """Render a session in the form of a log."""
    return "".join(render_text(stamped(*events, day=day))).encode()


def read(reading: Reading) -> list[Row]:
    """Return all rows."""
    return [row for rows in reading for row in rows]


def write(path: Path, data: bytes) -> Path:
    """Write a log, gzipped if its name says so."""
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def test_rotated_and_gzipped_logs_are_found(tmp_path: Path) -> None:
    names = [
        f"{DAY}.log",
        f"{DAY}.log.1",
        f"{DAY}.log.2.gz",
        f"{DAY}.log-20261125.gz",
        f"{DAY}.1.log",
        "2026-11-23.log.gz",
        "2026-11-23.log.1.xz",
    ]
    others = ["notes.log", "2026-11-24.txt", "2026-11-24.log.xz", "2026-11-24.log.1.bak", "26-11-24.log"]
    for name in [*names, *others]:
        (tmp_path / name).touch()
    (tmp_path / "2026-11-22.log").mkdir()
    assert {path.name for path in find(tmp_path)} == set(names)


def test_logs_are_sorted_oldest_first(tmp_path: Path) -> None:
    names = ["2026-11-23.log", f"{DAY}.log.10.gz", f"{DAY}.log.2.gz", f"{DAY}.log.1", f"{DAY}.log", "2026-11-25.log"]
    for name in reversed(names):
        (tmp_path / name).touch()
    assert [path.name for path in find(tmp_path)] == names


def test_logs_rotated_by_date_are_sorted_oldest_first(tmp_path: Path) -> None:
    names = [f"{DAY}.log-20261125.gz", f"{DAY}.log-20261126", f"{DAY}.log"]
    for name in reversed(names):
        (tmp_path / name).touch()
    assert [path.name for path in find(tmp_path)] == names


def test_log_is_found_once_during_gzip(tmp_path: Path) -> None:
    for name in (f"{DAY}.log", f"{DAY}.log.gz"):
        (tmp_path / name).touch()
    assert [path.name for path in find(tmp_path)] == [f"{DAY}.log"]


def test_period_includes_a_margin_of_one_day(tmp_path: Path) -> None:
    for day in range(20, 30):
        (tmp_path / f"2026-11-{day}.log").touch()
    found = find(tmp_path, "2026-11-24T00:00:00.000Z", "2026-11-25T12:00:00.000Z")
    assert [path.stem[-2:] for path in found] == ["23", "24", "25", "26"]
    assert [path.stem[-2:] for path in find(tmp_path, "2026-11-28T00:00:00.000Z")] == ["27", "28", "29"]
    assert [path.stem[-2:] for path in find(tmp_path, until="2026-11-20T00:00:00.000Z")] == ["20", "21"]
    assert len(find(tmp_path, "0001-01-01T00:00:00.000Z", "9999-12-31T00:00:00.000Z")) == 10


def test_instant_is_rendered_in_utc() -> None:
    assert instant(datetime(2026, 11, 24, 1, 2, 3, 4_999, tzinfo=UTC)) == "2026-11-24T01:02:03.004Z"
    assert instant(datetime(2026, 11, 24, 1, tzinfo=timezone(timedelta(hours=2)))) == "2026-11-23T23:00:00.000Z"
    assert instant(datetime.min.replace(tzinfo=UTC)).startswith("0001-01-01T")


@pytest.mark.parametrize("name", [f"{DAY}.log", f"{DAY}.log.gz"])
def test_mixed_text_and_json_is_read(tmp_path: Path, name: str) -> None:
    records = stamped(*SESSION)
    mixed = render_text(records) + render_json(records) + render_text(records[:1])
    reading = Reading([write(tmp_path / name, "".join(mixed).encode())])
    rows = read(reading)
    assert rows[:4] == rows[4:8]
    assert [row[1] for row in rows] == ["connected", "command", "command", "closed"] * 2 + ["connected"]
    assert (reading.lines, reading.damaged, reading.problems) == (9, 0, [])


def test_period_includes_since_and_excludes_until(tmp_path: Path) -> None:
    path = write(tmp_path / "log", text(*SESSION))
    since, until = f"{DAY}T12:00:01.000Z", f"{DAY}T12:00:03.000Z"
    assert [row[1] for row in read(Reading([path], since, until))] == ["command", "command"]
    assert [row[1] for row in read(Reading([path], since))] == ["command", "command", "closed"]
    assert [row[1] for row in read(Reading([path], "", until))] == ["connected", "command", "command"]


def test_last_line_without_lf_is_damaged(tmp_path: Path) -> None:
    """The line is damaged even if it looks like a whole record."""
    reading = Reading([write(tmp_path / "log", text(*SESSION)[:-1])])
    assert [row[1] for row in read(reading)] == ["connected", "command", "command"]
    assert (reading.lines, reading.damaged) == (4, 1)


@pytest.mark.parametrize(
    "damage",
    [
        b"\n",
        b"\xff\xfe binary \0\n",
        b"2026-11-24T12:00:00.000Z connected slot=1 sess\n",
        b'{"time":"2026-11-24T12:00:00.000Z","event":"connected","slot":1e999}\n',
        b'{"time":"2026-11-24T12:00:00.000Z","event":"refused","reason":"\\u001b[31m","count":1}\n',
        b"2026-13-28T12:00:00.000Z connected slot=1 session=2 ip=192.0.2.1 port=1 local_port=25\n",
        b"2026-11-24T24:00:00.000Z command slot=1 session=2 ip=192.0.2.1 port=1 data=QUIT code=221 reply=Bye\n",
        b'{"time":"2026-02-29T12:00:00.000Z","event":"refused","reason":"slots","count":1}\n',
        b'{"time":"2026-11-31T12:00:00.000Z","event":"connected","slot":1,"session":2,"ip":"192.0.2.1","port":1,'
        b'"local_port":25}\n',
        b"2026-13-24 connected slot=1 session=1 ip=192.0.2.1 port=1 local_port=25\n",
        f"2026-11-24T12:00:00.000Z refused reason=slots count={'9' * 400}\n".encode(),
        f"2026-11-24T12:00:00.000Z closed reason=quit duration_ms=-{'9' * 400}"
        " received_bytes=1 sent_bytes=1 commands=1\n".encode(),
        b"2026-11-24T12:00:00.000Z connected slot=1 session=2 ip=192.0.2.1 port=1 data=QUIT code=221 reply=Bye\n",
        b"2026-11-24T12:00:00.000Z command slot=1 session=2 ip=192.0.2.1 port=1 local_port=25\n",
        b'{"time":"2026-11-24T12:00:00.000Z","event":"closed","slot":1,"session":2,"ip":"192.0.2.1","port":1,'
        b'"local_port":25}\n',
        b"{" * 100_000 + b"\n",
        b"[" * 1_000_000 + b"\n",
    ],
)
def test_damaged_line_is_counted_and_others_are_read(tmp_path: Path, damage: bytes) -> None:
    whole = text(*SESSION)
    for data in (damage + whole, whole + damage, whole[: whole.index(b"\n") + 1] + damage + whole):
        reading = Reading([write(tmp_path / "log", data)])
        assert len(read(reading)) == data.count(b" port=4001 ")
        assert reading.damaged == 1
        assert reading.problems == []


@pytest.mark.parametrize(
    "line",
    [
        f"{DAY}T12:00:00.000Z greylisted slot=1 session=7 ip=192.0.2.1 port=9 for_s=60 server=mx1\n",
        f'{{"time":"{DAY}T12:00:00.000Z","event":"greylisted","session":7,"ip":"192.0.2.1","port":9,"for":[60],'
        '"server":"mx1"}\n',
    ],
)
def test_event_of_a_later_version_is_not_damaged(tmp_path: Path, line: str) -> None:
    reading = Reading([write(tmp_path / "log", line.encode())])
    assert read(reading) == [
        (f"{DAY}T12:00:00.000Z", "greylisted", "7", "192.0.2.1", "9", "", "", "", "", "", "", "mx1")
    ]
    assert reading.damaged == 0


@pytest.mark.parametrize(
    ("more", "of"), [(b" tls=1.3 server=mx1", "connected"), (b" a=b", "command"), (b' note="x y"', "closed")]
)
def test_field_of_a_later_version_is_not_damaged(tmp_path: Path, more: bytes, of: str) -> None:
    whole = text(*SESSION).splitlines(keepends=True)
    lines = [line.replace(b"\n", more + b"\n") if of.encode() in line.split() else line for line in whole]
    reading = Reading([write(tmp_path / "log", b"".join(lines))])
    plain = Reading([write(tmp_path / "plain", b"".join(whole))])
    assert [row[:10] for row in read(reading)] == [row[:10] for row in read(plain)]
    assert reading.damaged == 0


@pytest.mark.parametrize("line", ["conn", "greylisted", "greylisted ip", "Greylisted ip=1", 'greylisted ip="'])
def test_line_cut_in_its_first_field_is_damaged(tmp_path: Path, line: str) -> None:
    reading = Reading([write(tmp_path / "log", f"{DAY}T12:00:00.000Z {line}\n".encode())])
    assert read(reading) == []
    assert reading.damaged == 1


def test_line_joined_by_a_crash_is_one_damaged_line(tmp_path: Path) -> None:
    whole = text(*SESSION)
    reading = Reading([write(tmp_path / "log", whole[:30] + whole)])
    assert len(read(reading)) == 3
    assert reading.damaged == 1


def test_huge_line_uses_no_more_memory(tmp_path: Path) -> None:
    """16 MiB without LF are one damaged line, which is never in memory as a whole."""
    path = write(tmp_path / "log", b"x" * (16 << 20) + b"\n" + text(*SESSION))
    reading = Reading([path])
    tracemalloc.start()
    try:
        rows = read(reading)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    assert len(rows) == 4
    assert (reading.lines, reading.damaged) == (5, 1)


def test_truncated_gzip_file_yields_its_lines(tmp_path: Path) -> None:
    path = tmp_path / f"{DAY}.log.gz"
    session = [Online("start"), *(TurnedAway("slots", count) for count in range(20_000)), *SESSION]
    packed = gzip.compress(
        "".join(render_text([Stamped(0, f"{DAY}T12:00:00.000Z", 0, 0, "", 0, event) for event in session])).encode()
    )
    path.write_bytes(packed[: len(packed) // 2])
    reading = Reading([path, write(tmp_path / "next", text(*SESSION))])
    rows = read(reading)
    assert 5_000 < len(rows) < 15_000
    assert rows[-1][1] == "closed"
    assert reading.problems == [f"{path}: truncated; the end of the file is missing"]
    assert reading.damaged == 1


def test_damaged_gzip_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / f"{DAY}.log.gz"
    packed = gzip.compress(text(*SESSION))
    path.write_bytes(packed[:20] + bytes(byte ^ 0xFF for byte in packed[20:]))
    reading = Reading([path])
    read(reading)
    assert reading.problems == [f"{path}: damaged; the rest of the file was not read"]


@pytest.mark.parametrize(
    "pack",
    [
        lzma.compress,
        partial(lzma.compress, format=lzma.FORMAT_ALONE),
        bz2.compress,
        lambda _: bytes.fromhex("28b52ffd240001000099e9d851"),  # zstd, of nothing
        lambda _: bytes.fromhex("04224d186440a700000000055dcc02"),  # lz4, of nothing
    ],
    ids=["xz", "lzma", "bzip2", "zstd", "lz4"],
)
def test_logs_packed_by_other_programs_are_named(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    path = write(tmp_path / f"{DAY}.log.packed", pack(text(*SESSION)))
    reading = Reading([path, write(tmp_path / "next", text(*SESSION))])
    assert len(read(reading)) == 4
    assert reading.problems == [f"{path}: not read, because it is not packed by gzip; unpack it first"]


def test_concatenated_gzip_members_are_read(tmp_path: Path) -> None:
    path = tmp_path / f"{DAY}.log.gz"
    path.write_bytes(gzip.compress(text(*SESSION)) * 3)
    reading = Reading([path])
    assert len(read(reading)) == 12
    assert reading.problems == []


def test_unreadable_file_is_named_and_others_are_read(tmp_path: Path) -> None:
    there = write(tmp_path / "log", text(*SESSION))
    reading = Reading([tmp_path / "gone", tmp_path, there])
    assert len(read(reading)) == 4
    assert reading.problems == [f"{tmp_path / 'gone'}: No such file or directory", f"{tmp_path}: Is a directory"]


def test_bytes_read_reach_total_bytes(tmp_path: Path) -> None:
    paths = [write(tmp_path / name, text(*SESSION) * 5_000) for name in ("a.log", "b.gz")]
    reading = Reading(paths)
    assert reading.total_bytes == sum(path.stat().st_size for path in paths)
    seen = [reading.bytes_read for _ in reading]
    assert seen == sorted(seen)
    assert 0 < seen[0] < seen[-1] == reading.total_bytes
