"""Tests. With SMTPPSEUDO_TEST_SELECTOR, servers inside and outside of the test process use that selector."""

import os
import runpy
from pathlib import Path

if os.environ.get("SMTPPSEUDO_TEST_SELECTOR"):
    # Before the first import of the package, which asks once which selector there is.
    runpy.run_path(str(Path(__file__).parent / "forced_selector" / "sitecustomize.py"))
