"""What tests over real sockets start from, besides servers."""

from collections.abc import Iterator

import pytest

from tests.certificates import Certificate, make_certificate
from tests.monitors import Monitors, closing_monitors
from tests.running import Running, Servers


@pytest.fixture
def monitors() -> Iterator[Monitors]:
    """Connects to monitor ports; at the end every connection is closed."""
    yield from closing_monitors()


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """Somebody else's certificate."""
    return make_certificate(tmp_path_factory.mktemp("other"))


@pytest.fixture(scope="module")
def lasting_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Servers that run until the last test of the module. They are checked like those of `servers`."""
    servers = Servers(tmp_path_factory.mktemp("lasting"))
    try:
        yield servers
    finally:
        servers.stop_all()


@pytest.fixture(scope="module")
def unchanged(lasting_servers: Servers) -> Running:
    """A server with default settings for tests that neither change it nor look at its counters and log."""
    return lasting_servers.start()
