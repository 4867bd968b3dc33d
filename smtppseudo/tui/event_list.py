"""The event list: the latest events, numbered in order of arrival, and a filter over them."""

from bisect import bisect_right
from collections.abc import Sequence
from typing import Final, NamedTuple

from smtppseudo.events import printable
from smtppseudo.monitor.codec import Frame
from smtppseudo.tui.query import Query
from smtppseudo.tui.texts import describe, text_of

EVENTS_KEPT: Final = 5_000


class Note(NamedTuple):
    """A line of the screen's own among the events: a gap, a restart, ..."""

    text: str


def text_for_search(item: Frame | Note) -> str:
    """Return the text that a search looks at, in lower case."""
    if isinstance(item, Note):
        return item.text.lower()
    return f"{item.get('slot', '')} {text_of(item, 'ip')} {item.get('event')} {describe(item)}".lower()


class EventList:
    """The last items, the newest at the end. An item keeps its number; `first` is the number of the oldest."""

    def __init__(self, kept: int = EVENTS_KEPT) -> None:
        self._kept = kept
        self._items: list[Frame | Note] = []
        self._passed: list[int] | None = None  # the numbers of items that pass the filter; None = all
        self.first = 0
        self.query = Query()

    def __len__(self) -> int:
        """Return the number of lines: items that pass the filter."""
        return len(self._items) if self._passed is None else len(self._passed)

    @property
    def next_number(self) -> int:
        """The number of the next item."""
        return self.first + len(self._items)

    def extend(self, items: Sequence[Frame | Note]) -> None:
        """Add items; remove the oldest, several at a time."""
        if self._passed is not None:
            self._passed += [self.next_number + at for at, item in enumerate(items) if self._passes(item)]
        self._items += items
        surplus = len(self._items) - self._kept
        if surplus > self._kept // 10:
            del self._items[:surplus]
            self.first += surplus
            if self._passed is not None:
                del self._passed[: bisect_right(self._passed, self.first - 1)]

    def filter(self, query: Query) -> None:
        """Keep only matching items as lines."""
        self.query = query
        self._passed = None
        if query:
            self._passed = [self.first + at for at, item in enumerate(self._items) if self._passes(item)]

    def number_at(self, line: int) -> int:
        """Return the number of the item on a line."""
        return self.first + line if self._passed is None else self._passed[line]

    def line_of(self, number: int) -> int:
        """Return the line of the last item up to a number; 0 if all have higher numbers."""
        if self._passed is None:
            return max(0, min(number - self.first, len(self._items) - 1))
        return max(0, bisect_right(self._passed, number) - 1)

    def at(self, line: int) -> Frame | Note | None:
        """Return the item on a line; None if there is none."""
        if not 0 <= line < len(self):
            return None
        return self._items[self.number_at(line) - self.first]

    def find(self, words: str, line: int, step: int) -> int | None:
        """Return the nearest line after (`step` 1) or before (-1) a line that contains all words; None if none does."""
        wanted = printable(words).lower().split()
        count = len(self)
        for distance in range(1, count + 1):
            found = (line + step * distance) % count
            text = text_for_search(self._items[self.number_at(found) - self.first])
            if all(word in text for word in wanted):
                return found
        return None

    def _passes(self, item: Frame | Note) -> bool:
        if isinstance(item, Note):
            return True  # a gap matters under any filter
        text = text_for_search(item) if self.query.words else ""
        return self.query.matches(str(item.get("event")), text_of(item, "ip"), text)
