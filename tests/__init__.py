"""Tests. With SMTPPSEUDO_TEST_SELECTOR, servers inside and outside of the test process use that selector."""

import os
import runpy
from pathlib import Path

SELECTOR = os.environ.get("SMTPPSEUDO_TEST_SELECTOR", "")
"""`poll` or `select`; empty = the usual selector."""
ON_WINDOWS = os.name == "nt"
FORCED_SELECTOR = Path(__file__).resolve().parent / "forced_selector"
"""The directory that makes Python use it, if it is in PYTHONPATH."""

if SELECTOR:
    # Before the first import of the package, which asks once which selector there is.
    runpy.run_path(str(FORCED_SELECTOR / "sitecustomize.py"))
