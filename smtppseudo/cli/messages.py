"""What commands print: every text reaches the terminal through these functions, as printable ASCII.

So no name of a file or a process, and no text of a server, can send commands to the terminal.
"""

import contextlib
import os
import re
import sys
from collections.abc import Iterable
from typing import Final, TextIO

from smtppseudo.events import printable, printable_lines

BAR: Final = "█"
"""The only other character: the bars of a report are made of it."""


def print_line(line: str) -> None:
    """Print one line on standard output, at once."""
    print_lines([line])


def print_lines(lines: Iterable[str], out: TextIO | None = None) -> None:
    """Print lines on standard output, or on `out`, all at once."""
    print(*map(printable, lines), sep="\n", file=out, flush=True)


def print_text(text: str) -> None:
    """Print the lines of a text on standard output; its last line ends with LF. On a terminal, bars have a colour."""
    sys.stdout.write(as_shown(text))


def as_shown(text: str) -> str:
    """Return a text as standard output shows it."""
    text = BAR.join(map(printable_lines, text.split(BAR)))
    if is_terminal(sys.stdout) and os.environ.get("TERM", "dumb") != "dumb" and not os.environ.get("NO_COLOR"):
        text = re.sub(f"{BAR}+", "\x1b[34m\\g<0>\x1b[0m", text)  # in escaped text: no other sequence is possible
    return text


def say(text: str) -> None:
    """Print a message of one line on standard error."""
    print(f"smtppseudo: {printable(text)}", file=sys.stderr, flush=True)


def say_if_possible(text: str) -> None:
    """Print a message like `say`, but ignore errors, and keep nothing for later: a server must go on."""
    with contextlib.suppress(OSError):  # stderr may be a file on the disk that is full
        os.write(sys.stderr.fileno(), f"smtppseudo: {printable(text)}\n".encode("ascii"))


def is_terminal(stream: TextIO) -> bool:
    """Return whether a stream is a terminal. On Windows, `isatty` is true for NUL, too."""
    if sys.platform == "win32":
        from smtppseudo.win32 import is_console

        return is_console(stream.fileno())
    return stream.isatty()


def ask(question: str) -> str:
    """Print a question of one or more lines on standard error; return the line on standard input."""
    print(printable_lines(question), end="", file=sys.stderr, flush=True)
    return sys.stdin.readline()


def show_progress(text: str) -> None:
    """Replace the last line of a terminal on standard error; an empty text removes it."""
    print(f"\r{printable(text)}" if text else "\r\x1b[K", end="", file=sys.stderr, flush=True)
