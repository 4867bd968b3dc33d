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
from smtppseudo.cli.access import add_access, read_word, user_keyring
from smtppseudo.cli.options import describe
from smtppseudo.cli.places import user_config
from smtppseudo.files import StateDir


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Define the arguments."""
    describe(
        command,
        "smtppseudo monitor\n  smtppseudo monitor 192.0.2.25",
        "Without HOST: the server shown last, or the server of this machine.",
    )
    add_access(command, host_is_option=False)


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
    from smtppseudo.tui.dialogs.service import ServiceControl
    from smtppseudo.tui.memory import Memory, target_for
    from smtppseudo.tui.server_view import Dependencies

    keyring = user_keyring(options.state_dir, options.pin)
    store = StateDir(user_config())
    given = (options.host, options.monitor_port, word, options.tls)
    app = MonitorApp(
        target_for(Memory.load(store), *given),
        Dependencies(keyring, store, service=ServiceControl(run=run_in_terminal)),
    )
    # A second thread reads events while this one draws: switch between them more often than every 5 ms.
    sys.setswitchinterval(0.001)
    # The events in memory form no reference cycles: frequent collections would only delay keys.
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    app.run()
    return app.return_code or exits.GOOD


def run_in_terminal(argv: list[str]) -> None:
    """Run a command in the terminal; wait until the user has read its output."""
    # Ctrl-C is for the command. A handler does nothing here and is not inherited, unlike SIG_IGN.
    before = signal.signal(signal.SIGINT, lambda number, frame: None)  # noqa: ARG005
    try:
        print(f"$ {shlex.join(argv)}", flush=True)
        subprocess.run(argv, check=False)  # noqa: S603 - no word comes from outside
    except OSError as error:
        print(f"smtppseudo: {argv[0]}: {error.strerror}; nothing was done")
    finally:
        with contextlib.suppress(EOFError):
            input("Press Enter to go back to the screen. ")
        signal.signal(signal.SIGINT, before)
