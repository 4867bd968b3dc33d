"""nft(8), in a network of its own."""

import shutil
import subprocess
from pathlib import Path

import pytest

from smtppseudo.files import is_root
from tests.clients import LIMIT_S
from tests.loopback.rbldnsd import PATH

needs_nft = pytest.mark.skipif(not is_root() or shutil.which("nft", path=PATH) is None, reason="needs root and nft")


def run_with_nft(script: str, directory: Path) -> str:
    """Run a shell script that must print no error; return its output."""
    done = subprocess.run(
        ["unshare", "-n", "sh", "-c", script],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        env={"PATH": PATH},
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout
