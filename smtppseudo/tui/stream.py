"""The stream: the latest events, numbered as they came, and those of them that a filter lets through."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from smtppseudo.monitor.codec import Frame
from smtppseudo.tui.query import Query
from smtppseudo.tui.texts import shown, text_of, told

KEPT: Final = 5_000


class Mark(NamedTuple):
    """A note of the screen's own among the events: a gap, a new run, ..."""

    text: str


def text_for_search(item: Frame | Mark) -> str:
    """Return what words are looked for in, in small letters."""
    if isinstance(item, Mark):
        return item.text.lower()
    return f"{item.get('slot', '')} {text_of(item, 'ip')} {item.get('event')} {told(item)}".lower()


class Stream:
    """The items kept, the newest last. Each has a number that stays; the first kept has the number `first`."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._items: list[Frame | Mark] = []
        self._passed: list[int] | None = None  # the numbers of those that the filter lets through; None = all
        self.first = 0
        self.query = Query()

    def __len__(self) -> int:
        """How many lines are to be seen."""
        return len(self._items) if self._passed is None else len(self._passed)

    @property
    def next_number(self) -> int:
        """The number that the next item will have."""
        return self.first + len(self._items)

    def extend(self, items: Sequence[Frame | Mark]) -> None:
        """Add items; forget the oldest, some at a time."""
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
        """Let only some through."""
        self.query = query
        self._passed = None
        if query:
            self._passed = [self.first + at for at, item in enumerate(self._items) if self._passes(item)]

    def number_at(self, line: int) -> int:
        """Return the number of what is on a line."""
        return self.first + line if self._passed is None else self._passed[line]

    def line_of(self, number: int) -> int:
        """Return the line of the last item up to a number, 0 if all are after it."""
        if self._passed is None:
            return max(0, min(number - self.first, len(self._items) - 1))
        return max(0, bisect_right(self._passed, number) - 1)

    def at(self, line: int) -> Frame | Mark | None:
        """Return what is on a line; None if there is none."""
        if not 0 <= line < len(self):
            return None
        return self._items[self.number_at(line) - self.first]

    def find(self, words: str, line: int, step: int) -> int | None:
        """Return the next line, `step` 1 on or -1 back from one, that holds all these words; None if none does."""
        fits = _seeker(words)
        count = len(self)
        for away in range(1, count + 1):
            here = (line + step * away) % count
            item = self.at(here)
            if item is not None and fits(text_for_search(item)):
                return here
        return None

    def _passes(self, item: Frame | Mark) -> bool:
        if isinstance(item, Mark):
            return True  # a gap is a gap in what is let through, too
        words = self.query.words
        text = text_for_search(item) if words else ""
        return self.query.fits(str(item.get("event")), text_of(item, "ip"), text)


def _seeker(words: str) -> Callable[[str], bool]:
    wanted = shown(words).lower().split()
    return lambda text: all(word in text for word in wanted)
