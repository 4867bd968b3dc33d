"""The keeper: keeps `blocklist_file` current by what the server itself sees."""

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import merge
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar

from smtppseudo.blocklist.evidence import VERBS, Sessions, evidence_of
from smtppseudo.blocklist.formats import RENDERERS, order
from smtppseudo.blocklist.never import never_of
from smtppseudo.blocklist.policy import Entry, Hits, entry_of, parse_hits, policy_of
from smtppseudo.config.settings import Settings
from smtppseudo.events import NAMES, Closed, Command, Event, escape
from smtppseudo.files import HITS_FILE, SECRET_MODE, Replacement
from smtppseudo.loop.reactor import Alarm, Reactor
from smtppseudo.net.addresses import machine_addresses
from smtppseudo.server.recorder import Recorded
from smtppseudo.smtp.client_limits import source_of

REFRESH_EVERY_S: Final = 60.0
SOURCES_MAX: Final = 200_000  # 60 MiB at most
_STEP: Final = 1_000  # sources, or lines, seen to in one turn of the loop: a few milliseconds
_LIST_MODE: Final = 0o644

T = TypeVar("T")


class KeptBlocklist:
    """Follows the sessions, as the recorder's on_session_events, and writes the list anew, at most once a minute.

    What takes long is done in steps, with other turns of the loop between them. The hits outlast the process in
    `state_dir`, so that neither the logs nor the data events in them are needed. `local_ip` says which of our
    addresses the peer in a slot called; `on_trouble` hears when writing begins to fail, `on_fault` of bugs.
    """

    def __init__(
        self,
        settings: Settings,
        reactor: Reactor,
        local_ip: Callable[[int], str],
        on_trouble: Callable[[str], None],
        on_fault: Callable[[Exception], None],
    ) -> None:
        self._reactor = reactor
        self._local_ip = local_ip
        self._on_trouble = on_trouble
        self._on_fault = on_fault
        self._path = Path(settings.blocklist_file)
        self._hits_path = Path(settings.state_dir) / HITS_FILE
        self._render = RENDERERS[settings.blocklist_format]
        self._hostname = settings.hostname
        self._hits = Hits(policy_of(settings), SOURCES_MAX)
        self._sessions = Sessions(frozenset(settings.blocklist_evidence))
        self._own = dict.fromkeys([*settings.listen, *machine_addresses()])
        self._never = never_of(settings.blocklist_never, self._own)
        self._alarm = Alarm(self._go_on, self._give_up)
        self._work: Iterator[None] | None = None
        self._is_stale = True  # there are hits that the files do not know of
        self._next_expiry: int | None = None
        self._refresh_at = 0.0
        self._checksums: dict[Path, int] = {}
        self._in_trouble: set[Path] = set()

    def begin(self) -> None:
        """Take in the hits of earlier runs, then write the list; both in later turns."""
        self._work = self._restore()
        self._reactor.wheel.schedule(self._alarm, self._reactor.clock.now)

    def spare(self, named: Iterable[str]) -> None:
        """Take another list of whom never to list, its files read anew. Raises SettingsError; the old one stays."""
        self._never = never_of(named, self._own)
        self._is_stale = True
        self._plan()

    def see(self, session: Recorded, events: Sequence[Event]) -> None:
        """Take in what happened in a session."""
        for event in events:
            if isinstance(event, Command):
                if not event.pregreet and event.data.lstrip()[:4].upper() not in VERBS:
                    continue  # most of what is said, at a fifth of the cost
                evidence = evidence_of("command", escape(event.data), "", pregreet=event.pregreet)
            else:
                reason = event.reason if isinstance(event, Closed) else ""
                evidence = evidence_of(NAMES[type(event)], "", reason, pregreet=False)
            at = self._reactor.clock.second
            if self._sessions.is_hit(session.session_id, NAMES[type(event)], evidence, at):
                self._count(session, at)

    def close(self) -> None:
        """Write what is not written yet, all at once."""
        self._reactor.wheel.cancel(self._alarm)
        for _ in self._work or ():
            pass
        if self._is_stale:
            for _ in self._refresh():
                pass

    def _count(self, session: Recorded, at: int) -> None:
        source = source_of(session.ip)
        if self._never.reason(source) is not None:
            return
        if self._hits.add(source, at) == at:
            before = self._hits.times_of(source)[:-1]
            if entry_of(self._hits.policy, source, before, at) is None:
                # Asking the kernel costs a system call, so it is asked when it matters, not for every session.
                self._learn_own(self._local_ip(session.slot))
        if not self._is_stale:
            self._is_stale = True
            self._plan()

    def _learn_own(self, ip: str) -> None:
        if ip and ip not in self._own:
            self._own[ip] = None
            self._never.add_own(ip)

    def _go_on(self, now: float) -> None:
        """Take the next step of what is under way, or begin to refresh the files."""
        if self._work is None:
            self._work = self._refresh()
        try:
            next(self._work)
        except StopIteration:
            self._work = None
            self._plan()
        else:
            self._reactor.wheel.schedule(self._alarm, now)

    def _give_up(self, error: Exception) -> None:
        self._on_fault(error)
        self._work = None
        self._is_stale = True
        self._refresh_at = self._reactor.clock.now + REFRESH_EVERY_S
        self._plan()

    def _plan(self) -> None:
        """Set when the files are to be refreshed, if nothing is under way."""
        if self._work is not None:
            return
        clock = self._reactor.clock
        if self._is_stale:
            self._reactor.wheel.schedule(self._alarm, max(clock.now, self._refresh_at))
        elif self._next_expiry is not None:
            due_at = clock.now + self._next_expiry - clock.second
            self._reactor.wheel.schedule(self._alarm, max(due_at, self._refresh_at))

    def _restore(self) -> Iterator[None]:
        """Take in the hits of earlier runs; note what the files hold, so that they are left alone if that is right."""
        for path in (self._path, self._hits_path):
            if not path.is_file():
                continue
            checksum = 0
            try:
                with path.open("rb") as file:
                    for lines in _pieces(file):
                        checksum = zlib.crc32(b"".join(lines), checksum)
                        if path == self._hits_path:
                            self._restore_hits(lines)
                        if len(lines) == _STEP:
                            yield
            except OSError as error:
                self._on_trouble(f"{path}: {error.strerror}; the block list begins anew")
            else:
                self._checksums[path] = checksum

    def _restore_hits(self, lines: Iterable[bytes]) -> None:
        for line in lines:
            self._restore_line(line.decode("ascii", "replace"))

    def _restore_line(self, line: str) -> None:
        try:
            source, times = parse_hits(line)
        except ValueError:
            return  # the disk is to blame; what else there is holds
        if self._never.reason(source) is None:
            for at in times:
                self._hits.add(source, at)

    def _refresh(self) -> Iterator[None]:
        self._is_stale = False
        sources = self._hits.sources()
        sorted_pieces: list[list[Entry]] = []
        self._next_expiry = None
        for some in _pieces(sources):
            sorted_pieces.append(self._listed(some))
            if len(some) == _STEP:
                yield
        entries = merge(*map(_drain, sorted_pieces), key=order)
        yield from self._write(self._path, _LIST_MODE, self._render(entries, self._hostname))
        yield from self._write(self._hits_path, SECRET_MODE, self._hits.render(sources))

    def _listed(self, sources: Iterable[str]) -> list[Entry]:
        reviewed = self._hits.review(sources, self._reactor.clock.second)
        entries = [entry for entry in reviewed if self._never.reason(entry.source) is None]
        for entry in entries:
            if self._next_expiry is None or entry.expires < self._next_expiry:
                self._next_expiry = entry.expires
        return sorted(entries, key=order, reverse=True)

    def _write(self, path: Path, mode: int, lines: Iterable[str]) -> Iterator[None]:
        checksum = 0
        try:
            with Replacement(path, mode) as new:
                for some in _pieces(lines):
                    text = "".join(some)
                    checksum = zlib.crc32(text.encode("ascii"), checksum)
                    new.write(text)
                    if len(some) == _STEP:
                        yield
                if self._checksums.get(path) != checksum or not path.exists():
                    # Not synced: that may take the disk seconds, and after a power cut the list is soon made anew.
                    new.commit(sync=False)
                    self._checksums[path] = checksum
                    self._refresh_at = self._reactor.clock.now + REFRESH_EVERY_S
        except OSError as error:
            self._is_stale = True
            self._refresh_at = self._reactor.clock.now + REFRESH_EVERY_S
            if path not in self._in_trouble:
                self._in_trouble.add(path)
                self._on_trouble(f"{path}: {error.strerror}; the block list is not kept until writing works again")
        else:
            self._in_trouble.discard(path)


def _drain(backwards: list[Entry]) -> Iterator[Entry]:
    """Yield entries from the end, and keep none: to free all of them at once at the end would take 20 ms."""
    while backwards:
        yield backwards.pop()


def _pieces(many: Iterable[T]) -> Iterator[list[T]]:
    rest = iter(many)
    while piece := list(islice(rest, _STEP)):
        yield piece
