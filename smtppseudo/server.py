"""The server: makes loop, log, listeners and reception of the settings, and keeps them together."""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Final

from smtppseudo.chronicle import Chronicle
from smtppseudo.events import Offline, Online, SettingsChanged
from smtppseudo.journal import Journal, Limits
from smtppseudo.net.clock import Clock
from smtppseudo.net.listener import Listener, listen
from smtppseudo.net.reactor import Reactor
from smtppseudo.reception import Reception
from smtppseudo.settings import Settings, SettingsError

MONITORS_MAX: Final = 8
UNAUTHENTICATED_MAX: Final = 64
OTHER_DESCRIPTORS: Final = 16

# These are taken from the settings once, when the server starts.
FIXED_KEYS: Final = (
    "listen",
    "port",
    "monitor_listen",
    "monitor_port",
    "slots",
    "evict_after_s",
    "log_dir",
    "log_format",
    "log_keep_days",
    "log_max_octets_per_day",
    "log_min_free_octets",
    "state_dir",
)


class ListenError(Exception):
    """An address and port that cannot be listened on; `errno` says why, `port` and `address` where."""

    def __init__(self, address: str, port: int, error: OSError) -> None:
        super().__init__(f"{address} port {port}: {error.strerror}")
        self.address = address
        self.port = port
        self.errno = error.errno


class Server:
    """The whole of it, for one process.

    `say` hears one line for whoever looks at the process: what could not be logged, above all.
    """

    def __init__(self, settings: Settings, say: Callable[[str], None], clock: Clock | None = None) -> None:
        self.settings = settings
        self.reactor = Reactor(clock)
        limits = Limits(settings.log_keep_days, settings.log_max_octets_per_day, settings.log_min_free_octets)
        journal = Journal(Path(settings.log_dir), limits, say)
        self.chronicle = Chronicle(self.reactor.clock, journal, settings.log_format)
        self.reception = Reception(settings, self.reactor, self.chronicle)
        self.reactor.after_turn = self.chronicle.flush
        self._say = say
        self._listeners: list[Listener] = []

    @property
    def listens_on(self) -> list[tuple[str, int]]:
        """The addresses and ports that answer SMTP; none while offline."""
        return [(listener.address, listener.port) for listener in self._listeners]

    def go_online(self, by: str) -> None:
        """Open the SMTP port on every address. Raises ListenError; nothing is open then."""
        if self._listeners:
            return
        try:
            self._open_listeners()
        except ListenError:
            self._close_listeners()
            raise
        self.chronicle.record(Online(by))

    def go_offline(self, by: str) -> None:
        """Close the SMTP port and its sessions."""
        if not self._listeners:
            return
        self._close_listeners()
        self.reception.end_all("stopped", self.reactor.clock.now)
        self.chronicle.record(Offline(by))

    def apply(self, settings: Settings, by: str) -> list[str]:
        """Take other settings for the sessions to come; give the keys that changed but need a restart."""
        changed = [name for name, old, new in zip(settings._fields, self.settings, settings, strict=True) if old != new]
        fixed = {name: getattr(self.settings, name) for name in FIXED_KEYS}
        self.settings = settings._replace(**fixed)
        self.reception.apply(self.settings)
        applied = [name for name in changed if name not in FIXED_KEYS]
        if applied:
            self.chronicle.record(SettingsChanged(",".join(applied), by))
        return [name for name in changed if name in FIXED_KEYS]

    def run(self) -> None:
        """Serve until `stop`."""
        self.reactor.run()

    def stop(self) -> None:
        """End every session, bring the log to the disk, and let `run` return."""
        was_online = bool(self._listeners)
        self._close_listeners()
        self.reception.close("shutdown", self.reactor.clock.now)
        if was_online:
            self.chronicle.record(Offline("shutdown"))
        self.chronicle.flush()
        self.chronicle.journal.close()
        self.reactor.stop()

    def _open_listeners(self) -> None:
        port = self.settings.port
        for address in self.settings.listen:
            try:
                sock = listen(address, port)
            except OSError as error:
                if error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL) and address == "::":
                    self._say("this machine has no IPv6; listening on IPv4 alone")
                    continue
                raise ListenError(address, port, error) from None
            listener = Listener(
                sock, self.reactor, self.reception.accept, self.chronicle.error, self.reception.report_fault
            )
            self._listeners.append(listener)
            port = listener.port  # where any free port is taken, the same on each address

    def _close_listeners(self) -> None:
        for listener in self._listeners:
            listener.close()
        self._listeners = []


def require_descriptors(slots: int) -> None:
    """Raise the limit of open files to what the slots need. Raises SettingsError where that is not allowed."""
    try:
        import resource  # noqa: PLC0415 - POSIX only
    except ImportError:
        return
    needed = slots + MONITORS_MAX + UNAUTHENTICATED_MAX + OTHER_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= needed or soft == resource.RLIM_INFINITY:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        most = hard - needed + slots
        raise SettingsError(
            f"slots = {slots} needs {needed} open files, and the limit is {hard} (ulimit -Hn);"
            f" raise it, or set slots to at most {most}"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
