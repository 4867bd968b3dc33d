"""Search: finds the sessions of logs that meet conditions, in two passes and in bounded memory.

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
_FOREVER: Final = "~"  # after all times
# What stands between the words of a text line, and what JSON has there. `x22` is the escape of a quote in text; the
# search may be for a part of it.
_BETWEEN: Final = re.compile(r'(?:^|[ ="\\]+)x?2{0,2}')
_BETWEEN_IN_BOTH: Final = rb'(?:[ =":,\\x2]|event)+'
_ID: Final = re.compile(rb'session[=": ]+(\d+)')

Condition: TypeAlias = tuple[re.Pattern[bytes], Callable[[Row, bytes], bool]]
"""A test of a line and its row, and a pattern that is found in the lower case of all lines that pass the test."""


def condition(text: str, is_met: Callable[[Row, bytes], bool]) -> Condition:
    """Return a condition for lines whose text rendering contains `text`, which is in lower case."""
    words = [re.escape(word.encode()) for word in _BETWEEN.split(text) if word]
    return re.compile(_BETWEEN_IN_BOTH.join(words) or b"\n"), is_met


def text_of(line: bytes) -> str:
    """Return the text rendering of a line that `scan` accepts."""
    text = line.decode("latin-1")
    return render_record(read_record(text)) if text.startswith("{") else text


class Search:
    """Finds sessions that meet all conditions, each by some line of the period.

    A condition that more than `keys_max` sessions meet is tested in the second pass. That needs another one that is met
    by fewer; otherwise the search `is_too_wide`.
    """

    def __init__(
        self, conditions: Sequence[Condition], since: str = "", until: str = "", keys_max: int = KEYS_MAX
    ) -> None:
        self._since = since
        self._until = until or _FOREVER
        self._keys_max = keys_max
        self._found: dict[Condition, set[str]] = {condition: set() for condition in conditions}

    @property
    def is_too_wide(self) -> bool:
        """Whether too many sessions meet each of the conditions."""
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
                if row[2] and self._since <= row[0] < self._until and condition[1](row, line):
                    yield _key_of(row)


def _key_of(row: Row) -> str:
    return f"{row[2]} {row[3]} {row[4]} {row[11]}"


def _candidates(pattern: re.Pattern[bytes], block: bytes, lower: bytes) -> Iterator[bytes]:
    end = 0
    while found := pattern.search(lower, end):
        start, end = lower.rfind(b"\n", 0, found.start()) + 1, lower.index(b"\n", found.start()) + 1
        yield block[start:end]


def _lines_of(keys: set[str], blocks: Iterable[bytes]) -> Iterator[tuple[str, str, str, bytes]]:
    """Yield time, kind and key of each line of the sessions, and the line."""
    ids = {key.partition(" ")[0].encode() for key in keys}
    for block in blocks:
        if not ids.isdisjoint(_ID.findall(block)):
            lines = [line + b"\n" for line in block.split(b"\n")[:-1]]
            rows, damaged = scan(block)
            pairs = ((row, line) for line in lines for row in scan(line)[0]) if damaged else zip(rows, lines)  # noqa: B905
            for row, line in pairs:
                if (key := _key_of(row)) in keys:
                    yield row[0], row[1], key, line


def _grouped(found: Iterable[tuple[str, str, str, bytes]]) -> Iterator[list[bytes]]:
    waiting: dict[str, list[bytes]] = {}
    size = 0
    for _, kind, key, line in found:
        waiting.setdefault(key, []).append(line)
        size += len(line)
        if kind == "closed" or size > _WAITING_BYTES_MAX:
            session = waiting.pop(key if kind == "closed" else next(iter(waiting)))
            size -= sum(map(len, session))
            yield session
    yield from waiting.values()
