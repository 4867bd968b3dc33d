"""Logs: finds the dated log files of directories and reads them, plain or gzipped.

    reading = Reading(find(directory, since, until), since, until)
    for rows in reading:  # lists of `scan.Row`, each from about 128 KiB of log
        ...
    reading.lines, reading.damaged, reading.problems

`since` (inclusive) and `until` (exclusive) are times in the form of the logs (`2026-11-24T13:54:36.350Z`, see
`instant`); empty = no limit. Rows keep the order of their file, and files the given order; `find` sorts by date.
"""

import os
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from io import BufferedReader
from pathlib import Path
from typing import Final

from smtppseudo.log.dated_files import LOG_NAME
from smtppseudo.logread.scan import Row, scan

STDIN: Final = Path("/dev/stdin")
"""Means standard input, also on systems without this file."""

_BLOCK_BYTES: Final = 1 << 17  # the rows of one block stay in the processor's cache
_LINE_BYTES_MAX: Final = 1 << 20  # as 16,000 servers in the first line of a hits file
_NO_RECORD: Final = b"\0"  # replaces the beginning of a line that is too long to be a record
_GZIP_MAGIC: Final = b"\x1f\x8b"
# xz, zstd, bzip2, lz4, lzip, compress, lzma, lzop and zip, each as a logrotate may be set to use it.
_OTHER: Final = re.compile(rb"\xfd7zXZ|\x28\xb5\x2f\xfd|BZh|\x04\x22\x4d\x18|LZIP|\x1f\x9d|\x5d\0\0|\x89LZO|PK\x03\x04")
_GZIP_WINDOW: Final = 31  # makes zlib expect a gzip header and trailer
_FIRST_DATE: Final = 1990_01_01
_ONE_DAY: Final = timedelta(days=1)


def instant(at: datetime) -> str:
    """Render a time in the form of the logs."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def find(directory: Path, since: str = "", until: str = "") -> list[Path]:
    """Return the dated logs of a directory, oldest first, with rotated (`.log.1`) and packed ones.

    `since` and `until` exclude files of other days, with a margin of one day: file names are local dates, and may be
    those of another machine. Raises OSError if the directory cannot be read.
    """
    earliest, latest = _day_of(since or str(date.min), -_ONE_DAY), _day_of(until or str(date.max), _ONE_DAY)
    found: list[tuple[str, float, str, Path]] = []
    paths = {path.name: path for path in directory.iterdir()}
    for name, path in paths.items():
        match = LOG_NAME.fullmatch(name)
        if match is None or not earliest <= match["day"] <= latest or not path.is_file():
            continue
        if match["packed"] is not None and name.removesuffix(match["packed"]) in paths:
            continue  # gzip is still writing it
        found.append((match["day"], _order_of(match["inner"] + match["outer"]), name, path))
    return [path for *_, path in sorted(found)]


def _order_of(rotation: str) -> float:
    """Return a number that grows with time: `.2` is older than `.1`, but `-20261124` than `-20261125`."""
    number = int(re.sub(r"\D", "", rotation) or 0)
    return -number if number < _FIRST_DATE else -1 / number


def _day_of(time: str, offset: timedelta) -> str:
    day = date.fromisoformat(time[:10])
    try:
        return str(day + offset)
    except OverflowError:
        return str(day)


class Reading:
    """One pass over log files, block by block. No error is fatal.

    `damaged` counts the lines that are cut, too long or no records; they are skipped. `problems` names the files that
    could not be read to their end. `bytes_read` and `total_bytes` count bytes on the disk, before decompression.
    """

    def __init__(self, paths: Sequence[Path], since: str = "", until: str = "") -> None:
        self.lines = 0
        self.damaged = 0
        self.bytes_read = 0
        self.problems: list[str] = []
        self._paths = paths
        self._since, self._until = since, until or "~"

    @property
    def total_bytes(self) -> int:
        """The size of the files on the disk."""
        return sum(path.stat().st_size for path in self._paths if path.is_file())

    def __iter__(self) -> Iterator[list[Row]]:
        """Yield the rows of the period, one list a block."""
        return map(self.rows, self.blocks(self._paths))

    def rows(self, block: bytes) -> list[Row]:
        """Return the rows of the period in a block of lines."""
        rows, damaged = scan(block)
        self.lines += len(rows) + damaged
        self.damaged += damaged
        since, until = self._since, self._until
        return [row for row in rows if since <= row[0] < until] if since or until != "~" else rows

    def blocks(self, paths: Iterable[Path]) -> Iterator[bytes]:
        """Yield the whole lines of some of the files, block by block."""
        for path in paths:
            try:
                with os.fdopen(0, "rb", closefd=False) if path is STDIN else path.open("rb") as file:
                    yield from self._blocks(self._pieces(file, path))
            except OSError as error:
                self.problems.append(f"{path}: {error.strerror or error}")

    def _blocks(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """Join pieces into blocks of whole lines; count a last line without LF as damaged."""
        rest = b""
        for piece in pieces:
            end = piece.rfind(b"\n") + 1
            if end:
                yield rest + piece[:end]
                rest = piece[end:]
            else:
                rest += piece
            if len(rest) > _LINE_BYTES_MAX:
                rest = _NO_RECORD
        if rest:
            self.lines += 1
            self.damaged += 1

    def _pieces(self, file: BufferedReader, path: Path) -> Iterator[bytes]:
        """Read a file to its end. Its first bytes, not its name, tell whether it is gzipped."""
        head = file.peek(6)
        if _OTHER.match(head):
            self.problems.append(f"{path}: not read, because it is not packed by gzip; unpack it first")
            return
        if not head.startswith(_GZIP_MAGIC):
            yield from self._raw(file)
            return
        decoder = zlib.decompressobj(_GZIP_WINDOW)
        try:
            for data in self._raw(file):
                packed = data
                while packed:
                    if decoder.eof:  # several members in one file (RFC 1952 section 2.2)
                        decoder = zlib.decompressobj(_GZIP_WINDOW)
                    yield decoder.decompress(packed, _BLOCK_BYTES)
                    packed = decoder.unused_data or decoder.unconsumed_tail
        except zlib.error:
            self.problems.append(f"{path}: damaged; the rest of the file was not read")
            return
        if not decoder.eof:
            self.problems.append(f"{path}: truncated; the end of the file is missing")

    def _raw(self, file: BufferedReader) -> Iterator[bytes]:
        while data := file.read(_BLOCK_BYTES):
            self.bytes_read += len(data)
            yield data
