"""The pager, for texts that are longer than a terminal."""

import os
import shutil
import signal
import subprocess
import sys

from smtppseudo.cli.messages import as_shown, is_terminal, print_text


def print_in_pager(text: str) -> None:
    """Print a text like `print_text`, but on a terminal through $PAGER, or less, which starts at the first line."""
    pager = os.environ.get("PAGER", "less" if shutil.which("less") else "")
    if not (pager and is_terminal(sys.stdin) and is_terminal(sys.stdout) and os.environ.get("TERM", "dumb") != "dumb"):
        print_text(text)
        return
    env = {"LESS": "FRX", **os.environ}  # as git: end if all fits, pass colours through, leave the text there
    with subprocess.Popen(pager, shell=True, stdin=subprocess.PIPE, encoding=sys.stdout.encoding, env=env) as process:  # noqa: S602
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the pager
        process.communicate(as_shown(text))
