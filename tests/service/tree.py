"""Small Debian trees and the wheels for them, for the booted tests. Made once, kept in the user's cache."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.running import CHECKOUT


class Suite(NamedTuple):
    """A release of Debian, and the version of its Python."""

    name: str
    python: str


DEBIAN_12 = Suite("bookworm", "3.11")
DEBIAN_13 = Suite("trixie", "3.13")
SUITES = [
    pytest.param(DEBIAN_12, id=DEBIAN_12.name),
    pytest.param(DEBIAN_13, id=DEBIAN_13.name, marks=pytest.mark.slow),
]
"""The parameters of a fixture that boots a machine."""

PACKAGES = (
    *("systemd", "systemd-sysv", "libpam-systemd", "dbus", "python3", "python3-venv", "iproute2", "procps"),
    *("fail2ban", "python3-systemd", "man-db"),
)
_HOOK = 'chroot "$1" systemctl disable fail2ban'  # a test starts it
_LIMIT_S = 480.0


def pristine_tree(suite: Suite) -> Path:
    """Return a Debian tree that was never booted; do not boot it, copy it."""
    return tree_of(suite, PACKAGES, _HOOK)


def tree_of(suite: Suite, packages: Sequence[str], hook: str = "true", variant: str = "minbase") -> Path:
    """Return a small Debian tree with some packages; do not change it, copy it."""

    def make(directory: Path) -> None:
        options = [f"--variant={variant}", f"--include={','.join(packages)}", f"--customize-hook={hook}"]
        _run(["mmdebstrap", "--quiet", *options, suite.name, str(directory)])

    return cached(f"{suite.name}-{_digest([*packages, hook, *([] if variant == 'minbase' else [variant])])}", make)


def wheels_of_others(suite: Suite) -> Path:
    """Return a directory with the wheels that the package needs, at run time and to be built."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    needs: list[str] = project["project"]["dependencies"] + project["build-system"]["requires"]

    def make(directory: Path) -> None:
        only_wheels = ["--only-binary=:all:", f"--python-version={suite.python}"]
        _run([sys.executable, "-m", "pip", "download", "--quiet", *only_wheels, f"--dest={directory}", *needs])

    return cached(f"wheels-{suite.python}-{_digest(needs)}", make)


def build_wheel(directory: Path) -> Path:
    """Build the wheel of smtppseudo."""
    _run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(directory)])
    (wheel,) = directory.glob("smtppseudo-*.whl")
    return wheel


def cached(name: str, make: Callable[[Path], None]) -> Path:
    """Make a directory if it is missing; other processes that need it wait."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "smtppseudo-tests"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (cache / name).exists():
            aside = cache / f"{name}.new"
            if aside.exists():  # left by a killed run
                shutil.rmtree(aside)
            make(aside)
            aside.rename(cache / name)
    return cache / name


def _digest(words: Sequence[str]) -> str:
    return hashlib.sha256(" ".join(words).encode()).hexdigest()[:12]


def _run(words: list[str]) -> None:
    done = subprocess.run(
        words, cwd=CHECKOUT, capture_output=True, text=True, timeout=_LIMIT_S, check=False, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, f"{' '.join(words)}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
