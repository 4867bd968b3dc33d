"""Search: finds the sessions of logs that meet conditions, in two passes and in bounded memory.

Each line about callers that were turned away counts as a session of its own.

search = Search([condition("gf.example", is_met)], since, until)
for block in blocks:  # of `logs.Reading`
    search.note(block)
for lines in search.sessions([blocks]):  # once more
    ...
"""

import heapq
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import itemgetter
from typing import Final, TypeAlias

from smtppseudo.log.records import read_record, render_record
from smtppseudo.logread.scan import Row, scan

KEYS_MAX: Final = 100_000
_WAITING_BYTES_MAX: Final = 8 << 20
# What separates words in a text line, and what may do so in JSON. `\x22` is a quote; a search may begin or end in it.
_BETWEEN: Final = re.compile(r'(?:^|[ ="\\]+)x?2{0,2}')
_BETWEEN_IN_BOTH: Final = rb'(?:[ =":,\\x2]|event)+'
_SEPARATES: Final = re.compile(r"(?:[:,x2]|event)*")
_ID: Final = re.compile(rb'session[=": ]+(\d+)')

Condition: TypeAlias = tuple[re.Pattern[bytes], Callable[[Row, bytes], bool]]
"""A test of a row and its line, and a pattern that is found in all lines that pass it, in lower case."""


def condition(text: str, is_met: Callable[[Row, bytes], bool]) -> Condition:
    """Return a condition that only lines meet whose text rendering contains `text`, in lower case."""
    # A word that could also be part of what separates words is left out: else a hostile line takes cubic time.
    words = [re.escape(word.encode()) for word in _BETWEEN.split(text) if not _SEPARATES.fullmatch(word)]
    return re.compile(_BETWEEN_IN_BOTH.join(words) or b"\n"), is_met


def text_of(line: bytes) -> str:
    """Return the text rendering of a line that `scan` accepts."""
    text = line.decode("latin-1")
    return render_record(read_record(text)) if text.startswith("{") else text


class Search:
    """Finds sessions in which each condition is met by some line of the period.

    A condition that more than `keys_max` sessions meet is tested in the second pass, if another one is met by fewer.
    """

    def __init__(
        self, conditions: Sequence[Condition], since: str = "", until: str = "", keys_max: int = KEYS_MAX
    ) -> None:
        self._since, self._until, self._keys_max = since, until or "~", keys_max
        self._found: dict[Condition, set[str]] = {condition: set() for condition in conditions}

    @property
    def is_too_wide(self) -> bool:
        """Whether too many sessions meet every condition, so that there is no second pass."""
        return min(map(len, self._found.values())) > self._keys_max

    def note(self, block: bytes) -> None:
        """Note the keys of the sessions in a block of whole lines."""
        lower = block.lower()
        for condition, keys in self._found.items():
            if len(keys) <= self._keys_max:
                keys.update(self._keys(condition, _candidates(condition[0], block, lower)))

    def sessions(self, logs: Iterable[Iterable[bytes]]) -> Iterator[list[bytes]]:
        """Yield the lines of each session, in the order of their ends; those without end are last.

        `logs` are iterators of the same blocks; they are merged by time. If lines of unfinished sessions exceed 8 MiB,
        the oldest session is yielded in parts.
        """
        keys = set.intersection(*[keys for keys in self._found.values() if len(keys) <= self._keys_max])
        untested = [condition for condition, keys in self._found.items() if len(keys) > self._keys_max]
        for session in _grouped(heapq.merge(*[_lines_of(keys, blocks) for blocks in logs], key=itemgetter(0))):
            if all(any(self._keys(condition, session)) for condition in untested):
                yield session

    def _keys(self, condition: Condition, lines: Iterable[bytes]) -> Iterator[str]:
        for line in lines:
            for row in scan(line)[0]:
                is_of_caller = row[2] or row[1] == "turned_away"
                if is_of_caller and self._since <= row[0] < self._until and condition[1](row, line):
                    yield _key_of(row)


def _key_of(row: Row) -> str:
    time, _, session, ip, port, *_, server = row
    return f"{session} {ip} {port or time} {server}"


def _candidates(pattern: re.Pattern[bytes], block: bytes, lower: bytes) -> Iterator[bytes]:
    end = 0
    while found := pattern.search(lower, end):
        start, end = lower.rfind(b"\n", 0, found.start()) + 1, lower.index(b"\n", found.start()) + 1
        yield block[start:end]


def _lines_of(keys: set[str], blocks: Iterable[bytes]) -> Iterator[tuple[str, bool, str, bytes]]:
    """Yield the time of each line of the sessions, whether it is the last, the session's key, and the line."""
    ids = {key.partition(" ")[0].encode() for key in keys}  # "" of callers turned away, whose lines have a `count`
    for block in blocks:
        if ids.isdisjoint(_ID.findall(block)) and not (b"" in ids and b"count" in block):
            continue
        lines = [line + b"\n" for line in block.split(b"\n")[:-1]]
        rows, damaged = scan(block)
        pairs = ((row, line) for line in lines for row in scan(line)[0]) if damaged else zip(rows, lines, strict=True)
        for row, line in pairs:
            if (key := _key_of(row)) in keys:
                yield row[0], row[1] in ("closed", "turned_away"), key, line


def _grouped(found: Iterable[tuple[str, bool, str, bytes]]) -> Iterator[list[bytes]]:
    waiting: dict[str, list[bytes]] = {}
    size = 0
    for _, is_last, key, line in found:
        waiting.setdefault(key, []).append(line)
        size += len(line)
        if is_last or size > _WAITING_BYTES_MAX:
            session = waiting.pop(key if is_last else next(iter(waiting)))
            size -= sum(map(len, session))
            yield session
    yield from waiting.values()
