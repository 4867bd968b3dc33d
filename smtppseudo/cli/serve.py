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
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

from smtppseudo import __version__
from smtppseudo.cli import exits
from smtppseudo.cli.options import describe, whole_number
from smtppseudo.cli.places import (
    SettingsFile,
    add_places,
    may_share_cookie,
    read_configuration,
    settings_file,
    with_monitor_settings,
)
from smtppseudo.config.settings import STAGES, STDOUT, Settings, SettingsError
from smtppseudo.files import CREDENTIALS_FILE, SECRET_MODE, SETTINGS_FILE
from smtppseudo.log.stream import write_at_once
from smtppseudo.loop.listener import ListenError
from smtppseudo.loop.signals import Signals
from smtppseudo.server.preconditions import require_descriptors
from smtppseudo.server.sd_listen import take as inherit
from smtppseudo.server.sd_notify import Heartbeat, Notifier
from smtppseudo.server.server import Server

if TYPE_CHECKING:
    from smtppseudo.server.privilege import User

# What a server loads when it first needs it. Whoever it becomes may not be able to read that.
LOADED_LATE: Final = (
    "datetime",
    "difflib",
    "json",
    "smtppseudo.server.console",
    "smtppseudo.server.kept_blocklist",
    "smtppseudo.server.metrics",
    "smtppseudo.net.pem",
    "smtppseudo.net.tls",
    "tomllib",
)

_ROOT_WARNING: Final = (
    "warning: running as root, which is needed only to open the ports: give --run-as USER, or use"
    " `sudo smtppseudo install-service`; --run-as root turns this warning off"
)


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Define the arguments."""
    describe(
        command, "smtppseudo serve --port 2525 --monitor-port 2626\n  then, in another terminal: telnet localhost 2525"
    )
    add_places(command)
    command.add_argument("--port", type=whole_number, metavar="PORT", help="the SMTP port (25)")
    command.add_argument("--monitor-port", type=whole_number, metavar="PORT", help="the monitor port (26)")
    command.add_argument(
        "--listen",
        action="append",
        metavar="ADDRESS",
        help="accept SMTP connections on this address; may be repeated (all)",
    )
    command.add_argument(
        "--monitor-listen",
        action="append",
        metavar="ADDRESS",
        help="accept monitors on this address; may be repeated (127.0.0.1 and ::1)",
    )
    command.add_argument("--slots", type=whole_number, metavar="N", help="the number of simultaneous connections (25)")
    command.add_argument("--greeting", metavar="TEXT", help="the text after 220 (Welcome!)")
    command.add_argument("--reject-at", choices=STAGES, help="the stage at which mail is refused (mail)")
    command.add_argument(
        "--accept-mail",
        action="store_const",
        const=True,
        help="accept every message and discard it; honest mail is lost without a bounce",
    )
    command.add_argument("--run-as", metavar="USER", help="as root: open the ports, then switch to this user")
    command.add_argument("-v", "--verbose", action="store_true", help="print the events")


def run(options: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT; a second one ends the process at once."""
    notifier = Notifier(os.environ)
    try:
        return _serve(options, notifier)
    except (SettingsError, exits.CommandError) as error:
        notifier.status(str(error))
        raise
    finally:
        notifier.close()


def _serve(options: argparse.Namespace, notifier: Notifier) -> int:
    user = None if options.run_as is None else _find_user(options.run_as)
    inherited = inherit(os.environ)
    file = settings_file(options)  # now: who we become may have other usual places
    configuration, complaints = with_monitor_settings(read_configuration(options, inherited.as_settings()))
    for complaint in complaints:
        _say(complaint)
    require_descriptors(configuration.settings.slots)
    logs_to_stdout = configuration.settings.log_dir == STDOUT
    if logs_to_stdout and options.verbose:
        raise exits.CommandError('-v prints what log_dir = "-" prints already; leave one of them out', exits.USAGE)
    cookie_mode = 0o640 if may_share_cookie(configuration.settings.state_dir) else SECRET_MODE
    server = Server(configuration, _say, inherited=inherited, cookie_mode=cookie_mode, stdout_fd=sys.stdout.fileno())
    if options.verbose:
        _print_events(server)
    heartbeat = Heartbeat(notifier, server.reactor, server.summary, server.reception.report_fault)
    signals = Signals(server.reactor, _callbacks(server, file, notifier, heartbeat), server.reception.report_fault)
    try:
        server.open(lambda: _become(user, configuration.settings))
    except ListenError as error:
        raise exits.CommandError(_explain(error)) from None
    if user is None and hasattr(os, "geteuid") and os.geteuid() == 0 and not any(inherited):
        server.warn(_ROOT_WARNING)
    server.recorder.flush()
    _print_places(server, sys.stderr if logs_to_stdout else sys.stdout)
    _calm_collector()
    heartbeat.begin()
    server.run()
    signals.close()
    return exits.GOOD


