"""The installed program that the service runs."""

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from subprocess import list2cmdline
from typing import NamedTuple


class Program(NamedTuple):
    """Where the program is: its interpreter, `sys.base_prefix`, `sys.prefix`, and the package."""

    python: Path
    base: Path
    prefix: Path
    package: Path

    @property
    def argv(self) -> tuple[str, ...]:
        """The command line to which a command of smtppseudo is appended, for any directory and environment."""
        return (str(self.python), "-I", "-m", "smtppseudo")


def as_typed(argv: Sequence[str]) -> str:
    """Return a command line as the user types it, with the quotes of this system's shell."""
    return list2cmdline(argv) if os.name == "nt" else shlex.join(argv)


def running_program() -> Program:
    """Return the program of this process."""
    package = Path(__file__).parents[1]
    return Program(Path(sys.executable), Path(sys.base_prefix), Path(sys.prefix), package)
