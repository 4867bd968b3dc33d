"""`monitor`: the terminal screen."""

import argparse
import gc
import os
import sys
from pathlib import Path

from smtppseudo.cli import exits
from smtppseudo.cli.access import MONITOR_PORT_DEFAULT, read_cookie, read_port, read_word, state_dirs
from smtppseudo.statedir import StateDir


class LocalKeys:
    """What this user can find of the servers of this machine, as it is now."""

    def __init__(self, state_dir: str | None) -> None:
        self._directories = state_dirs(state_dir)

    def cookies(self) -> tuple[str, ...]:
        """Return their cookies, those that can be read."""
        return tuple(filter(None, map(read_cookie, self._directories)))

    def ports(self) -> tuple[int, ...]:
        """Return the monitor ports that they wrote down."""
        return tuple(filter(None, map(read_port, self._directories)))

    def usual_port(self) -> int:
        """Return the port that is tried first."""
        return next(iter(self.ports()), MONITOR_PORT_DEFAULT)


def run(options: argparse.Namespace) -> int:
    """Show the screen until it is closed."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise exits.CommandError("the screen needs a terminal; `smtppseudo watch` prints events without", exits.USAGE)
    word = None if options.magic_file is None else read_word(Path(options.magic_file))
    try:
        from smtppseudo.tui.app import MonitorApp, Surroundings
    except ImportError as error:
        raise exits.no_screen(error) from None
    from smtppseudo.tui.feeder import Feeder
    from smtppseudo.tui.memory import Memory, target_for

    keys = LocalKeys(options.state_dir)
    store = StateDir(user_config())
    given = (options.host, options.monitor_port, word, options.cleartext)
    app = MonitorApp(
        target_for(Memory.load(store), *given),
        Surroundings(lambda: Feeder(keys), store, keys.usual_port),
    )
    # A thread reads events while this one draws: let it give way sooner than after the usual 5 ms.
    sys.setswitchinterval(0.001)
    # What is kept of events holds no cycles: looking through it again and again would hold up keys.
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    app.run()
    return app.return_code or exits.GOOD


def user_config() -> Path:
    """Return where this user, root too, keeps what the screen remembers."""
    if os.name == "nt":
        base = Path(os.environ.get("APPDATA") or Path.home())
    else:
        given = os.environ.get("XDG_CONFIG_HOME", "")
        base = Path(given) if given.startswith("/") else Path.home() / ".config"
    return base / "smtppseudo"
