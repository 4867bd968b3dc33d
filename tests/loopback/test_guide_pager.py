"""`guide` and `report` on a terminal: a page and tables go through the pager, the list of pages does not."""

from pathlib import Path

import pytest

from tests.documents import TEXTS
from tests.loopback.commands import Terminal
from tests.loopback.test_report import write_day


@pytest.fixture
def pager(tmp_path: Path) -> dict[str, str]:
    """Return an environment with a pager that marks what it shows."""
    path = tmp_path / "pager"
    path.write_text("#!/bin/sh\necho paged:\nexec cat\n")
    path.chmod(0o755)
    return {"PAGER": str(path), "MANPAGER": "", "TERM": "xterm"}


def test_a_page_goes_through_the_pager(pager: dict[str, str]) -> None:
    with Terminal("guide", "tarpit", **pager) as terminal:
        status, shown = terminal.end()
    assert (status, shown.replace("\r\n", "\n")) == (0, f"paged:\n{TEXTS['tarpit']}")


def test_the_list_of_pages_does_not(pager: dict[str, str]) -> None:
    with Terminal("guide", **pager) as terminal:
        status, shown = terminal.end()
    assert (status, "paged:" in shown, "  tarpit " in shown) == (0, False, True)


def test_tables_go_through_the_pager_in_colour(pager: dict[str, str], tmp_path: Path) -> None:
    write_day(tmp_path / "log", "2026-11-24", "192.0.2.1")
    with Terminal("report", str(tmp_path / "log"), **pager, LANG="C.UTF-8") as terminal:
        status, shown = terminal.end()
    assert (status, shown[:11], "\x1b[34m█" in shown) == (0, "paged:\r\nfro", True)
