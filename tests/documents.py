"""README and the pages of the guide: their texts, and the fenced blocks in them."""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from tests.running import CHECKOUT

README: Final = "README.md"
GUIDE: Final = CHECKOUT / "smtppseudo" / "guide"
TEXTS: Final = {README: (CHECKOUT / README).read_text()} | {
    path.stem: path.read_text() for path in sorted(GUIDE.glob("*.md"))
}
"""The text of README, and of each page of the guide by its topic."""

FENCED: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block: the page it is on, the word behind its fence (sh, toml, ...), and its lines."""

    page: str
    kind: str
    text: str

    @property
    def first_line(self) -> str:
        """Return what the block is known by."""
        return self.text.partition("\n")[0]

    @property
    def commands(self) -> str:
        """Return what a reader types: the text, or, of a session on a terminal, what follows the prompts."""
        if self.kind == "sh":
            return self.text
        return "\n".join(re.findall(r"^\$ (.*)$", self.text, re.MULTILINE)) if self.kind == "console" else ""


def _blocks() -> Iterator[Block]:
    for page, text in TEXTS.items():
        for kind, lines in FENCED.findall(text):
            yield Block(page, kind, lines)


BLOCKS: Final = list(_blocks())


def block(page: str, start: str) -> Block:
    """Return the block of a page whose first line is this, or, if there is none, begins so."""
    blocks = [each for each in BLOCKS if each.page == page and each.first_line.startswith(start)]
    (found,) = [each for each in blocks if each.first_line == start] or blocks
    return found
