"""`serve`: the server in the foreground."""

import argparse
import contextlib
import errno
import gc
import importlib
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from smtppseudo import __version__
from smtppseudo.cli import exits, places
from smtppseudo.cli.messages import print_lines, say_if_possible
from smtppseudo.cli.options import describe, whole_number
from smtppseudo.config.settings import STAGES, STDOUT, Settings, SettingsError
from smtppseudo.files import BLOCKED_FILE, CREDENTIALS_FILE, SECRET_MODE, SETTINGS_FILE, is_root
from smtppseudo.log.stream import write_at_once
from smtppseudo.loop.listener import ListenError
from smtppseudo.loop.reactor import Reactor
from smtppseudo.server.preconditions import require_descriptors
from smtppseudo.server.sd_listen import inherit_sockets
from smtppseudo.server.sd_notify import Heartbeat, Notifier
from smtppseudo.server.server import Server

if TYPE_CHECKING:
    from pwd import struct_passwd

Call: TypeAlias = Callable[[float], None]
ListenFor: TypeAlias = Callable[[Reactor, Call, Call], Callable[[], None]]
"""Arranges for the calls that stop and reload, in a turn of the loop; returns the function that ends this."""

# Modules that a server loads late. They are loaded before it drops root: the new user may be unable to read them.
LOADED_LATE: Final = (
    *("datetime", "difflib", "json", "tomllib", "smtppseudo.loop.proxies", "smtppseudo.net.pem", "smtppseudo.net.tls"),
    *("smtppseudo.server.console", "smtppseudo.server.kept_blocklist", "smtppseudo.server.metrics"),
)

_ROOT_WARNING: Final = (
    "warning: running as root, which is needed only to open the ports: give --run-as USER, or use"
    " `sudo smtppseudo install-service`; --run-as root turns this warning off"
)


def add_serve(command: argparse.ArgumentParser) -> None:
    describe(
        command, "smtppseudo serve --port 2525 --monitor-port 2626\n  then, in another terminal: telnet localhost 2525"
    )
    places.add_places(command)
    add = command.add_argument
    add("--port", type=whole_number, metavar="PORT", help="the SMTP port (25)")
    add("--monitor-port", type=whole_number, metavar="PORT", help="the monitor port (26)")
    listen_help = "accept SMTP connections on this address; may be repeated (all)"
    add("--listen", action="append", metavar="ADDRESS", help=listen_help)
    monitor_listen_help = "accept monitors on this address; may be repeated (127.0.0.1 and ::1)"
    add("--monitor-listen", action="append", metavar="ADDRESS", help=monitor_listen_help)
    add("--slots", type=whole_number, metavar="N", help="the number of simultaneous connections (25)")
    add("--greeting", metavar="TEXT", help="the text after 220 (Welcome!)")
    add("--reject-at", choices=STAGES, help="the stage at which mail is refused (mail)")
    accept_help = "accept every message and discard it; honest mail is lost without a bounce"
    add("--accept-mail", action="store_const", const=True, help=accept_help)
    add("--run-as", metavar="USER", help="as root: open the ports, then switch to this user")
    if sys.platform == "win32":
        add("--service", action="store_true", help=argparse.SUPPRESS)
    add("-v", "--verbose", action="store_true", help="print the events")


