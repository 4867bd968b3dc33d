"""What tests over real sockets start from, besides servers."""

from collections.abc import Iterator

import pytest

from tests import ON_WINDOWS
from tests.certificates import Certificate, make_certificate
from tests.monitors import Monitors, closing_monitors
from tests.running import Running, Servers

# What these modules test is not on Windows, or not what they test it with: other programs, signals, terminals.
_NOT_ON_WINDOWS = """
    bind blocklist_readers blocklist_served command_line completions demo fail2ban guide_blocks guide_pager haproxy
    log_shipping log_to_stdout one_list pyz recorded reverse_dns run_as screen sd_listen sd_notify select senders
    several_servers soak system_calls terminal_output wheel
"""
collect_ignore = [f"test_{name}.py" for name in _NOT_ON_WINDOWS.split()] if ON_WINDOWS else []


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
