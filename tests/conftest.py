"""What tests of the whole server start from."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import Certificate, make_certificate
from tests.inside import Inside
from tests.running import Servers

MakeInside = Callable[..., Inside]


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
