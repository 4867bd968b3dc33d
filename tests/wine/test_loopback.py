"""The loopback tests by a Python for Windows, under Wine: server, commands and client side, without the service.

Their `conftest.py` lists the modules that mean nothing there, and `not_on_windows` marks the tests. The page `windows`
says what Wine cannot show.
"""

import re
from pathlib import Path

import pytest

from tests.certificates import prepare_certificates
from tests.loopback.namespaces import Cable, inside, namespaces
from tests.wine.wine import windows_path, wine

LIMIT_S = 1200.0
LEAST = 450

pytestmark = [pytest.mark.timeout(LIMIT_S + 300), pytest.mark.slow]


def test_the_loopback_tests_pass(tmp_path: Path) -> None:
    prepare_certificates(tmp_path / "certificates")
    with namespaces(1) as (pid,), wine(tmp_path, Cable(inside(pid), [])) as windows:
        windows.environment |= {
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUTF8": "1",
            "SMTPPSEUDO_TEST_CERTIFICATES": windows_path(tmp_path / "certificates"),
        }
        options = ["-p", "no:cacheprovider", "-n", "4", "-o", "timeout=120", "tests/loopback"]
        done = windows.run(windows.python, "-m", "pytest", *options, limit_s=LIMIT_S)
    assert done.returncode == 0, done.stdout[-200_000:]
    (passed,) = re.findall(r"(\d+) passed", done.stdout.splitlines()[-1])
    assert int(passed) >= LEAST, done.stdout[-2_000:]
