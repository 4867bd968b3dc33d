"""The server process of `demo`: `serve`, which ends with its parent process and removes its files.

    python3 -m smtppseudo.cli.demo_server DIRECTORY OPTION ...

The options are those of `serve`. The process ends when its standard input ends, which happens even if the parent is
killed. Then it removes DIRECTORY.
"""

import os
import shutil
import signal
import sys
import threading
from typing import Final

from smtppseudo.cli import exits, main

STOP_TIMEOUT_S: Final = 5.0


def run(directory: str, arguments: list[str]) -> int:
    """Serve; return the exit status."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(exits.FAILED))  # until `serve` installs its handler
    is_orphaned = threading.Event()
    threading.Thread(target=_end_with_parent, args=(is_orphaned, directory), daemon=True).start()
    try:
        return main(["serve", *arguments])
    finally:
        if is_orphaned.is_set():
            shutil.rmtree(directory, ignore_errors=True)


def _end_with_parent(is_orphaned: threading.Event, directory: str) -> None:
    while os.read(sys.stdin.fileno(), 512):
        pass
    is_orphaned.set()
    signal.raise_signal(signal.SIGTERM)
    threading.Event().wait(STOP_TIMEOUT_S)
    # The server hangs; it must not outlive the demo.
    shutil.rmtree(directory, ignore_errors=True)
    os._exit(exits.FAILED)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1], sys.argv[2:]))
