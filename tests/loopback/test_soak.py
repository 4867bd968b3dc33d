"""The soak in small: visitors of all kinds, and counters, log and monitor agree to the byte."""

import os
from pathlib import Path

import pytest

from tests import SELECTOR
from tests.bench.soak import soak, table

SESSIONS = int(os.environ.get("SMTPPSEUDO_TEST_SOAK", "2000"))


@pytest.mark.skipif(SELECTOR == "select", reason="needs 4,000 slots; select(2) watches at most 1,024 descriptors")
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux")
@pytest.mark.timeout(120 + SESSIONS // 100)
def test_soak(tmp_path: Path) -> None:
    checks = soak(tmp_path, SESSIONS)
    assert all(check.good for check in checks), f"\n{table(checks)}"
