"""Fixtures for the tests with faults."""

from collections.abc import Iterator

import pytest

from tests.monitors import Monitors, closing_monitors


@pytest.fixture
def monitors() -> Iterator[Monitors]:
    """Make connections to monitor ports, and close them at the end."""
    yield from closing_monitors()
