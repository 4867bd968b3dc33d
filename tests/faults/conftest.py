"""What tests with faults start from, besides servers."""

from collections.abc import Iterator

import pytest

from tests.monitors import Monitors, closing_monitors


@pytest.fixture
def monitors() -> Iterator[Monitors]:
    """Connects to monitor ports; at the end every connection is closed."""
    yield from closing_monitors()
