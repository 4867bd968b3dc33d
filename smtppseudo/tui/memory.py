"""Memory: what the screen keeps for its next start: the last server, the theme, and magic words on request."""

import json
from collections.abc import Mapping
from typing import Final, NamedTuple

from smtppseudo.config.settings import MONITOR_PORT
from smtppseudo.files import StateDir
from smtppseudo.link.machine import checked_word
from smtppseudo.link.route import Target
from smtppseudo.link.wire import LOOPBACK, TlsMode

MEMORY_FILE: Final = "monitor.json"


class Memory(NamedTuple):
    """The saved settings. `host` empty: this machine; `port` 0: the usual one; the keys of `words` are `HOST PORT`."""

    host: str = ""
    port: int = 0
    cleartext: bool = False
    theme: str = ""
    words: Mapping[str, str] = {}

    def __repr__(self) -> str:
        return f"Memory({self.host!r}, {self.port!r})"

    @classmethod
    def load(cls, store: StateDir) -> "Memory":
        """Return the memory in a store. What cannot be read or is malformed counts as missing; raises nothing."""
        try:
            kept = json.loads(store.read(MEMORY_FILE) or "{}")
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

    def save(self, store: StateDir) -> None:
        """Write the memory to a store. Raises OSError."""
        store.write(MEMORY_FILE, json.dumps(self._asdict(), indent=2) + "\n")

    def word_of(self, host: str, port: int) -> str | None:
        """Return the magic word kept for a server."""
        return self.words.get(f"{host} {port}")

    def with_word(self, host: str, port: int, word: str | None) -> "Memory":
        """Return a copy with another magic word for a server; None removes it."""
        words = dict(self.words)
        words.pop(f"{host} {port}", None)
        if word is not None:
            words[f"{host} {port}"] = word
        return self._replace(words=words)


def _is_word(word: object) -> bool:
    try:
        return isinstance(word, str) and checked_word(word) == word
    except ValueError:
        return False


def target_for(memory: Memory, host: str | None, port: int | None, word: str | None, tls: TlsMode) -> Target:
    """Return the first server to connect to: the one on the command line, else the last one, else this machine's."""
    if host is None and port is None and memory.host:
        host, port = memory.host, memory.port or None
        tls = "off" if tls == "auto" and memory.cleartext else tls
    if word is None:
        word = memory.word_of(host or LOOPBACK, port or MONITOR_PORT)
    return Target(host, port, word, tls)
