"""The layout of the package, and the one version that stands in two places."""

import ast
import tomllib
from typing import Final

from tests.running import CHECKOUT
from tests.tui.test_snapshots import TEXTUAL

ENTRIES_MAX: Final = 20
NOT_COUNTED: Final = {"__init__.py", "__main__.py", "py.typed", "__pycache__"}


def test_the_package_has_few_entries() -> None:
    entries = {path.name for path in (CHECKOUT / "smtppseudo").iterdir() if path.suffix != ".so"} - NOT_COUNTED
    assert len(entries) <= ENTRIES_MAX, sorted(entries)


def test_old_pythons_can_read_the_file_that_says_which_one_is_needed() -> None:
    for name in ("__init__.py", "__main__.py"):
        source = (CHECKOUT / "smtppseudo" / name).read_text()
        ast.parse(source, feature_version=(3, 4))
        assert 'f"' not in source


def test_the_extra_test_pins_the_textual_of_the_pictures() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    assert f"textual=={TEXTUAL}" in project["optional-dependencies"]["test"]
