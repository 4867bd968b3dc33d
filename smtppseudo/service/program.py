"""The program: what the service is to run."""

import sys
from pathlib import Path
from typing import NamedTuple


class Program(NamedTuple):
    """What the service is to run: the interpreter, what that is a link into, and the package."""

    python: Path
    base: Path
    prefix: Path
    package: Path

    @property
    def paths(self) -> list[Path]:
        """All that must be readable, as named and with links followed."""
        return [self.python, *(path.resolve() for path in (self.python, self.base, self.package))]

    @property
    def command(self) -> tuple[str, ...]:
        """What runs a command of ours, whatever directory and environment that is in."""
        return (str(self.python), "-I", "-m", "smtppseudo")


def this_program() -> Program:
    """Return the program that runs now."""
    package = Path(__file__).parents[1]
    return Program(Path(sys.executable), Path(sys.base_prefix), Path(sys.prefix), package)
