"""Memory: what the screen keeps for its next start: the last servers, the theme, and magic words on request."""

import json
from collections.abc import Sequence
from typing import Final

from smtppseudo.config.settings import MONITOR_PORT
from smtppseudo.files import StateDir
from smtppseudo.link.machine import checked_word
from smtppseudo.link.route import Target
from smtppseudo.link.wire import TlsMode

MEMORY_FILE: Final = "monitor.json"


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
        self.servers = list(filter(None, map(_target, servers if isinstance(servers, list) else ())))

    def save(self) -> None:
        """Write the settings to the store. Raises OSError."""
        servers = [{"host": host, "port": port or 0, "cleartext": tls == "off"} for host, port, _, tls in self.servers]
        kept = {"servers": servers, "theme": self.theme, "words": self.words}
        self._store.write(MEMORY_FILE, json.dumps(kept, indent=2) + "\n")

    def replace(self, before: Target, after: Target) -> None:
        """Replace a server; if it is not among those shown last, the new one is the only one."""
        if before[:2] not in [server[:2] for server in self.servers]:
            self.servers = [before]
        self.servers = [after if server[:2] == before[:2] else server for server in self.servers]

    def word_of(self, target: Target) -> str | None:
        """Return the magic word kept for a server."""
        return self.words.get(_key(target))

    def keep_word(self, target: Target, *, is_kept: bool) -> None:
        """Keep the magic word of a server, or remove the one that was kept."""
        self.words.pop(_key(target), None)
        if is_kept and target.magic_word is not None:
            self.words[_key(target)] = target.magic_word


def _key(target: Target) -> str:
    return f"{target.address} {target.port or MONITOR_PORT}"


def _target(kept: object) -> Target | None:
    if not isinstance(kept, dict):
        return None
    host, port = kept.get("host"), kept.get("port")
    if not isinstance(host, str) or not host.isprintable() or not host:
        return None
    is_port = type(port) is int and 0 < port < 1 << 16
    return Target(host, port if is_port else None, tls="off" if kept.get("cleartext") is True else "auto")


def _is_word(word: object) -> bool:
    try:
        return isinstance(word, str) and checked_word(word) == word
    except ValueError:
        return False


def targets_for(
    memory: Memory, given: Sequence[tuple[str | None, int | None]], word: str | None, tls: TlsMode
) -> list[Target]:
    """Return the servers to connect to: those on the command line, else the last ones, else this machine's."""
    if list(given) != [(None, None)] or not memory.servers:
        targets = [Target(host, port, tls=tls) for host, port in given]
    else:
        targets = [server if tls == "auto" else server._replace(tls=tls) for server in memory.servers]
    return [target._replace(magic_word=word or memory.word_of(target)) for target in targets]
