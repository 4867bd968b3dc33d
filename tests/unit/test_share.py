"""Man pages and completions match the parser and the settings, and are valid."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.running import CHECKOUT

SHARE = CHECKOUT / "smtppseudo" / "share"
MAN_PAGES = [SHARE / "man/man1/smtppseudo.1", SHARE / "man/man5/smtppseudo.toml.5"]


def files(directory: Path) -> dict[str, str]:
    found = (path for path in directory.rglob("*") if path.is_file())
    return {path.relative_to(directory).as_posix(): path.read_text() for path in found}


def test_man_pages_and_completions_match_the_parser(tmp_path: Path) -> None:
    subprocess.run([sys.executable, CHECKOUT / ".ci" / "share.py", tmp_path], check=True)
    fresh = files(tmp_path)
    assert len(fresh) == 5
    stale = [name for name, text in files(SHARE).items() if fresh.get(name) != text]
    assert (stale, sorted(files(SHARE))) == ([], sorted(fresh)), "run python3 .ci/share.py"


@pytest.mark.parametrize("page", MAN_PAGES, ids=lambda page: page.name)
@pytest.mark.parametrize(
    "check",
    [
        ["mandoc", "-T", "lint", "-W", "warning"],
        ["groff", "-man", "-T", "utf8", "-ww", "-z"],
    ],
    ids=lambda check: check[0],
)
def test_man_page_passes_the_linters(check: list[str], page: Path) -> None:
    if shutil.which(check[0]) is None:
        pytest.skip(f"{check[0]} is not installed")
    done = subprocess.run([*check, page], capture_output=True, text=True, check=False)
    assert done.stdout + done.stderr == ""


def test_parser_texts_contain_no_roff_request() -> None:
    requests = {each for page in MAN_PAGES for each in re.findall(r"^[.'](\S*)", page.read_text(), re.MULTILINE)}
    assert all(re.fullmatch("TH|SH|SS|PP|TP|RS|RE|B|I|BR|IR|RB|RI|br|nh|ad|nf|fi", each) for each in requests)
