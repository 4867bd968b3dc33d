"""The server: makes loop, log, listeners, reception and console of the settings, and keeps them together."""

import contextlib
import errno
import ipaddress
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from smtppseudo.chronicle import Chronicle
from smtppseudo.configuration import Configuration
from smtppseudo.events import Offline, Online, SettingsChanged
from smtppseudo.journal import Journal, Limits
from smtppseudo.log_stream import LogStream
from smtppseudo.net.clock import Clock
from smtppseudo.net.listener import Listener, ListenError, OnAccept, listen
from smtppseudo.net.reactor import Reactor
from smtppseudo.reception import Reception
from smtppseudo.settings import MONITORS_MAX, STDOUT, UNAUTHENTICATED_MAX, Settings, SettingsError
from smtppseudo.statedir import COOKIE, CREDENTIALS, MONITOR_PORT, SETTINGS, StateDir

if TYPE_CHECKING:
    from smtppseudo.console import Console
    from smtppseudo.keeper import Keeper
    from smtppseudo.metrics_file import MetricsFile
    from smtppseudo.monitor.credentials import Credentials

OTHER_DESCRIPTORS: Final = 16

ACCEPT_MAIL_WARNING: Final = (
    "warning: accept_mail is on: honest mail is taken and thrown away, its senders get no bounce"
)

# These are taken from the settings once, when the server starts.
FIXED_KEYS: Final = (
    "listen",
    "port",
    "monitor_listen",
    "monitor_port",
    "monitor_cleartext",
    "slots",
    "evict_after_s",
    "log_dir",
    "log_format",
    "log_keep_days",
    "log_max_octets_per_day",
    "log_min_free_octets",
    "state_dir",
    "metrics_file",
    "blocklist_file",
    "blocklist_format",
    "blocklist_min_hits",
    "blocklist_window_days",
    "blocklist_expire_days",
    "blocklist_evidence",
)


