"""Blocks: the callers that monitors blocked, kept in the state directory until they expire."""

from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_address
from itertools import islice
from typing import Final

from smtppseudo.config.settings import Settings
from smtppseudo.events import Block, BlockAction, escape_text, printable
from smtppseudo.files import BLOCKED_FILE, StateDir
from smtppseudo.loop.reactor import Reactor, Timer
from smtppseudo.net.addresses import machine_addresses
from smtppseudo.net.errnos import reason_of
from smtppseudo.server.reception import Reception
from smtppseudo.server.recorder import Recorder
from smtppseudo.smtp.blocked import ALWAYS, ENTRIES_MAX, Blocked, BlockError, BlockTable, Network, name_of, network_of

DEFAULT_S: Final = 7 * 86_400
FOR_MAX_S: Final = 3_650 * 86_400
REASON_MAX_CHARS: Final = 200
ENTRIES_PER_FRAME: Final = 100
_LOOPBACK: Final = {"loopback": "127.0.0.0/8", "loopback, or IPv4 in IPv6": "::/64"}


class Blocks:
    """Carries out the ops `block`, `unblock` and `blocked`: takes the fields of a request, returns those of its reply.

    They raise BlockError, SettingsError (a file of `blocklist_never` cannot be used) and OSError; nothing is changed
    then. `on_change` is called when other entries are in force.
    """

    def __init__(self, reactor: Reactor, recorder: Recorder, reception: Reception, state_dir: StateDir) -> None:
        self.table = BlockTable()
        self.on_change: Callable[[], None] = lambda: None
        self._reactor = reactor
        self._recorder = recorder
        self._reception = reception
        self._state_dir = state_dir
        self._timer = Timer(reactor, self._expire)

    def load(self, on_trouble: Callable[[str], None]) -> None:
        """Load what was blocked in earlier runs, without what has expired since."""
        try:
            text = self._state_dir.read(BLOCKED_FILE)
            if text is None:
                return
            import json  # noqa: PLC0415 - most servers block nobody

            for each in json.loads(text):
                since, until = (min(max(0, int(each[name])), ALWAYS) for name in ("since", "until"))
                entry = Blocked(str(each["network"]), since, until, printable(str(each["reason"])))
                if entry.until > self._reactor.clock.second:
                    self.table.put(entry)
        except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            reason = reason_of(error) if isinstance(error, OSError) else "damaged"
            on_trouble(f"{self._state_dir.path / BLOCKED_FILE}: {reason}; block again what `smtppseudo blocked` lacks")
        self._apply("blocked", [])

    def block(self, fields: Mapping[str, object], settings: Settings, ip: str, port: int) -> dict[str, object]:
        """Block a network, or replace its entry; end its sessions."""
        network, for_s = network_of(fields.get("network")), fields.get("for_s", DEFAULT_S)
        reason = fields.get("reason", "")
        if type(for_s) is not int or not 0 <= for_s <= FOR_MAX_S:
            raise BlockError(f"for_s must be a whole number of seconds from 1 to {FOR_MAX_S}, or 0 for always")
        if not isinstance(reason, str) or len(printable(reason)) > REASON_MAX_CHARS:
            raise BlockError(f"reason must be a text of at most {REASON_MAX_CHARS} characters")
        _require_foreign(network, settings)
        second = self._reactor.clock.second
        entry = Blocked(name_of(network), second, second + for_s if for_s else ALWAYS, printable(reason))
        replaced = self.table.put(entry)
        self._store(lambda: self.table.put(replaced) if replaced else self.table.remove(entry.network))
        self._apply("blocked", [entry], ip, port)
        slots = [session.slot for session in self._reception.slots if self.table.find(session.ip, second)]
        ended = [self._reception.end(slot, "blocked", self._reactor.clock.now) for slot in slots]
        return {"network": entry.network, "until": _rfc3339(entry.until), "ended": sum(ended)}

    def unblock(self, fields: Mapping[str, object], ip: str, port: int) -> dict[str, object]:
        """Remove the entry of a network."""
        entry = self.table.remove(name_of(network_of(fields.get("network"))))
        self._store(lambda: self.table.put(entry))
        self._apply("unblocked", [entry], ip, port)
        return {"network": entry.network}

    def blocked(self, fields: Mapping[str, object]) -> dict[str, object]:
        """Return up to a hundred entries from the number `from` on, and how many are left after them."""
        first = fields.get("from", 0)
        if type(first) is not int or not 0 <= first <= ENTRIES_MAX:
            raise BlockError(f"from must be a whole number from 0 to {ENTRIES_MAX}")
        page = list(islice(self.table, first, first + ENTRIES_PER_FRAME))
        entries = [entry._asdict() | {"since": _rfc3339(entry.since), "until": _rfc3339(entry.until)} for entry in page]
        return {"blocked": entries, "left": max(0, len(self.table) - first - len(page))}

    def _store(self, undo: Callable[[], object]) -> None:
        import json  # noqa: PLC0415 - loaded with the console already

        try:
            self._state_dir.write(BLOCKED_FILE, json.dumps([entry._asdict() for entry in self.table]) + "\n")
        except OSError:
            undo()
            raise

    def _apply(self, action: BlockAction, changed: Iterable[Blocked], ip: str = "", port: int = 0) -> None:
        for entry in changed:
            event = Block(action, entry.network, _rfc3339(entry.until), escape_text(entry.reason))
            self._recorder.record(event, ip, port)
        clock, wheel = self._reactor.clock, self._reactor.wheel
        self._reception.blocked = self.table if len(self.table) else None
        expiry = min((entry.until for entry in self.table), default=ALWAYS)
        wheel.cancel(self._timer)
        if expiry < ALWAYS:
            wheel.schedule(self._timer, clock.now + expiry - clock.second)
        self.on_change()

    def _expire(self, now: float) -> None:  # noqa: ARG002
        """Remove what has expired; the file may keep it, because `load` ignores it."""
        expired = [entry.network for entry in self.table if entry.until <= self._reactor.clock.second]
        self._apply("expired", [self.table.remove(network) for network in expired])


def _rfc3339(at: int) -> str:
    from smtppseudo.blocklist.formats import rfc3339  # noqa: PLC0415 - 2 ms of start-up

    return rfc3339(at) if at < ALWAYS else "always"


def _require_foreign(network: Network, settings: Settings) -> None:
    """Raise BlockError for loopback, own addresses, and networks that `blocklist_never` protects."""
    from smtppseudo.blocklist.never_listed import read_never_listed  # noqa: PLC0415 - 2 ms of start-up

    why = read_never_listed(settings.blocklist_never, (), _LOOPBACK).overlap(network)
    own = [ip for ip in (*settings.listen, *machine_addresses()) if ip_address(ip.partition("%")[0]) in network]
    if why is None and own:
        why = f"{own[0]} is an address of this machine"
    if why is not None:
        raise BlockError(f"{name_of(network)} must not be blocked: {why}")
