"""Memory: what the screen keeps for its next start: the last servers, the theme, and magic words on request."""

import json
from collections.abc import Sequence
from typing import Final, NamedTuple

from smtppseudo.config.settings import MONITOR_PORT
from smtppseudo.files import StateDir
from smtppseudo.link.machine import checked_word
from smtppseudo.link.route import Target
from smtppseudo.link.wire import TlsMode

MEMORY_FILE: Final = "monitor.json"


class Place(NamedTuple):
    """A server to show. `host` empty: this machine; `port` 0: the usual one."""

    host: str = ""
    port: int = 0
    cleartext: bool = False

    @classmethod
    def of(cls, target: Target) -> "Place":
        """Return the place of a target."""
        return cls(target.host or "", target.port or 0, target.tls == "off")


class Memory:
    """The settings saved in a store. `servers` are those shown last; the keys of `words` are `HOST PORT`."""

    def __init__(self, store: StateDir) -> None:
        """Load the settings. What cannot be read or is malformed counts as missing; raises nothing."""
        self._store = store
        try:
            kept = json.loads(store.read(MEMORY_FILE) or "{}")
        except (OSError, ValueError, RecursionError):
            kept = {}
        kept = kept if isinstance(kept, dict) else {}
        theme, words, servers = kept.get("theme"), kept.get("words"), kept.get("servers", [kept])  # one in old files
        self.theme = theme if isinstance(theme, str) else ""
        self.words = {place: word for place, word in words.items() if _is_word(word)} if isinstance(words, dict) else {}
        places = map(_place, servers) if isinstance(servers, list) else ()
        self.servers = [place for place in places if place.host]

    def save(self) -> None:
        """Write the settings to the store. Raises OSError."""
        servers = [place._asdict() for place in self.servers]
        kept = {"servers": servers, "theme": self.theme, "words": self.words}
        self._store.write(MEMORY_FILE, json.dumps(kept, indent=2) + "\n")

    def replace(self, before: Place, after: Place) -> None:
        """Replace a server; if it is not among those shown last, the new one is the only one."""
        if before not in self.servers:
            self.servers = [before]
        self.servers[self.servers.index(before)] = after

    def word_of(self, host: str, port: int) -> str | None:
        """Return the magic word kept for a server."""
        return self.words.get(f"{host} {port}")

    def keep_word(self, host: str, port: int, word: str | None) -> None:
        """Keep another magic word for a server; None removes it."""
        self.words.pop(f"{host} {port}", None)
        if word is not None:
            self.words[f"{host} {port}"] = word


def _place(kept: object) -> Place:
    if not isinstance(kept, dict):
        return Place()
    host, port = kept.get("host"), kept.get("port")
    return Place(
        host if isinstance(host, str) and host.isprintable() else "",
        port if type(port) is int and 0 <= port < 1 << 16 else 0,
        kept.get("cleartext") is True,
    )


def _is_word(word: object) -> bool:
    try:
        return isinstance(word, str) and checked_word(word) == word
    except ValueError:
        return False


def targets_for(
    memory: Memory, given: Sequence[tuple[str | None, int | None]], word: str | None, tls: TlsMode
) -> list[Target]:
    """Return the servers to connect to: those on the command line, else the last ones, else this machine's."""
    targets = [Target(host, port, word, tls) for host, port in given]
    if targets == [Target(None, None, word, tls)] and memory.servers:
        targets = [
            Target(host, port or None, word, "off" if tls == "auto" and cleartext else tls)
            for host, port, cleartext in memory.servers
        ]
    kept = [memory.word_of(target.address, target.port or MONITOR_PORT) for target in targets]
    return [target._replace(magic_word=word or kept[at]) for at, target in enumerate(targets)]
