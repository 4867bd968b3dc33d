"""The server: builds its parts from the settings, opens and closes the ports, and applies changed settings."""

import contextlib
import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from smtppseudo.config.file import to_toml
from smtppseudo.config.layers import Configuration
from smtppseudo.config.settings import KEYS, STDOUT, Settings, SettingsError, Warn
from smtppseudo.events import Offline, Online, SettingsChanged, escape_text
from smtppseudo.files import SECRET_MODE, SETTINGS_FILE, StateDir
from smtppseudo.log.dated_files import DatedLog
from smtppseudo.log.shares import Shares
from smtppseudo.log.stream import LogStream
from smtppseudo.loop.clock import Clock
from smtppseudo.loop.listener import OnAccept
from smtppseudo.loop.port import Port
from smtppseudo.loop.reactor import Reactor
from smtppseudo.net.addresses import is_loopback
from smtppseudo.server.blocks import Blocks
from smtppseudo.server.certificates import Certificates
from smtppseudo.server.preconditions import check_consistency, check_start
from smtppseudo.server.reception import Reception
from smtppseudo.server.recorder import Log, Recorder
from smtppseudo.server.sd_listen import InheritedSockets

if TYPE_CHECKING:
    from smtppseudo.server.console import Console
    from smtppseudo.server.kept_blocklist import KeptBlocklist
    from smtppseudo.server.metrics import MetricsFile

_REPORT_DROP_EVERY_S: Final = 60.0
_SETTINGS_ERROR_MAX_CHARS: Final = 1_000  # a frame and a status line have room for it
_VALUE_MAX_CHARS: Final = 200  # of a setting, in the event of its change
_NOTHING_INHERITED: Final = InheritedSockets()
_ACCEPT_MAIL: Final = "warning: accept_mail is on: honest mail is taken and thrown away, and its senders get no bounce"


