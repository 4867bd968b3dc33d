"""The kept block list: the server keeps `blocklist_file` current from its own sessions."""

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import merge
from ipaddress import ip_network
from itertools import islice
from math import inf
from pathlib import Path
from typing import AnyStr, Final

from smtppseudo.blocklist.evidence import VERBS, HitFinder, evidence_of
from smtppseudo.blocklist.formats import RENDERERS, order, sources_in, without_covered
from smtppseudo.blocklist.hits_file import MAGIC, coverage_of, parse_hits, render_hits
from smtppseudo.blocklist.never_listed import read_never_listed
from smtppseudo.blocklist.policy import Entry, Hits, policy_of
from smtppseudo.config.settings import Settings
from smtppseudo.events import NAMES, Closed, Command, Event
from smtppseudo.files import HITS_FILE, SECRET_MODE, Replacement
from smtppseudo.loop.reactor import Reactor, Timer
from smtppseudo.net.addresses import machine_addresses, source_number
from smtppseudo.smtp.blocked import Blocked
from smtppseudo.smtp.client_limits import source_of
from smtppseudo.smtp.session import SmtpSession

REFRESH_EVERY_S: Final = 60.0
SOURCES_MAX: Final = 200_000  # 135 MiB at most with 32 hits each
UNLISTED_PER_48: Final = 64
_STEP: Final = 1_000  # sources or lines for one turn of the loop: a few milliseconds


