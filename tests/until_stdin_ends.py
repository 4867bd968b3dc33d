"""`python -m tests.until_stdin_ends COMMAND ...`: the command on Windows, interrupted when its standard input ends.

Windows has no SIGTERM for other processes, and only processes of one console can send each other Ctrl-C.
"""

import runpy
import signal
import sys
import threading


def _interrupt_at_end() -> None:
    sys.stdin.read()
    signal.raise_signal(signal.SIGINT)  # in a thread of its own, like a real Ctrl-C


if __name__ == "__main__":
    threading.Thread(target=_interrupt_at_end, daemon=True).start()
    runpy.run_module("smtppseudo", run_name="__main__", alter_sys=True)