class Server:
    """The whole of it, for one process.

    `say` hears one line for whoever looks at the process: what could not be logged, above all. `stdout_fd` is where
    the log goes if `log_dir` says so.
    """

    def __init__(
        self, configuration: Configuration, say: Callable[[str], None], clock: Clock | None = None, stdout_fd: int = 1
    ) -> None:
        settings = configuration.settings
        self.configuration = configuration
        self.settings = settings
        self.reactor = Reactor(clock)
        self.started = self.reactor.clock.now
        self.started_at = self.reactor.clock.stamp
        log = LogStream(stdout_fd, say) if settings.log_dir == STDOUT else _journal(settings, say)
        self.chronicle = Chronicle(self.reactor.clock, log, settings.log_format)
        self.reception = Reception(settings, self.reactor, self.chronicle)
        self.reactor.after_turn = self.chronicle.flush
        self._say = say
        self._state_dir = StateDir(Path(settings.state_dir))
        self._cookie = os.urandom(32).hex()
        self._console: Console | None = None
        self._keeper: Keeper | None = None
        self._metrics: MetricsFile | None = None
        self._is_online = False
        self._listeners: list[Listener] = []
        self._monitor_listeners: list[Listener] = []

    @property
    def state(self) -> str:
        """`online` or `offline`: whether the SMTP port is open."""
        return "online" if self._is_online else "offline"

    @property
    def listens_on(self) -> list[tuple[str, int]]:
        """The addresses and ports for SMTP."""
        return [(listener.address, listener.port) for listener in self._listeners]

    @property
    def monitors_on(self) -> list[tuple[str, int]]:
        """The addresses and ports for monitors."""
        return [(listener.address, listener.port) for listener in self._monitor_listeners]

    def open(self) -> None:
        """Open both ports and go online. Raises ListenError, SettingsError; then nothing is open."""
        settings = self.settings
        _require_sense(settings)
        if settings.blocklist_file:
            self._keep_blocklist()
        try:
            self._listeners = self._listen(settings.listen, settings.port, self.reception.accept)
            self._monitor_listeners = self._listen(settings.monitor_listen, settings.monitor_port, self._meet_monitor)
        except ListenError:
            self._close_listeners()
            raise
        self._let_local_monitors_in()
        self._is_online = True
        self.chronicle.record(Online("start"))
        if settings.metrics_file:
            self._keep_metrics()
        if settings.accept_mail:
            self._warn(ACCEPT_MAIL_WARNING)

    def go_online(self, by: str, ip: str = "", port: int = 0) -> None:
        """Open the SMTP port again; `ip` and `port` are whose wish it was. Raises ListenError; it stays closed then."""
        if self._is_online:
            return
        resumed: list[Listener] = []
        try:
            for listener in self._listeners:
                listener.resume()
                resumed.append(listener)
        except ListenError:
            for listener in resumed:
                listener.suspend()
            raise
        self._is_online = True
        self.chronicle.record(Online(by), ip, port)

    def go_offline(self, by: str, ip: str = "", port: int = 0) -> None:
        """Close the SMTP port and its sessions."""
        if not self._is_online:
            return
        for listener in self._listeners:
            listener.suspend()
        self._is_online = False
        self.reception.end_all("stopped", self.reactor.clock.now)
        self.chronicle.record(Offline(by), ip, port)

    def configure(self, configuration: Configuration, ip: str, port: int) -> None:
        """Take what a monitor changed, and keep it for the next start. Raises OSError; nothing is changed then."""
        import json  # noqa: PLC0415 - loaded with the console already

        self._state_dir.write(SETTINGS, json.dumps(configuration.monitor, indent=2) + "\n")
        self._apply(configuration, "monitor", ip, port)

    def reconfigure(self, configuration: Configuration) -> list[str]:
        """Take another settings file; give the keys that changed there but need a restart. Raises SettingsError."""
        if self._keeper is not None:
            self._keeper.spare(configuration.settings.blocklist_never)
        return self._apply(configuration, "SIGHUP", "", 0)

    def counters(self) -> dict[str, object]:
        """Return the sums of the run, and the slots."""
        slots = self.reception.slots
        return {**self.reception.counters.as_dict(), "slots": slots.count, "slots_in_use": slots.in_use}

    def status(self) -> dict[str, object]:
        """Return how it does, as monitors see it."""
        return {
            "state": self.state,
            "counters": self.counters(),
            "uptime_s": round(self.reactor.clock.now - self.started, 3),
            "monitors": 0 if self._console is None else self._console.monitors,
            "lost_log_lines": self.chronicle.log.lost_lines,
        }

    def read_credentials(self) -> "Credentials | None":
        """Return what is known of the magic word; None if none is set, or nothing can be read of it."""
        from smtppseudo.monitor.credentials import Credentials  # noqa: PLC0415 - when a monitor comes

        try:
            text = self._state_dir.read(CREDENTIALS)
            return None if text is None else Credentials.from_text(text)
        except (OSError, ValueError) as error:
            self._warn(f"{self._state_dir.path / CREDENTIALS}: {error}; set the magic word anew")
            return None

    def write_credentials(self, word: "Credentials") -> None:
        """Keep a new magic word. Raises OSError."""
        self._state_dir.write(CREDENTIALS, word.to_text() + "\n")

    def run(self) -> None:
        """Serve until `stop`."""
        self.reactor.run()

    def stop(self) -> None:
        """End every session, bring the log to the disk, and let `run` return."""
        self._close_listeners()
        self.reception.close("shutdown", self.reactor.clock.now)
        if self._is_online:
            self._is_online = False
            self.chronicle.record(Offline("shutdown"))
        if self._keeper is not None:
            self._keeper.close()
        self.chronicle.log.reopen()  # so that it looks once more whether it can write
        self.chronicle.flush()
        if self._console is not None:
            self._console.close(self.reactor.clock.now)
            self.chronicle.flush()
        self.chronicle.log.close()
        if self._metrics is not None:
            self._metrics.close()
        self._let_local_monitors_in_no_more()
        self.reactor.stop()

    def _apply(self, configuration: Configuration, by: str, ip: str, port: int) -> list[str]:
        before, wanted = self.settings, configuration.settings
        self.configuration = configuration
        self.settings = wanted._replace(**{name: getattr(before, name) for name in FIXED_KEYS})
        changed = [name for name in wanted._fields if getattr(before, name) != getattr(wanted, name)]
        applied = [name for name in changed if name not in FIXED_KEYS]
        if applied:
            self.reception.apply(self.settings)
            self.chronicle.record(SettingsChanged(",".join(applied), by), ip, port)
        if "accept_mail" in applied and wanted.accept_mail:
            self._warn(ACCEPT_MAIL_WARNING)
        return [name for name in changed if name in FIXED_KEYS]

    def _warn(self, text: str) -> None:
        self._say(text)
        self.chronicle.error(text)

    def _keep_metrics(self) -> None:
        from smtppseudo.metrics_file import MetricsFile  # noqa: PLC0415 - for those who want one

        path = Path(self.settings.metrics_file)
        self._metrics = MetricsFile(path, self.reactor, self.status, self._warn, self.reception.report_fault)
        self._metrics.begin()

    def _keep_blocklist(self) -> None:
        """Begin to keep the block list. Raises SettingsError where a file of those never listed cannot be used."""
        from smtppseudo.keeper import Keeper  # noqa: PLC0415 - for those who want one

        reception = self.reception
        self._keeper = Keeper(self.settings, self.reactor, reception.local_ip, self._warn, reception.report_fault)
        self.chronicle.witness = self._keeper.see
        self._keeper.begin()

    def _listen(self, addresses: tuple[str, ...], port: int, on_accept: OnAccept) -> list[Listener]:
        listeners: list[Listener] = []
        for address in addresses:
            try:
                sock = listen(address, port)
            except ListenError as error:
                no_ipv6 = error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL) and address in ("::", "::1")
                if no_ipv6 and len(addresses) > 1:
                    self._say(f"this machine has no IPv6: not listening on {address}")
                    continue
                for listener in listeners:
                    listener.close()
                raise
            listener = Listener(sock, self.reactor, on_accept, self.chronicle.error, self.reception.report_fault)
            listeners.append(listener)
            port = listener.port  # where any free port is taken, the same on each address
        return listeners

    def _close_listeners(self) -> None:
        for listener in self._listeners + self._monitor_listeners:
            listener.close()
        self._listeners = self._monitor_listeners = []

    def _let_local_monitors_in(self) -> None:
        """Put down what a local monitor needs: whoever can read the cookie needs no magic word."""
        try:
            self._state_dir.clean(COOKIE, CREDENTIALS, MONITOR_PORT, SETTINGS)
            self._state_dir.write(COOKIE, self._cookie + "\n")
            self._state_dir.write(MONITOR_PORT, f"{self.monitors_on[0][1]}\n", mode=0o644)
        except OSError as error:
            self._warn(f"{self._state_dir.path}: {error.strerror}: local monitors cannot log in without the magic word")

    def _let_local_monitors_in_no_more(self) -> None:
        with contextlib.suppress(OSError):
            if self._state_dir.read(COOKIE) == self._cookie + "\n":  # not another server's
                for name in (COOKIE, MONITOR_PORT):
                    self._state_dir.remove(name)

    def _meet_monitor(self, sock: socket.socket, ip: str, port: int, local_port: int, now: float) -> None:
        if self._console is None:
            # SCRAM and JSON take 15 ms to load, and most runs see no monitor for long.
            from smtppseudo.console import Console  # noqa: PLC0415

            self._console = Console(self, self.chronicle.feed, self._cookie)
            self.chronicle.followers = (self._console.follow,)
        self._console.accept(sock, ip, port, local_port, now)


def _journal(settings: Settings, say: Callable[[str], None]) -> Journal:
    limits = Limits(settings.log_keep_days, settings.log_max_octets_per_day, settings.log_min_free_octets)
    return Journal(Path(settings.log_dir), limits, say)


def _require_sense(settings: Settings) -> None:
    """Refuse settings that are allowed each, but not together. Raises SettingsError."""
    if settings.port == settings.monitor_port != 0:
        raise SettingsError(f"port and monitor_port must differ; both are {settings.port}")
    for name in ("listen", "monitor_listen"):
        addresses = getattr(settings, name)
        if len(set(addresses)) < len(addresses):
            raise SettingsError(f"{name} must name each address once")
    for address in settings.monitor_listen:
        if not ipaddress.ip_address(address).is_loopback and not settings.monitor_cleartext:
            raise SettingsError(
                f"monitor_listen: {address} is not a loopback address, and what monitors say would cross the network"
                " unencrypted; listen on 127.0.0.1 and reach it through an SSH tunnel, or set monitor_cleartext = true"
            )


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
        way_out = f", or set slots to at most {most}" if most > 0 else ""
        raise SettingsError(
            f"slots = {slots} needs {needed} open files, and the limit is {hard} (ulimit -Hn); raise it{way_out}"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
