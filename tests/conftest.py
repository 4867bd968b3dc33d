"""How the tests are run, and the fixtures that tests of the whole server use."""

import compileall
import gc
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.certificates import Certificate, make_certificate
from tests.inside import Inside
from tests.running import CHECKOUT, Servers

MakeInside = Callable[..., Inside]

TESTS = Path(__file__).parent
LONG_FIRST = ("service", "tui", "faults", "loopback")
"""Directories whose files run longest."""

# No limit in time, as a busy machine is no fault. Examples are random, so every run looks somewhere new;
# a failure prints the decorator that repeats it.
settings.register_profile("smtppseudo", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("smtppseudo")


def pytest_configure(config: pytest.Config) -> None:
    """Compile the package once, as the commands that tests start write no bytecode."""
    if not hasattr(config, "workerinput"):
        compileall.compile_dir(CHECKOUT / "smtppseudo", quiet=2)


def pytest_xdist_auto_num_workers() -> int | None:
    """Return two workers per core for `-n auto`, because the tests wait about half of the time."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None  # the plugin reads it
    return min(16, 2 * len(os.sched_getaffinity(0)))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Exclude all collected tests from garbage collection.

    They are 200,000 objects, and a collection of them takes longer than most tests.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put long files first, so that at the end no worker runs a long one while the others are idle."""
    items.sort(key=_by_length)


def _by_length(item: pytest.Item) -> int:
    directory = item.path.relative_to(TESTS).parts[0]
    return LONG_FIRST.index(directory) if directory in LONG_FIRST else len(LONG_FIRST)


@pytest.fixture(scope="session", autouse=True)
def signals() -> None:
    """Ctrl-C and a hang-up reach what the tests start, though `nohup` or `&` had them ignored."""
    for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    """Servers as processes; at the end each must end with 0, without a traceback, with no bug in its log."""
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
    """Makes a server in this thread, of settings given by name, with a clock that stands still."""
    made: list[Inside] = []

    def make(**settings: Any) -> Inside:
        made.append(Inside(tmp_path / f"inside{len(made)}", settings))
        return made[-1]

    yield make
    for each in made:
        each.close()
