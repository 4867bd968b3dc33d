"""`serve`: the server in the foreground."""

import argparse
import contextlib
import errno
import gc
import os
import signal
import sys
from collections.abc import Callable
from typing import TextIO

from smtppseudo import __version__
from smtppseudo.cli import exits
from smtppseudo.cli.places import read_configuration, read_file, with_monitor_settings
from smtppseudo.log_stream import write_at_once
from smtppseudo.net.listener import ListenError
from smtppseudo.net.signals import Signals
from smtppseudo.server import Server, require_descriptors
from smtppseudo.settings import STDOUT, SettingsError


def run(options: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT; a second one ends the process at once."""
    configuration, complaints = with_monitor_settings(read_configuration(options))
    for complaint in complaints:
        _say(complaint)
    require_descriptors(configuration.settings.slots)
    logs_to_stdout = configuration.settings.log_dir == STDOUT
    if logs_to_stdout and options.verbose:
        raise exits.CommandError('-v prints what log_dir = "-" prints already: leave one of them out', exits.USAGE)
    server = Server(configuration, _say, stdout_fd=sys.stdout.fileno())
    if options.verbose:
        _print_events(server)
    signals = Signals(server.reactor, _callbacks(server, options), server.reception.report_fault)
    try:
        server.open()
    except ListenError as error:
        raise exits.CommandError(_explain(error)) from None
    server.chronicle.flush()
    with contextlib.suppress(OSError):  # nobody reads it: no reason not to serve
        out = sys.stderr if logs_to_stdout else sys.stdout
        for address, port in server.listens_on:
            print(f"smtppseudo {__version__}: SMTP on {address} port {port}", file=out)
        for address, port in server.monitors_on:
            print(f"smtppseudo {__version__}: monitors on {address} port {port}", file=out)
        out.flush()
    # What lives now lives until the end: the collector need not look at it again. And rarely at the rest, for
    # sessions make no cycles: that spares a session a twentieth of its time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    server.run()
    signals.close()
    return exits.GOOD


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
        octets = (gap + lines).encode("ascii")
        written, error = write_at_once(fd, octets)
        if written >= len(gap):
            left_out = 0
        left_out += octets.count(b"\n", max(written, len(gap)))
        if error is not None:
            server.chronicle.echo = None  # whoever looked on has gone; the server goes on
            _say(f"cannot print events any more: {error.strerror}")

    server.chronicle.echo = echo


def _callbacks(server: Server, options: argparse.Namespace) -> dict[int, Callable[[float], None]]:
    def stop(now: float) -> None:  # noqa: ARG001
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        server.stop()

    def reload(now: float) -> None:  # noqa: ARG001
        server.chronicle.log.reopen()
        try:
            waiting = server.reconfigure(server.configuration.with_file(read_file(options)))
        except SettingsError as error:
            text = f"settings not changed: {error}"
            _say(text)
            server.chronicle.error(text)
            return
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

        holder = holder_of(error.port) or "another program"
        return f"{place}: {holder} holds it; stop that, or choose another port (--port, --monitor-port)"
    if error.errno in (errno.EACCES, errno.EPERM):
        return (
            f"{place}: ports below 1024 need a privilege. Three ways out: run it as a service that is"
            " given CAP_NET_BIND_SERVICE, run it as root, or choose ports above (--port 2525 --monitor-port 2626)"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{place}: no interface of this machine has that address; see --listen"
    return place
