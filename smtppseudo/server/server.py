"""The server: makes loop, log, listeners, reception and console of the settings, and keeps them together."""

import contextlib
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from smtppseudo.config.layers import Configuration
from smtppseudo.config.settings import KEYS, STDOUT, Settings
from smtppseudo.events import Offline, Online, SettingsChanged
from smtppseudo.files import COOKIE_FILE, CREDENTIALS_FILE, MONITOR_PORT_FILE, SECRET_MODE, SETTINGS_FILE, StateDir
from smtppseudo.log.dated_files import DatedLog, Limits
from smtppseudo.log.stream import LogStream
from smtppseudo.loop.clock import Clock
from smtppseudo.loop.listener import OnAccept
from smtppseudo.loop.port import Port
from smtppseudo.loop.reactor import Reactor
from smtppseudo.net.addresses import is_loopback
from smtppseudo.net.errnos import reason_of
from smtppseudo.server.certificates import Certificates
from smtppseudo.server.preconditions import check_consistency
from smtppseudo.server.reception import Reception, describe_fault
from smtppseudo.server.recorder import Recorder
from smtppseudo.server.sd_listen import Inherited

if TYPE_CHECKING:
    from smtppseudo.monitor.credentials import Credentials
    from smtppseudo.server.console import Console
    from smtppseudo.server.kept_blocklist import KeptBlocklist
    from smtppseudo.server.metrics import MetricsFile

_TELL_FAULT_EVERY_S: Final = 60.0
_NOTHING_INHERITED: Final = Inherited()

ACCEPT_MAIL_WARNING: Final = (
    "warning: accept_mail is on: honest mail is taken and thrown away, and its senders get no bounce"
)