def run(options: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT; a second one ends the process at once."""
    if sys.platform == "win32" and options.service:
        from smtppseudo.cli.windows_service import run_service

        return run_service(partial(_serve, options, Notifier({})))
    notifier = Notifier(os.environ)
    try:
        return _serve(options, notifier, _listen_for_signals)
    except (SettingsError, exits.CommandError) as error:
        notifier.status(str(error))
        raise
    finally:
        notifier.close()


def _serve(options: argparse.Namespace, notifier: Notifier, listen_for: ListenFor) -> int:
    user = _find_user(options.run_as) if options.run_as is not None else None
    inherited = inherit_sockets(os.environ, say_if_possible)
    file = places.SettingsFile(options)  # before the user changes, and with it the usual places
    configuration = places.read_configuration(options, say_if_possible, inherited.as_settings())
    configuration = places.with_monitor_settings(configuration, say_if_possible)
    settings = configuration.settings
    places.require_home(settings.state_dir, settings.log_dir)
    require_descriptors(settings)
    logs_to_stdout = settings.log_dir == STDOUT
    if logs_to_stdout and options.verbose:
        raise exits.CommandError('-v prints what log_dir = "-" prints already; leave one of them out', exits.USAGE)
    cookie_mode = 0o640 if places.may_share_cookie(settings.state_dir) else SECRET_MODE
    server = Server(
        configuration, say_if_possible, inherited=inherited, cookie_mode=cookie_mode, stdout_fd=sys.stdout.fileno()
    )
    server.read_file = file.read
    if options.verbose:
        _print_events(server)
    heartbeat = Heartbeat(notifier, server.reactor, server.summary)
    end_listening = listen_for(server.reactor, *_callbacks(server, notifier, heartbeat))
    try:
        server.open(lambda: _drop_root(user, settings))
    except ListenError as error:
        raise exits.CommandError(_explain(error)) from None
    if user is None and is_root() and not any(inherited):
        server.warn(_ROOT_WARNING)
    server.recorder.flush()
    ports = (("SMTP", server.smtp_port), ("monitors", server.monitor_port))
    opened = [(service, *place) for service, port in ports for place in port.places]
    with contextlib.suppress(OSError):  # the server runs even if nobody can read this
        lines = [f"smtppseudo {__version__}: {service} on {address} port {port}" for service, address, port in opened]
        print_lines(lines, sys.stderr if logs_to_stdout else sys.stdout)
    _tune_collector()
    heartbeat.begin()
    server.reactor.run()
    end_listening()
    return exits.GOOD


def _tune_collector() -> None:
    # All present objects live until the end, so the collector need not visit them. Sessions make no cycles, so it
    # may run rarely: that saves a twentieth of a session's time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def _print_events(server: Server) -> None:
    """Print log lines as long as they are read; never wait for the reader."""
    fd = sys.stdout.fileno()
    skipped = 0

    def print_log_lines(lines: str) -> None:
        nonlocal skipped
        gap = f"({skipped} events not printed)\n" if skipped else ""
        data = (gap + lines).encode("ascii")
        written, error = write_at_once(fd, data)
        if written >= len(gap):
            skipped = 0
        skipped += data.count(b"\n", max(written, len(gap)))
        if error is not None:
            server.recorder.on_lines = None
            say_if_possible(f"standard output: {error.strerror}; no more events are printed")

    server.recorder.on_lines = print_log_lines


def _find_user(name: str) -> "struct_passwd":
    from smtppseudo.server.privilege import PrivilegeError, find_user

    try:
        return find_user(name)
    except PrivilegeError as error:
        raise exits.CommandError(str(error), exits.USAGE) from None


def _drop_root(user: "struct_passwd | None", settings: Settings) -> None:
    """Change to the user of `--run-as`, unless there is none or it is root."""
    if user is None or user.pw_uid == 0:
        return
    from smtppseudo.server.privilege import PrivilegeError, become, make_directories, require_access

    state, log = Path(settings.state_dir), Path(settings.log_dir)
    for name in LOADED_LATE:
        importlib.import_module(name)
    try:
        make_directories((state, log), user)
        become(user)
        require_access((state, log, state / CREDENTIALS_FILE, state / SETTINGS_FILE, state / BLOCKED_FILE), user)
    except PrivilegeError as error:
        raise exits.CommandError(str(error)) from None


def _callbacks(server: Server, notifier: Notifier, heartbeat: Heartbeat) -> tuple[Call, Call]:
    """Return the functions that stop the server and reload its settings."""

    def stop(now: float) -> None:  # noqa: ARG001
        notifier.stopping()
        server.stop()

    def reload(now: float) -> None:  # noqa: ARG001
        notifier.reloading()
        with contextlib.suppress(SettingsError):  # the server has reported it
            if need_restart := server.reload():
                say_if_possible(f"a restart is needed to change {', '.join(need_restart)}")
        heartbeat.ready()

    return stop, reload


def _listen_for_signals(reactor: Reactor, stop: Call, reload: Call) -> Callable[[], None]:
    def stop_once(now: float) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        stop(now)

    # SIGHUP is not on Windows, SIGBREAK only there.
    calls = {"SIGTERM": stop_once, "SIGINT": stop_once, "SIGHUP": reload, "SIGBREAK": stop_once}
    found = {number: call for name, call in calls.items() if (number := getattr(signal, name, None))}
    return reactor.call_on_signals(found)


def _explain(error: ListenError) -> str:
    """Return an error message that says what to do."""
    advice = ""
    if error.errno == errno.EINVAL and ":" in error.address:
        advice = "; write IPv4 addresses without ::ffff:, and link-local ones with an interface: fe80::1%eth0"
    elif error.errno == errno.EADDRINUSE and error.overlaps:
        advice = f", by this server: {error.overlaps} and {error.address} overlap; leave one of them out"
    elif error.errno == errno.EADDRINUSE:
        from smtppseudo.net.port_holder import holder_of

        advice = f", by {holder_of(error.port)}; stop that, or choose another port (--port, --monitor-port)"
    elif error.errno in (errno.EACCES, errno.EPERM):
        advice = (
            "; ports below 1024 are for root: use `sudo smtppseudo install-service`, or start this as root"
            " with --run-as USER, or give --port 2525 --monitor-port 2626"
        )
    elif error.errno == errno.EADDRNOTAVAIL:
        advice = "; this machine does not have that address, see --listen and --monitor-listen"
    return f"cannot listen on {error}{advice}"