class Server:
    """All of the server, one object a process.

    `on_trouble` gets one line for the operator, above all why the log cannot be written. The server listens on the
    `inherited` sockets, which must agree with the settings (`InheritedSockets.as_settings`). With `log_dir = "-"` it
    logs to `stdout_fd`. Raises SettingsError.
    """

    def __init__(
        self,
        configuration: Configuration,
        on_trouble: Callable[[str], None],
        clock: Clock | None = None,
        inherited: InheritedSockets = _NOTHING_INHERITED,
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
        is_stream = settings.log_dir == STDOUT
        log: Log = LogStream(stdout_fd, on_trouble) if is_stream else DatedLog(settings, on_trouble)
        shares = Shares(0 if is_stream else settings.log_max_bytes_per_day)
        self.recorder = Recorder(self.reactor.clock, log, settings.log_format, settings.server_name, shares)
        self.reception = Reception(settings, self.reactor, self.recorder, self._certificates.tls)
        self.reactor.on_fault = self._report_fault
        self.reactor.after_turn = self.recorder.flush
        self.reactor.on_after_turn_fault = self._drop_batch
        self._report_drop_at = 0.0
        self._on_trouble = on_trouble
        self._inherited = inherited
        self._state_dir = StateDir(Path(settings.state_dir))
        self.blocks = Blocks(self.reactor, self.recorder, self.reception, self._state_dir)
        self._cookie = os.urandom(32).hex()
        self._cookie_mode = cookie_mode
        self._console: Console | None = None
        self._blocklist: KeptBlocklist | None = None
        self._metrics: MetricsFile | None = None
        self.state = "offline"  # or online: whether the SMTP port is open
        self.settings_error = ""  # why the last reload changed nothing
        self.read_file: Callable[[Warn], Mapping[str, object]] = lambda warn: {}  # noqa: ARG005
        self.smtp_port = Port(self.reactor, lambda _: self.reception.on_accept, on_trouble, self.recorder.error)
        self.monitor_port = Port(self.reactor, self._monitor_handler, on_trouble, self.recorder.error)

    @property
    def monitors(self) -> int:
        """How many monitors are logged in."""
        return 0 if self._console is None else self._console.monitors

    def open(self, after_bind: Callable[[], None] = lambda: None) -> None:
        """Open both ports, call `after_bind`, and go online. After an error, such as ListenError, no port is open."""
        settings = self.settings
        try:
            self.smtp_port.open(settings.listen, settings.port, self._inherited.smtp)
            self.monitor_port.open(settings.monitor_listen, settings.monitor_port, self._inherited.monitor)
            after_bind()
            self.blocks.load(self.warn)
            if settings.blocklist_file:
                self._start_blocklist()
        except BaseException:
            self.smtp_port.close()
            self.monitor_port.close()
            raise
        try:
            self._state_dir.remove_leftovers()
            self._state_dir.write_cookie(self._cookie, self._cookie_mode, self.monitor_port.places[0][1])
        except OSError as error:
            self.warn(f"{self._state_dir.path}: {error.strerror}; monitors on this machine need the magic word, too")
        self.state = "online"
        self.recorder.record(Online("start"))
        if settings.metrics_file:
            from smtppseudo.server.metrics import MetricsFile  # noqa: PLC0415 - most servers write none

            path = Path(settings.metrics_file)
            self._metrics = MetricsFile(path, self.reactor, self.status, settings.server_name, self.warn)
            self._metrics.write(self.reactor.clock.now)
        if settings.accept_mail:
            self.warn(_ACCEPT_MAIL)

    def go_online(self, by: str, ip: str = "", port: int = 0) -> None:
        """Open the SMTP port on all its addresses again. Raises ListenError; it stays closed then."""
        if self.state == "online" and not self.smtp_port.is_suspended:
            return
        self.smtp_port.resume()
        self.state = "online"
        self.recorder.record(Online(by), ip, port)

    def go_offline(self, by: str, ip: str = "", port: int = 0) -> None:
        """Close the SMTP port and its sessions. Raises OSError; they stay open then."""
        if self.state == "offline":
            return
        self.smtp_port.suspend()
        self.state = "offline"
        self.reception.end_all("stopped", self.reactor.clock.now)
        self.recorder.record(Offline(by), ip, port)

    def configure(self, configuration: Configuration, ip: str, port: int) -> None:
        """Apply what a monitor changed, and store it. Raises OSError or SettingsError; nothing is changed then."""
        import json  # noqa: PLC0415 - loaded with the console already

        check_consistency(self._applicable(configuration.settings))
        self._state_dir.write(SETTINGS_FILE, json.dumps(configuration.monitor, indent=2) + "\n")
        self._apply(configuration, "monitor", ip, port)

    def reload(self, by: str = "SIGHUP", ip: str = "", port: int = 0) -> list[str]:
        """Read the settings file and the certificates again; return the changed keys that need a restart.

        Raises SettingsError, also for what would only keep the next start from succeeding. Nothing is changed then, but
        the error is reported, and stays in status and metrics until a reload succeeds.
        """
        self.recorder.log.reopen()
        try:
            configuration = self.configuration.with_file(self.read_file(self.warn))
            check_start(configuration.settings)
            settings = self._applicable(configuration.settings)
            check_consistency(settings)
            if self._blocklist is not None:
                self._blocklist.set_never_listed(settings.blocklist_never)
            chain = self._certificates.chain
            self._certificates.load(settings)
            if self._certificates.chain != chain:
                self.reception.forget_failed_handshakes()
        except SettingsError as error:
            self.settings_error = str(error)[:_SETTINGS_ERROR_MAX_CHARS]
            self.warn(f"settings not changed: {error}")
            raise
        self.settings_error = ""
        return self._apply(configuration, by, ip, port)

    def summary(self) -> str:
        """Return state and use in one line, for the service manager."""
        slots, counters = self.reception.slots, self.reception.counters
        counts = f"{_count(counters.connected, 'connection')}, {_count(self.monitors, 'monitor')}"
        mistake = f"; settings not changed by the last reload: {self.settings_error}" if self.settings_error else ""
        return f"{self.state.capitalize()}: {slots.in_use} of {slots.count} slots, {counts}{mistake}"

    def counters(self) -> dict[str, object]:
        """Return the sums of the run, and the slots."""
        slots, clock = self.reception.slots, self.reactor.clock
        return {
            **self.reception.counters.as_dict(clock.day),
            "mails_refused_since": max(self.started_at, clock.midnight),
            "slots": slots.count,
            "slots_in_use": slots.in_use,
        }

    def status(self) -> dict[str, object]:
        """Return the fields of the op `status`."""
        return {
            "state": self.state,
            "counters": self.counters(),
            "uptime_s": round(self.reactor.clock.now - self._started, 3),
            "monitors": self.monitors,
            "lost_log_lines": self.recorder.log.account.lost_lines,
            "log_used": round(self.recorder.log.used, 3),
            "settings_error": self.settings_error,
        }

    def warn(self, text: str) -> None:
        """Report trouble to the operator, and log it."""
        self._on_trouble(text)
        self.recorder.error(text)

    def stop(self) -> None:
        """End every session, flush and close the log, and let the reactor's `run` return."""
        self.reactor.stop()  # first, so that a bug below cannot keep the process running
        self.smtp_port.close()
        self.monitor_port.close()
        self.reception.close("shutdown", self.reactor.clock.now)
        if self.state == "online":
            self.state = "offline"
            self.recorder.record(Offline("shutdown"))
        if self._blocklist is not None:
            self._blocklist.close()
        self.recorder.log.reopen()  # the last lines are worth one more attempt
        self.recorder.flush()
        if self._console is not None:
            self._console.close(self.reactor.clock.now)
            self.recorder.flush()
        self.recorder.log.close()
        if self._metrics is not None:
            self._metrics.write(self.reactor.clock.now)  # it stays, and says that the server is offline
        with contextlib.suppress(OSError):
            self._state_dir.remove_cookie(self._cookie)

    def _report_fault(self, error: Exception) -> None:
        """Count a bug and log it."""
        self.reception.counters.faults += 1
        self.recorder.error(_describe_fault(error))

    def _drop_batch(self, error: Exception) -> None:
        """Drop the events that a bug kept from the log; report that at most once a minute."""
        self.reception.counters.faults += 1
        lost = self.recorder.drop()
        now = self.reactor.clock.now
        if now >= self._report_drop_at:  # the report goes through the code that failed, perhaps in every turn
            self._report_drop_at = now + _REPORT_DROP_EVERY_S
            self.warn(f"{_describe_fault(error)}: {_count(lost, 'log line')} lost")
            with contextlib.suppress(Exception):
                self.recorder.flush()  # now, so that it is not lost with the next batch

    def _apply(self, configuration: Configuration, by: str, ip: str, port: int) -> list[str]:
        before, wanted = self.settings, configuration.settings
        self.configuration = configuration
        self.settings = self._applicable(wanted)
        changed = [name for name in wanted._fields if getattr(before, name) != getattr(wanted, name)]
        applied = [name for name in changed if not KEYS[name].at_start]
        if applied:
            self.reception.apply(self.settings, self._certificates.tls)
            self.smtp_port.renew_handlers()
            changes = [f"{key}: {_shown(getattr(before, key))} -> {_shown(getattr(wanted, key))}" for key in applied]
            self.recorder.record(SettingsChanged(",".join(applied), by, escape_text(", ".join(changes))), ip, port)
        if "accept_mail" in applied and wanted.accept_mail:
            self.warn(_ACCEPT_MAIL)
        return [name for name in changed if KEYS[name].at_start]

    def _applicable(self, wanted: Settings) -> Settings:
        """Return the wanted settings, with the present values of the keys that need a restart."""
        return wanted._replace(**{name: getattr(self.settings, name) for name, key in KEYS.items() if key.at_start})

    def _start_blocklist(self) -> None:
        from smtppseudo.server.kept_blocklist import KeptBlocklist  # noqa: PLC0415 - most servers keep none

        self._blocklist = KeptBlocklist(self.settings, self.reactor, self.reception.local_ip, self.warn)
        self._blocklist.blocked = self.blocks.table
        self.recorder.on_session_events = self._blocklist.record
        self.blocks.on_change = self._blocklist.mark_stale
        self._blocklist.begin()

    def _monitor_handler(self, address: str) -> OnAccept:
        """Return the accept handler of an address that the server listens on: all but loopback use TLS, if they can."""

        def accept(sock: socket.socket, ip: str, port: int, local_port: int, now: float) -> bool:  # noqa: ARG001
            if self._console is None:
                # SCRAM and JSON take 15 ms to load, which a server without monitors is spared.
                from smtppseudo.server.console import Console  # noqa: PLC0415

                self._console = Console(self, self.reactor, self.recorder, self._state_dir, self._cookie)
                self.recorder.on_batch = self._console.publish
            self._console.tls = tls = self._certificates.monitor_tls
            self._console.accept(sock, ip, port, now, by_tls=tls is not None and not is_loopback(address))
            return True

        return accept


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _shown(value: object) -> str:
    text = to_toml(value)
    return text if len(text) <= _VALUE_MAX_CHARS else f"{text[:_VALUE_MAX_CHARS]}..."


def _describe_fault(error: Exception) -> str:
    """Return one line that says what went wrong and where, without anything that a peer sent."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = f" at {place.tb_frame.f_code.co_qualname}:{place.tb_lineno}" if place else ""
    return f"bug: {type(error).__name__}{where}"
