"""The command line's parser imports only the command that argv names."""

import subprocess
import sys

import pytest

from tests.running import CHECKOUT

SHARED = {"access", "exits", "messages", "options", "parser", "places"}
CODE = """
import sys
from smtppseudo.cli import main
try:
    main()
except SystemExit:
    pass
names = [name.removeprefix("smtppseudo.cli.") for name in sys.modules if name.startswith("smtppseudo.cli.")]
print(*names, file=sys.stderr)
"""


def modules_of(*argv: str) -> set[str]:
    """Return the modules of smtppseudo.cli that a command imports."""
    done = subprocess.run(
        [sys.executable, "-c", CODE, *argv], cwd=CHECKOUT, capture_output=True, text=True, check=True, timeout=30
    )
    return set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize(
    ("argv", "own"),
    [
        (["serve", "--help"], {"serve"}),
        (["unset", "--help"], {"unset", "set"}),
        (["watch", "--help"], {"watch"}),
        (["report", "--help"], {"report", "log_files", "periods"}),
        (["--", "serve", "--help"], {"serve"}),
        (["--help"], set()),
        (["--version"], set()),
        (["nonsense"], set()),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_only_the_named_command_is_imported(argv: list[str], own: set[str]) -> None:
    assert modules_of(*argv) - SHARED == own
