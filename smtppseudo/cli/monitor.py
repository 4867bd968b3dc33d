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
from smtppseudo.cli.access import add_access, add_host, read_word, user_keyring
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
    add_host(command)
    add_access(command)


def run(options: argparse.Namespace) -> int:
    """Show the screen until it is closed."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise exits.CommandError(
            "the screen needs a terminal; `smtppseudo watch` prints events without one", exits.USAGE
        )
    word = None if options.magic_file is None else read_word(Path(options.magic_file))
    try:
        from smtppseudo.tui.app import MonitorApp, Surroundings
    except ImportError as error:
        raise exits.no_screen(error) from None
    from smtppseudo.tui.feeder import Feeder
    from smtppseudo.tui.memory import Memory, target_for
    from smtppseudo.tui.screens.service import Service

    keyring = user_keyring(options.state_dir, options.pin)
    store = StateDir(user_config())
    given = (options.host, options.monitor_port, word, options.tls)
    app = MonitorApp(
        target_for(Memory.load(store), *given),
        Surroundings(
            lambda: Feeder(keyring), store, keyring.accept, keyring.usual_port, service=Service(run=run_in_terminal)
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
