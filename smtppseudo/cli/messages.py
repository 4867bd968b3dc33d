"""Messages: lines on standard error, apart from a command's output."""

import sys


def say(text: str) -> None:
    """Print one line, if standard error is open."""
    if sys.stderr is not None:
        print(f"smtppseudo: {text}", file=sys.stderr, flush=True)
