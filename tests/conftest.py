"""How the tests are run, and the fixtures that tests of the whole server use."""

import compileall
import gc
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.certificates import Certificate, make_certificate
from tests.inside import Inside
from tests.running import CHECKOUT, Servers
from tests.tmux import Tmux

MakeInside = Callable[..., Inside]

TESTS = Path(__file__).parent
LONG_FIRST = ("service", "tui", "faults", "loopback")
"""The directories with the longest files."""

# No time limits: a busy machine is not a fault. Examples are random, so each run tries new ones.
# A failure prints the decorator that reproduces it.
settings.register_profile("smtppseudo", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("smtppseudo")


def pytest_configure(config: pytest.Config) -> None:
    """Compile the package once, because the commands that tests start write no bytecode."""
    if not hasattr(config, "workerinput"):
        compileall.compile_dir(CHECKOUT / "smtppseudo", quiet=2)


@pytest.hookimpl(wrapper=True)
def pytest_xdist_auto_num_workers() -> Generator[None, int, int]:
    """Start two workers per core for `-n auto`, because the tests wait half of the time."""
    count = yield
    return count if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ else min(16, 2 * count)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Exclude the collected tests from garbage collection.

    They are 200,000 objects. One collection of them takes longer than most tests.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put long files first. Otherwise one worker runs a long file at the end, while the others are idle."""
    items.sort(key=_by_length)


def _by_length(item: pytest.Item) -> int:
    directory = item.path.relative_to(TESTS).parts[0]
    return LONG_FIRST.index(directory) if directory in LONG_FIRST else len(LONG_FIRST)


@pytest.fixture(scope="session", autouse=True)
def signals() -> None:
    """Undo what `nohup` and `&` do: they ignore some signals, and programs that tests start inherit that."""
    defaults: dict[int, Any] = {signal.SIGINT: signal.default_int_handler}
    for name in ("SIGHUP", "SIGQUIT"):
        if hasattr(signal, name):
            defaults[getattr(signal, name)] = signal.SIG_DFL
    for number, default in defaults.items():
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, default)


@pytest.fixture
def tmux(tmp_path: Path) -> Iterator[Tmux]:
    """A real terminal."""
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not installed")
    tmux = Tmux(tmp_path)
    yield tmux
    subprocess.run(["tmux", "-S", str(tmp_path / "tmux"), "kill-server"], capture_output=True, check=False)


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    """Servers as processes. At the end, each must exit with status 0, without a traceback or a bug in its log."""
    servers = Servers(tmp_path)
    try:
        yield servers
    finally:
        servers.stop_all()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate with its key."""
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def inside(tmp_path: Path) -> Iterator[MakeInside]:
    """A function that makes a server in this thread, from settings by name, with a clock that stands still."""
    made: list[Inside] = []

    def make(**settings: Any) -> Inside:
        made.append(Inside(tmp_path / f"inside{len(made)}", settings))
        return made[-1]

    yield make
    for each in made:
        each.close()
