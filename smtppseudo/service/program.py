"""The installed program that the service runs."""

import sys
from pathlib import Path
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


def running_program() -> Program:
    """Return the program of this process."""
    package = Path(__file__).parents[1]
    return Program(Path(sys.executable), Path(sys.base_prefix), Path(sys.prefix), package)
