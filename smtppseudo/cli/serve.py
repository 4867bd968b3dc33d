"""`serve`: the server in the foreground."""

import argparse
import errno
import gc
import signal
import sys
from collections.abc import Callable
from typing import Final

from smtppseudo import __version__
from smtppseudo.cli import exits
from smtppseudo.cli.places import read_settings
from smtppseudo.net.signals import Signals
from smtppseudo.server import ListenError, Server, require_descriptors
from smtppseudo.settings import SettingsError

ACCEPT_MAIL_WARNING: Final = (
    "warning: accept_mail is on: honest mail is taken and thrown away, its senders get no bounce"
)


def run(options: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT; a second one ends the process at once."""
    settings = read_settings(options).settings
    require_descriptors(settings.slots)
    server = Server(settings, _say)
    if options.verbose:
        _print_events(server)
    try:
        server.go_online("start")
    except ListenError as error:
        raise exits.CommandError(_explain(error)) from None
    if settings.accept_mail:
        _say(ACCEPT_MAIL_WARNING)
        server.chronicle.error(ACCEPT_MAIL_WARNING)
    signals = Signals(server.reactor, _callbacks(server, options), server.reception.report_fault)
    server.chronicle.flush()
    for address, port in server.listens_on:
        print(f"smtppseudo {__version__}: SMTP on {address} port {port}")
    sys.stdout.flush()
    # What lives now lives until the end: the collector need not look at it again.
    gc.collect()
    gc.freeze()
    server.run()
    signals.close()
    return exits.GOOD


def _say(text: str) -> None:
    print(f"smtppseudo: {text}", file=sys.stderr, flush=True)


def _print_events(server: Server) -> None:
    def echo(line: str) -> None:
        try:
            sys.stdout.write(line)
            sys.stdout.flush()
        except OSError as error:
            server.chronicle.echo = None  # whoever looked on has gone; the server goes on
            _say(f"cannot print events any more: {error.strerror}")

    server.chronicle.echo = echo


def _callbacks(server: Server, options: argparse.Namespace) -> dict[int, Callable[[float], None]]:
    def stop(now: float) -> None:  # noqa: ARG001
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        server.stop()

    def reload(now: float) -> None:  # noqa: ARG001
        server.chronicle.journal.reopen()
        try:
            settings = read_settings(options).settings
        except SettingsError as error:
            text = f"settings not changed: {error}"
            _say(text)
            server.chronicle.error(text)
            return
        waiting = server.apply(settings, "SIGHUP")
        if waiting:
            _say(f"needs a restart to change: {', '.join(waiting)}")

    callbacks: dict[int, Callable[[float], None]] = {signal.SIGTERM: stop, signal.SIGINT: stop}
    if hasattr(signal, "SIGHUP"):
        callbacks[signal.SIGHUP] = reload
    return callbacks


def _explain(error: ListenError) -> str:
    place = f"cannot listen on {error}"
    if error.errno == errno.EADDRINUSE:
        from smtppseudo.net.holder import holder_of

        holder = holder_of(error.port)
        return f"{place}: {holder or 'another program'} holds it; stop that, or choose another with --port"
    if error.errno in (errno.EACCES, errno.EPERM):
        return (
            f"{place}: ports below 1024 need a privilege. Three ways out: install it as a service"
            " (smtppseudo install-service), run it as root, or choose a port above (--port 2525)"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{place}: no interface of this machine has that address; see --listen"
    return place
