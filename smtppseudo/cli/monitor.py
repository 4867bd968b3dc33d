"""`monitor`: the terminal screen."""

import argparse
import contextlib
import gc
import shlex
import signal
import subprocess
import sys
from pathlib import Path

from smtppseudo.cli import exits
from smtppseudo.cli.access import (
    MONITOR_PORT_DEFAULT,
    add_access,
    add_host,
    read_cookies,
    read_ports,
    read_word,
    state_dirs,
)
from smtppseudo.cli.options import describe
from smtppseudo.cli.places import user_config
from smtppseudo.cli.trust import accepted_pin, accepted_pins
from smtppseudo.files import StateDir


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Define the arguments."""
    describe(
        command,
        "smtppseudo monitor\n  smtppseudo monitor 192.0.2.25",
        "Without HOST: the server shown last, or the server of this machine.",
    )
    add_host(command)
    add_access(command)


class LocalKeys:
    """What this user can find of the servers of this machine, as it is now."""

    def __init__(self, state_dir: str | None, pin: str | None = None) -> None:
        self._directories = state_dirs(state_dir)
        self._pin = pin

    def cookies(self) -> tuple[str, ...]:
        """Return their cookies, those that can be read."""
        return read_cookies(self._directories)

    def ports(self) -> tuple[int, ...]:
        """Return the monitor ports that they wrote down."""
        return read_ports(self._directories)

    def pin_for(self, host: str, port: int) -> str | None:
        """Return the fingerprint that a server's certificate must have; None if there is none yet. Raises LinkError."""
        return self._pin or accepted_pin(host, port)

    def accept(self, host: str, port: int, fingerprint: str) -> None:
        """Trust a server's certificate from now on, and none but that. Raises OSError."""
        accepted_pins().accept(host, port, fingerprint)
        self._pin = None

    def usual_port(self) -> int:
        """Return the port that is tried first."""
        return next(iter(self.ports()), MONITOR_PORT_DEFAULT)


def run(options: argparse.Namespace) -> int:
    """Show the screen until it is closed."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise exits.CommandError(
            "the screen needs a terminal; `smtppseudo watch` prints events without one", exits.USAGE
        )
    word = None if options.magic_file is None else read_word(Path(options.magic_file))
    try:
        from smtppseudo.tui.app import MonitorApp
    except ImportError as error:
        raise exits.no_screen(error) from None
    from smtppseudo.tui.feeder import Feeder
    from smtppseudo.tui.memory import Memory, target_for
    from smtppseudo.tui.screens.service import ServiceControl
    from smtppseudo.tui.server_view import Dependencies

    keys = LocalKeys(options.state_dir, options.pin)
    store = StateDir(user_config())
    given = (options.host, options.monitor_port, word, options.tls)
    app = MonitorApp(
        target_for(Memory.load(store), *given),
        Dependencies(
            lambda: Feeder(keys), store, keys.accept, keys.usual_port, service=ServiceControl(run=run_in_terminal)
        ),
    )
    # A thread reads events while this one draws: let it give way sooner than after the usual 5 ms.
    sys.setswitchinterval(0.001)
    # What is kept of events holds no cycles: looking through it again and again would hold up keys.
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    app.run()
    return app.return_code or exits.GOOD


def run_in_terminal(words: list[str]) -> None:
    """Run a command in the terminal, and wait until what it said was read."""
    # Ctrl-C is meant for the command; ignoring it here would be inherited, a handler is not.
    before = signal.signal(signal.SIGINT, lambda number, frame: None)  # noqa: ARG005
    try:
        print(f"$ {shlex.join(words)}", flush=True)
        subprocess.run(words, check=False)  # noqa: S603 - the words are ours
    except OSError as error:
        print(f"smtppseudo: {words[0]}: {error.strerror}; nothing was done")
    finally:
        with contextlib.suppress(EOFError):
            input("Press Enter to go back to the screen. ")
        signal.signal(signal.SIGINT, before)
