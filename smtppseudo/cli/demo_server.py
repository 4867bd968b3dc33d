"""The server of `demo`, a process of its own: `serve` that ends with whoever started it, and tidies up then.

    python3 -m smtppseudo.cli.demo_server DIRECTORY OPTION ...

The options are those of `serve`. It ends when its standard input does: the kernel sees to that, even if the
other end was killed. Then the directory is removed with all that is in it.
"""

import os
import shutil
import signal
import sys
import threading
from types import FrameType
from typing import Final, NoReturn

from smtppseudo.cli import exits, main

STOP_TIMEOUT_S: Final = 5.0


def run(directory: str, arguments: list[str]) -> int:
    """Serve; return the exit status."""
    signal.signal(signal.SIGTERM, _end)  # until `serve` has its own
    is_alone = threading.Event()
    threading.Thread(target=_end_with_parent, args=(is_alone, directory), daemon=True).start()
    try:
        return main(["serve", *arguments])
    finally:
        if is_alone.is_set():
            _tidy_up(directory)


def _end_with_parent(is_alone: threading.Event, directory: str) -> None:
    while os.read(sys.stdin.fileno(), 512):
        pass
    is_alone.set()
    signal.raise_signal(signal.SIGTERM)
    threading.Event().wait(STOP_TIMEOUT_S)
    # Still here: the server hangs, and is not to outlive the demo all the same.
    _tidy_up(directory)
    os._exit(exits.FAILED)


def _tidy_up(directory: str) -> None:
    shutil.rmtree(directory, ignore_errors=True)


def _end(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001
    sys.exit(exits.FAILED)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1], sys.argv[2:]))
