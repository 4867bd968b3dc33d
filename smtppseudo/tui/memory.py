"""Memory: what the screen keeps for its next start: the server last watched, theme, and magic words if so wished."""

import json
from collections.abc import Mapping
from typing import Final, NamedTuple, Protocol

from smtppseudo.config.settings import MONITOR_PORT
from smtppseudo.link.machine import checked_word
from smtppseudo.link.route import Target
from smtppseudo.link.wire import LOOPBACK, TlsMode

FILE: Final = "monitor.json"


class Store(Protocol):
    """A directory of this user's. What is written can be read by nobody else."""

    def read(self, name: str) -> str | None:
        """Return a file's text; None if there is none. Raises OSError."""
        ...

    def write(self, name: str, text: str) -> None:
        """Replace a file. Raises OSError."""
        ...


class Memory(NamedTuple):
    """What is kept. `host` empty is this machine, `port` 0 the usual one; `words` are by `host port`."""

    host: str = ""
    port: int = 0
    cleartext: bool = False
    theme: str = ""
    words: Mapping[str, str] = {}

    def __repr__(self) -> str:
        return f"Memory({self.host!r}, {self.port!r})"

    @classmethod
    def load(cls, store: Store) -> "Memory":
        """Read it; what cannot be read, or is not as it should be, is as if never kept. Raises nothing."""
        try:
            kept = json.loads(store.read(FILE) or "{}")
        except (OSError, ValueError, RecursionError):
            return cls()
        if not isinstance(kept, dict):
            return cls()
        host, port, theme, words = (kept.get(name) for name in ("host", "port", "theme", "words"))
        return cls(
            host if isinstance(host, str) and host.isprintable() else "",
            port if type(port) is int and 0 <= port < 1 << 16 else 0,
            kept.get("cleartext") is True,
            theme if isinstance(theme, str) else "",
            {place: word for place, word in words.items() if _is_word(word)} if isinstance(words, dict) else {},
        )

    def save(self, store: Store) -> None:
        """Write it. Raises OSError."""
        store.write(FILE, json.dumps(self._asdict(), indent=2) + "\n")

    def word_of(self, host: str, port: int) -> str | None:
        """Return the magic word kept for a server."""
        return self.words.get(_place(host, port))

    def with_word(self, host: str, port: int, word: str | None) -> "Memory":
        """Return the same with a magic word kept for a server, or, with None, forgotten."""
        words = {place: each for place, each in self.words.items() if place != _place(host, port)}
        if word is not None:
            words[_place(host, port)] = word
        return self._replace(words=words)


def _place(host: str, port: int) -> str:
    return f"{host} {port}"


def _is_word(word: object) -> bool:
    try:
        return isinstance(word, str) and checked_word(word) == word
    except ValueError:
        return False


def target_for(memory: Memory, host: str | None, port: int | None, word: str | None, tls: TlsMode) -> Target:
    """Return what to connect to at the start: what was asked for, else what was watched last, else this machine."""
    if host is None and port is None and memory.host:
        host, port = memory.host, memory.port or None
        tls = "off" if tls == "auto" and memory.cleartext else tls
    if word is None:
        word = memory.word_of(host or LOOPBACK, port or MONITOR_PORT)
    return Target(host, port, word, tls)
