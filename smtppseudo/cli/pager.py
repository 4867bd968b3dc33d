"""The pager, for texts that are longer than a terminal."""

import os
import sys

from smtppseudo.cli.messages import as_shown, print_text


def print_in_pager(text: str) -> None:
    """Print a text like `print_text`, but on a terminal through $PAGER, or less, which starts at the first line."""
    if not sys.stdout.isatty():
        print_text(text)
        return
    import pydoc

    os.environ.setdefault("LESS", "FRX")  # as git does: end if all fits, pass colours through, leave the text there
    pydoc.pager(as_shown(text))
