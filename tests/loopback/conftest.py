"""What tests over real sockets start from, besides servers."""

from collections.abc import Iterator

import pytest

from tests.certificates import Certificate, make_certificate
from tests.monitors import Monitors, closing_monitors


@pytest.fixture
def monitors() -> Iterator[Monitors]:
    """Connects to monitor ports; at the end every connection is closed."""
    yield from closing_monitors()


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """Somebody else's certificate."""
    return make_certificate(tmp_path_factory.mktemp("other"))