def _print_places(server: Server, out: TextIO) -> None:
    with contextlib.suppress(OSError):  # nobody reads it: no reason not to serve
        for address, port in server.listens_on:
            print(f"smtppseudo {__version__}: SMTP on {address} port {port}", file=out)
        for address, port in server.monitors_on:
            print(f"smtppseudo {__version__}: monitors on {address} port {port}", file=out)
        out.flush()


def _calm_collector() -> None:
    # What lives now lives until the end: the collector need not look at it again. And rarely at the rest, for
    # sessions make no cycles: that spares a session a twentieth of its time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def _say(text: str) -> None:
    stderr: TextIO | None = sys.stderr
    if stderr is None:  # closed by whoever started us; descriptor 2 may be a peer's socket by now
        return
    with contextlib.suppress(OSError):  # stderr may be a file on the very disk that is full
        os.write(stderr.fileno(), f"smtppseudo: {text}\n".encode("utf-8", "backslashreplace"))


def _print_events(server: Server) -> None:
    """Print events as they are logged, as long as somebody reads them; never wait for the reader."""
    fd = sys.stdout.fileno()
    left_out = 0

    def echo(lines: str) -> None:
        nonlocal left_out
        gap = f"({left_out} events not printed)\n" if left_out else ""
        data = (gap + lines).encode("ascii")
        written, error = write_at_once(fd, data)
        if written >= len(gap):
            left_out = 0
        left_out += data.count(b"\n", max(written, len(gap)))
        if error is not None:
            server.recorder.echo = None  # whoever looked on has gone; the server goes on
            _say(f"standard output: {error.strerror}; no more events are printed")

    server.recorder.echo = echo


def _find_user(name: str) -> "User":
    from smtppseudo.server.privilege import PrivilegeError, find_user

    try:
        return find_user(name)
    except PrivilegeError as error:
        raise exits.CommandError(str(error), exits.USAGE) from None


def _become(user: "User | None", settings: Settings) -> None:
    """Give up what root may, if we are to; root's own name says to stay as we are."""
    if user is None or user.is_root:
        return
    from smtppseudo.server.privilege import PrivilegeError, become, hand_over, require_access

    state, log = Path(settings.state_dir), Path(settings.log_dir)
    for name in LOADED_LATE:
        importlib.import_module(name)
    try:
        hand_over((state, log), user)
        become(user)
        require_access((state, log, state / CREDENTIALS_FILE, state / SETTINGS_FILE), user)
    except PrivilegeError as error:
        raise exits.CommandError(str(error)) from None


def _callbacks(
    server: Server, file: SettingsFile, notifier: Notifier, heartbeat: Heartbeat
) -> dict[int, Callable[[float], None]]:
    def stop(now: float) -> None:  # noqa: ARG001
        notifier.stopping()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        server.stop()

    def reload(now: float) -> None:  # noqa: ARG001
        notifier.reloading()
        read_anew()
        heartbeat.ready()

    def read_anew() -> None:
        server.recorder.log.reopen()
        try:
            waiting = server.reconfigure(server.configuration.with_file(file.read()))
        except SettingsError as error:
            text = f"settings not changed: {error}"
            _say(text)
            server.recorder.error(text)
            return
        if waiting:
            _say(f"a restart is needed to change {', '.join(waiting)}")

    callbacks: dict[int, Callable[[float], None]] = {signal.SIGTERM: stop, signal.SIGINT: stop}
    if hasattr(signal, "SIGHUP"):
        callbacks[signal.SIGHUP] = reload
    return callbacks


def _explain(error: ListenError) -> str:
    place = f"cannot listen on {error}"
    if error.errno == errno.EADDRINUSE:
        from smtppseudo.net.port_holder import holder_of

        holder = holder_of(error.port) or "another program"
        return f"{place}, by {holder}; stop that, or choose another port (--port, --monitor-port)"
    if error.errno in (errno.EACCES, errno.EPERM):
        return (
            f"{place}; ports below 1024 are for root: use `sudo smtppseudo install-service`, or start this as root"
            " with --run-as USER, or give --port 2525 --monitor-port 2626"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{place}; this machine does not have that address, see --listen and --monitor-listen"
    return place
