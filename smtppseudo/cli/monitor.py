"""`monitor`: the terminal screen."""

import argparse
import contextlib
import gc
import signal
import subprocess
from pathlib import Path

from smtppseudo.cli.access import add_access, hosts_of, read_word, user_keyring
from smtppseudo.cli.messages import print_line
from smtppseudo.cli.options import describe, host_and_port
from smtppseudo.cli.places import user_config
from smtppseudo.cli.screen import require_screen, show
from smtppseudo.files import StateDir
from smtppseudo.service.layout import as_typed


def add_monitor(command: argparse.ArgumentParser) -> None:
    describe(
        command,
        "smtppseudo monitor\n  smtppseudo monitor 192.0.2.25",
        "Of several HOSTs it shows a list; Enter shows one of them. Without HOST: the servers shown last, or that of"
        " this machine.",
    )
    add_access(command, has_several=True)


def run(options: argparse.Namespace) -> int:
    """Show the screen until it is closed."""
    places = [host_and_port(host, options.monitor_port) for host in hosts_of(options.hosts, options.pin)]
    require_screen("`smtppseudo watch` prints the events instead")
    word = None if options.magic_file is None else read_word(Path(options.magic_file))
    from smtppseudo.tui.app import MonitorApp
    from smtppseudo.tui.memory import Memory, targets_for
    from smtppseudo.tui.server_view import Dependencies, ServiceControl

    keyring = user_keyring(options.state_dir, options.pin)
    store = StateDir(user_config())
    targets = targets_for(Memory(store), places, word, options.tls)
    hosts_of([target.host for target in targets], options.pin)  # the last ones may be several
    app = MonitorApp(targets, Dependencies(keyring, store, service=ServiceControl(run=run_in_terminal)))
    # The events in memory form no reference cycles: frequent collections would only delay keys.
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    return show(app)


def run_in_terminal(argv: list[str]) -> None:
    """Run a command in the terminal; wait until the user has read its output."""
    # Ctrl-C is for the command. A handler does nothing here and is not inherited, unlike SIG_IGN.
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        print_line(f"$ {as_typed(argv)}")
        subprocess.run(argv, check=False)  # noqa: S603 - no word comes from outside
    except OSError as error:
        print_line(f"smtppseudo: {argv[0]}: {error.strerror}; nothing was done")
    finally:
        with contextlib.suppress(EOFError):
            input("Press Enter to go back to the screen. ")
        signal.signal(signal.SIGINT, before)