class KeptBlocklist:
    """Counts hits (`record` is the recorder's `on_session_events`), and replaces the list at most once a minute.

    Long work is done in steps, each in a turn of the loop. A file in `state_dir` keeps the hits for the next run, so
    that the list needs no logs. `local_ip` returns the server's address that the caller in a slot connected to.
    `on_trouble` is called when writing begins to fail. The networks in `blocked` stand in the list, too.
    """

    def __init__(
        self, settings: Settings, reactor: Reactor, local_ip: Callable[[int], str], on_trouble: Callable[[str], None]
    ) -> None:
        self._reactor = reactor
        self._local_ip = local_ip
        self._on_trouble = on_trouble
        self._path = Path(settings.blocklist_file)
        self._hits_path = Path(settings.state_dir) / HITS_FILE
        self._render = RENDERERS[settings.blocklist_format]
        self._hostname = settings.hostname
        self._hits = Hits(policy_of(settings), SOURCES_MAX, UNLISTED_PER_48, forgotten_max=0)
        self._coverage = coverage_of(self._hits.policy, settings.blocklist_evidence, [settings.server_name])
        self._sessions = HitFinder(self._coverage.evidence)
        self.blocked: Iterable[Blocked] = ()
        self._own = dict.fromkeys(settings.listen)  # and the addresses that callers connected to
        self._never = read_never_listed(settings.blocklist_never, [*self._own, *machine_addresses()])
        self._timer = Timer(reactor, self._do_step)
        self._work: Iterator[None] | None = None
        self._is_stale = True  # the files lack some hits
        self._has_lost_hits = False  # some hits of earlier runs cannot be read
        self._is_full = False
        self._next_expiry = inf
        self._refresh_at = 0.0
        self._checksums: dict[Path, int] = {}
        self._in_trouble: set[Path] = set()

    def begin(self) -> None:
        """Load the hits of earlier runs, then write the list; both in later turns."""
        self._work = self._restore()
        self._reactor.wheel.schedule(self._timer, self._reactor.clock.now)

    def set_never_listed(self, named: Iterable[str]) -> None:
        """Apply another `blocklist_never`; read files and addresses again. Raises SettingsError; the old stays then."""
        self._never = read_never_listed(named, [*self._own, *machine_addresses()])
        self.mark_stale()

    def record(self, session: SmtpSession, events: Sequence[Event]) -> None:
        """Count a hit where the events of a session hold evidence."""
        for event in events:
            if isinstance(event, Command):
                if not event.pregreet and event.data[:4].upper() not in VERBS and event.data[:1] not in (" ", "\\"):
                    continue  # most commands end here, at a fifth of the cost
                evidence = evidence_of("command", event.data, "", pregreet=event.pregreet)
            else:
                reason = event.reason if isinstance(event, Closed) else ""
                evidence = evidence_of(NAMES[type(event)], "", reason, pregreet=False)
            at = self._reactor.clock.second
            if self._sessions.is_hit(session.origin, NAMES[type(event)], evidence, at):
                self._count(session, at)

    def close(self) -> None:
        """Finish the work and write the files, in this turn."""
        self._reactor.wheel.cancel(self._timer)
        for _ in self._work or ():
            pass
        for _ in self._refresh() if self._is_stale else ():
            pass

    def _count(self, session: SmtpSession, at: int) -> None:
        source = source_of(session.ip)
        if self._never.reason(source) is not None:
            return
        if self._hits.add(source, at):
            # This costs a system call, so it is done once for each new entry, not for every session.
            ip = self._local_ip(session.slot)
            if ip and ip not in self._own:
                self._own[ip] = None
                self._never.add_own(ip)
        if not self._is_stale:
            self.mark_stale()

    def _do_step(self, now: float) -> None:
        """Do the next step of the current work, or begin to refresh the files."""
        work, self._work = self._work or self._refresh(), None
        try:
            next(work)
        except StopIteration:
            self._schedule_work()
        except Exception:  # a bug ends this work; the next refresh begins a minute later
            self._refresh_at = now + REFRESH_EVERY_S
            self.mark_stale()
            raise
        else:
            self._work = work
            self._reactor.wheel.schedule(self._timer, now)

    def mark_stale(self) -> None:
        """Write the files again, as soon as they may be written."""
        self._is_stale = True
        self._schedule_work()

    def _schedule_work(self) -> None:
        """Schedule the next refresh of the files, unless work is in progress, which does that at its end."""
        clock = self._reactor.clock
        due_at = clock.now if self._is_stale else clock.now + self._next_expiry - clock.second
        if self._work is None and due_at < inf:
            self._reactor.wheel.schedule(self._timer, max(due_at, self._refresh_at))

    def _restore(self) -> Iterator[None]:
        """Load the hits of earlier runs, and the checksums of both files: a file that is correct is not replaced.

        Where hits cannot be read, the sources on the list stay listed as if their hits were of now.
        """
        for path, restore in ((self._hits_path, self._restore_hits), (self._path, self._restore_entries)):
            checksum = 0
            try:
                if not path.exists():
                    continue
                if not path.is_file():
                    raise OSError(0, "not a regular file")  # noqa: TRY301 - a pipe would block
                with path.open("rb") as file:
                    for lines in _steps(file):
                        checksum = zlib.crc32(b"".join(lines), checksum)
                        restore([line.decode("ascii", "replace") for line in lines])
                        yield
            except OSError as error:
                if path == self._hits_path:
                    self._has_lost_hits = True
                    self._on_trouble(f"{path}: {error.strerror}; its hits are lost, and the list keeps its entries")
            else:
                self._checksums[path] = checksum

    def _restore_hits(self, lines: Iterable[str]) -> None:
        for line in lines:
            if line.startswith(MAGIC):
                continue
            try:
                source, times = parse_hits(line)
            except ValueError:
                self._has_lost_hits = True  # damaged on the disk; the other lines are good
                continue
            if self._never.reason(source) is None:
                for at in times:
                    self._hits.add(source, at)

    def _restore_entries(self, lines: Iterable[str]) -> None:
        for source in sources_in(lines) if self._has_lost_hits else ():
            if not self._hits.times_of(source) and self._never.reason(source) is None:
                for _ in range(self._hits.policy.min_hits):
                    self._hits.add(source, self._reactor.clock.second)

    def _refresh(self) -> Iterator[None]:
        self._is_stale = False
        sources = self._hits.sources()
        listed: list[list[str]] = []
        self._next_expiry = inf
        for some in _steps(sources):
            listed.append(self._listed_of(some))
            yield
        # The hits come first, so that a crash leaves no entry without its hits.
        hits = render_hits(self._coverage, ((source, self._hits.times_of(source)) for source in sources))
        yield from self._write(self._hits_path, SECRET_MODE, hits)
        # Entries are made again when they are written: 200,000 of them would make collections of garbage long.
        entries = self._hits.review(merge(*listed, key=source_number), self._reactor.clock.second)
        if blocked := list(self.blocked):
            named = (Entry(*each[:3]) for each in blocked if self._never.overlap(ip_network(each.network)) is None)
            entries = without_covered(merge(named, entries, key=order))
        yield from self._write(self._path, 0o644, self._render(entries, self._hostname))
        if self._hits.lost and not self._is_full:
            self._is_full = True
            self._on_trouble(f"{self._path}: more than {SOURCES_MAX} sources; the oldest listed ones are forgotten")

    def _listed_of(self, sources: Iterable[str]) -> list[str]:
        """Return the listed ones of these sources, sorted."""
        reviewed = self._hits.review(sources, self._reactor.clock.second)
        entries = [entry for entry in reviewed if self._never.reason(entry.source) is None]
        self._next_expiry = min([self._next_expiry, *(entry.expires for entry in entries)])
        return sorted((entry.source for entry in entries), key=source_number)

    def _write(self, path: Path, mode: int, lines: Iterable[str]) -> Iterator[None]:
        checksum = 0
        try:
            with Replacement(path, mode) as new:
                for some in _steps(lines):
                    text = "".join(some)
                    checksum = zlib.crc32(text.encode("ascii"), checksum)
                    new.write(text)
                    yield
                if self._checksums.get(path) != checksum or not path.exists():
                    # A sync may take the disk seconds; without it a power cut costs little: callers come again.
                    new.commit(sync=False)
                    self._checksums[path] = checksum
                    self._refresh_at = self._reactor.clock.now + REFRESH_EVERY_S
        except OSError as error:
            self._is_stale = True
            self._refresh_at = self._reactor.clock.now + REFRESH_EVERY_S
            if path not in self._in_trouble:
                self._in_trouble.add(path)
                self._on_trouble(f"{path}: {error.strerror}; the block list is out of date until writing works again")
        else:
            self._in_trouble.discard(path)


def _steps(items: Iterable[AnyStr]) -> Iterator[list[AnyStr]]:
    rest = iter(items)
    while step := list(islice(rest, _STEP)):
        yield step