class Server:
    """The whole of it, for one process.

    `say` hears one line for whoever looks at the process: what could not be logged, above all. What is `inherited`
    is listened on; the settings must say the same of it (`Inherited.as_settings`). `stdout_fd` is where the log goes
    if `log_dir` says so. Raises SettingsError.
    """

    def __init__(
        self,
        configuration: Configuration,
        say: Callable[[str], None],
        clock: Clock | None = None,
        inherited: Inherited = _NOTHING_INHERITED,
        cookie_mode: int = SECRET_MODE,
        stdout_fd: int = 1,
    ) -> None:
        settings = configuration.settings
        check_consistency(settings)
        self._certificates = Certificates(settings)
        self.configuration = configuration
        self.settings = settings
        self.reactor = Reactor(clock)
        self._started = self.reactor.clock.now
        self.started_at = self.reactor.clock.stamp
        log = LogStream(stdout_fd, say) if settings.log_dir == STDOUT else _journal(settings, say)
        self.recorder = Recorder(self.reactor.clock, log, settings.log_format, settings.server_name)
        self.reception = Reception(settings, self.reactor, self.recorder, self._certificates.tls)
        self.reactor.after_turn = self.recorder.flush
        self.reactor.on_fault = self._give_up_batch
        self._tell_fault_at = 0.0
        self._say = say
        self._inherited = inherited
        self._state_dir = StateDir(Path(settings.state_dir))
        self._cookie = os.urandom(32).hex()
        self._cookie_mode = cookie_mode
        self._console: Console | None = None
        self._keeper: KeptBlocklist | None = None
        self._metrics: MetricsFile | None = None
        self._is_online = False
        trouble, fault = self.recorder.error, self.reception.report_fault
        self._smtp = Port(self.reactor, self._smtp_handler, say, trouble, fault)
        self._monitor = Port(self.reactor, self._monitor_handler, say, trouble, fault)

    @property
    def state(self) -> str:
        """`online` or `offline`: whether the SMTP port is open."""
        return "online" if self._is_online else "offline"

    @property
    def listens_on(self) -> list[tuple[str, int]]:
        """The addresses and ports for SMTP."""
        return self._smtp.places

    @property
    def monitors_on(self) -> list[tuple[str, int]]:
        """The addresses and ports for monitors."""
        return self._monitor.places

    @property
    def monitors(self) -> int:
        """How many monitors are logged in."""
        return 0 if self._console is None else self._console.monitors

    def open(self, once_bound: Callable[[], None] = lambda: None) -> None:
        """Open both ports, do what is to be done `once_bound`, and go online.

        Raises ListenError, SettingsError and what `once_bound` raises; then nothing is open.
        """
        settings = self.settings
        try:
            self._smtp.open(settings.listen, settings.port, self._inherited.smtp)
            self._monitor.open(settings.monitor_listen, settings.monitor_port, self._inherited.monitor)
            once_bound()
            if settings.blocklist_file:
                self._keep_blocklist()
        except BaseException:
            self._close_ports()
            raise
        self._write_cookie()
        self._is_online = True
        self.recorder.record(Online("start"))
        if settings.metrics_file:
            self._keep_metrics()
        if settings.accept_mail:
            self.warn(ACCEPT_MAIL_WARNING)

    def go_online(self, by: str, ip: str = "", port: int = 0) -> None:
        """Open the SMTP port again; `ip` and `port` are whose wish it was. Raises ListenError; it stays closed then."""
        if self._is_online:
            return
        self._smtp.resume()
        self._is_online = True
        self.recorder.record(Online(by), ip, port)

    def go_offline(self, by: str, ip: str = "", port: int = 0) -> None:
        """Close the SMTP port and its sessions. Raises OSError; they stay open then."""
        if not self._is_online:
            return
        self._smtp.suspend()
        self._is_online = False
        self.reception.end_all("stopped", self.reactor.clock.now)
        self.recorder.record(Offline(by), ip, port)

    def configure(self, configuration: Configuration, ip: str, port: int) -> None:
        """Take what a monitor changed, and keep it for the next start. Raises OSError; nothing is changed then."""
        import json  # noqa: PLC0415 - loaded with the console already

        self._state_dir.write(SETTINGS_FILE, json.dumps(configuration.monitor, indent=2) + "\n")
        self._apply(configuration, "monitor", ip, port)

    def reconfigure(self, configuration: Configuration) -> list[str]:
        """Take another settings file, and read certificates again; give the keys that need a restart to change.

        Raises SettingsError; nothing is changed then.
        """
        effective = self._effective(configuration.settings)
        check_consistency(effective)
        if self._keeper is not None:
            self._keeper.spare(effective.blocklist_never)
        self._certificates.read(effective)
        return self._apply(configuration, "SIGHUP", "", 0)

    def summary(self) -> str:
        """Say in one line how we do."""
        slots, counters = self.reception.slots, self.reception.counters
        counts = ", ".join(
            f"{count} {name}{'' if count == 1 else 's'}"
            for count, name in ((counters.connected, "connection"), (self.monitors, "monitor"))
        )
        return f"{self.state.capitalize()}: {slots.in_use} of {slots.count} slots, {counts}"

    def counters(self) -> dict[str, object]:
        """Return the sums of the run, and the slots."""
        slots = self.reception.slots
        return {**self.reception.counters.as_dict(), "slots": slots.count, "slots_in_use": slots.in_use}

    def status(self) -> dict[str, object]:
        """Return how it does, as monitors see it."""
        return {
            "state": self.state,
            "counters": self.counters(),
            "uptime_s": round(self.reactor.clock.now - self._started, 3),
            "monitors": self.monitors,
            "lost_log_lines": self.recorder.lost_lines,
        }

    def read_credentials(self) -> "Credentials | None":
        """Return what is known of the magic word; None if none is set, or nothing can be read of it."""
        from smtppseudo.monitor.credentials import Credentials  # noqa: PLC0415 - when a monitor comes

        try:
            text = self._state_dir.read(CREDENTIALS_FILE)
            return None if text is None else Credentials.from_text(text)
        except (OSError, ValueError) as error:
            self.warn(
                f"{self._state_dir.path / CREDENTIALS_FILE}: {reason_of(error)};"
                " `smtppseudo magic-word` sets the word again"
            )
            return None

    def write_credentials(self, word: "Credentials") -> None:
        """Keep a new magic word. Raises OSError."""
        self._state_dir.write(CREDENTIALS_FILE, word.to_text() + "\n")

    def warn(self, text: str) -> None:
        """Tell whoever looks at the process, and put it on record."""
        self._say(text)
        self.recorder.error(text)

    def run(self) -> None:
        """Serve until `stop`."""
        self.reactor.run()

    def stop(self) -> None:
        """End every session, bring the log to the disk, and let `run` return."""
        self.reactor.stop()  # first, so that no bug in the rest keeps us running
        self._close_ports()
        self.reception.close("shutdown", self.reactor.clock.now)
        if self._is_online:
            self._is_online = False
            self.recorder.record(Offline("shutdown"))
        if self._keeper is not None:
            self._keeper.close()
        self.recorder.log.reopen()  # so that it looks once more whether it can write
        self.recorder.flush()
        if self._console is not None:
            self._console.close(self.reactor.clock.now)
            self.recorder.flush()
        self.recorder.log.close()
        if self._metrics is not None:
            self._metrics.close()
        self._remove_cookie()

    def _give_up_batch(self, error: Exception) -> None:
        """Go on without the events that could not be passed on: the next may fare better.

        That is said once a minute at most, for what it is about is what would say it.
        """
        self.reception.counters.faults += 1
        lost = self.recorder.drop()
        now = self.reactor.clock.now
        if now >= self._tell_fault_at:
            self._tell_fault_at = now + _TELL_FAULT_EVERY_S
            self.warn(f"{describe_fault(error)}: {lost} log line{'' if lost == 1 else 's'} lost")
            with contextlib.suppress(Exception):
                self.recorder.flush()  # now, so that it is not lost with the next batch

    def _apply(self, configuration: Configuration, by: str, ip: str, port: int) -> list[str]:
        before, wanted = self.settings, configuration.settings
        self.configuration = configuration
        self.settings = self._effective(wanted)
        changed = [name for name in wanted._fields if getattr(before, name) != getattr(wanted, name)]
        applied = [name for name in changed if not KEYS[name].at_start]
        if applied:
            self.reception.apply(self.settings, self._certificates.tls)
            self.recorder.record(SettingsChanged(",".join(applied), by), ip, port)
        if "accept_mail" in applied and wanted.accept_mail:
            self.warn(ACCEPT_MAIL_WARNING)
        return [name for name in changed if KEYS[name].at_start]

    def _effective(self, wanted: Settings) -> Settings:
        return wanted._replace(**{key.name: getattr(self.settings, key.name) for key in KEYS.values() if key.at_start})

    def _keep_metrics(self) -> None:
        from smtppseudo.server.metrics import MetricsFile  # noqa: PLC0415 - for those who want one

        path = Path(self.settings.metrics_file)
        self._metrics = MetricsFile(path, self.reactor, self.status, self.warn, self.reception.report_fault)
        self._metrics.begin()

    def _keep_blocklist(self) -> None:
        """Begin to keep the block list. Raises SettingsError where a file of those never listed cannot be used."""
        from smtppseudo.server.kept_blocklist import KeptBlocklist  # noqa: PLC0415 - for those who want one

        reception = self.reception
        self._keeper = KeptBlocklist(self.settings, self.reactor, reception.local_ip, self.warn, reception.report_fault)
        self.recorder.on_session_events = self._keeper.see
        self._keeper.begin()

    def _smtp_handler(self, address: str) -> OnAccept:  # noqa: ARG002 - every address answers alike
        return self.reception.accept

    def _close_ports(self) -> None:
        self._smtp.close()
        self._monitor.close()

    def _write_cookie(self) -> None:
        """Put down what a local monitor needs: whoever can read the cookie needs no magic word."""
        try:
            self._state_dir.clean(COOKIE_FILE, CREDENTIALS_FILE, MONITOR_PORT_FILE, SETTINGS_FILE)
            self._state_dir.write(COOKIE_FILE, self._cookie + "\n", self._cookie_mode)
            self._state_dir.write(MONITOR_PORT_FILE, f"{self.monitors_on[0][1]}\n", 0o644)
        except OSError as error:
            self.warn(f"{self._state_dir.path}: {error.strerror}; monitors on this machine need the magic word, too")

    def _remove_cookie(self) -> None:
        with contextlib.suppress(OSError):
            if self._state_dir.read(COOKIE_FILE) == self._cookie + "\n":  # not another server's
                for name in (COOKIE_FILE, MONITOR_PORT_FILE):
                    self._state_dir.remove(name)

    def _monitor_handler(self, address: str) -> OnAccept:
        """Return how those are met who come by an address of ours: it counts, not theirs."""

        def meet(sock: socket.socket, ip: str, port: int, local_port: int, now: float) -> bool:  # noqa: ARG001
            self._meet_monitor(sock, ip, port, now, by_tls=not is_loopback(address))
            return True

        return meet

    def _meet_monitor(self, sock: socket.socket, ip: str, port: int, now: float, *, by_tls: bool) -> None:
        if self._console is None:
            # SCRAM and JSON take 15 ms to load, and most runs see no monitor for long.
            from smtppseudo.server.console import Console  # noqa: PLC0415

            self._console = Console(self, self.recorder.feed, self._cookie)
            self.recorder.followers = (self._console.follow,)
        self._console.tls = self._certificates.monitor_tls
        self._console.accept(sock, ip, port, now, by_tls=by_tls and self._console.tls is not None)


def _journal(settings: Settings, say: Callable[[str], None]) -> DatedLog:
    limits = Limits(settings.log_keep_days, settings.log_max_bytes_per_day, settings.log_min_free_bytes)
    return DatedLog(Path(settings.log_dir), limits, say)
