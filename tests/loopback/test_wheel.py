"""Wheel and source archive: reproducible, and with the expected contents."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from smtppseudo import __version__
from smtppseudo.cli.guide import TOPICS
from tests.running import CHECKOUT

NAME = f"smtppseudo-{__version__}"
IN_WHEEL = re.compile(
    rf"""smtppseudo/([a-z_]+/)*[a-z0-9_]+\.py
    |smtppseudo/py\.typed
    |smtppseudo/monitor/PROTOCOL\.md
    |smtppseudo/guide/[a-z0-9-]+\.md
    |smtppseudo/tui/style\.tcss
    |smtppseudo/report/head\.html
    |{re.escape(NAME)}\.data/data/share/
        (man/man1/smtppseudo\.1
        |man/man5/smtppseudo\.toml\.5
        |bash-completion/completions/smtppseudo
        |zsh/site-functions/_smtppseudo
        |fish/vendor_completions\.d/smtppseudo\.fish)
    |{re.escape(NAME)}\.dist-info/(METADATA|RECORD|WHEEL|entry_points\.txt|licenses/LICENSE)""",
    re.VERBOSE,
)
IN_SOURCE = re.compile(
    rf"{re.escape(NAME)}/((smtppseudo|tests|\.ci|\.github)/.+|README\.md|CHANGELOG\.md|LICENSE|pyproject\.toml|\.gitignore|PKG-INFO)"
)
LEFT_OVER = re.compile(r"__pycache__|\.py[co]$|~$|\.orig$|\.rej$|\.swp$|\.egg-info")


def build(source: Path, destination: Path, umask: int) -> dict[str, bytes]:
    """Build both from `source`; return their bytes by name."""
    words = [sys.executable, "-m", "hatchling", "build", "-d", str(destination)]
    without_date = {name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"}
    subprocess.run(words, cwd=source, env=without_date, check=True, capture_output=True, umask=umask)
    return {path.name: path.read_bytes() for path in destination.iterdir()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    destination = tmp_path_factory.mktemp("dist")
    build(CHECKOUT, destination, 0o022)
    return destination


def test_wheel_is_reproducible(built: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    shutil.copytree(CHECKOUT, copy, ignore=shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache"))
    for path in copy.rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
        path.chmod(path.stat().st_mode & 0o700)
    again = build(copy, tmp_path / "dist", 0o077)
    assert sorted(again) == [f"{NAME}-py3-none-any.whl", f"{NAME}.tar.gz"]
    differ = [name for name, data in again.items() if data != (built / name).read_bytes()]
    assert differ == []


def test_wheel_contains_the_expected_files_and_no_others(built: Path) -> None:
    names = zipfile.ZipFile(built / f"{NAME}-py3-none-any.whl").namelist()
    assert [name for name in names if not IN_WHEEL.fullmatch(name)] == []
    modules = {path.relative_to(CHECKOUT).as_posix() for path in (CHECKOUT / "smtppseudo").rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == modules
    assert len([name for name in names if ".data/data/share/" in name]) == 5
    assert {f"smtppseudo/guide/{topic}.md" for topic in TOPICS} <= set(names)


def test_source_archive_contains_what_the_tests_need(built: Path) -> None:
    with tarfile.open(built / f"{NAME}.tar.gz") as archive:
        names = archive.getnames()
    assert [name for name in names if LEFT_OVER.search(name) or not IN_SOURCE.fullmatch(name)] == []
    assert {f"{NAME}/tests/conftest.py", f"{NAME}/tests/transcripts/helo.txt", f"{NAME}/.ci/run"} <= set(names)


def test_uninstalling_removes_every_file(built: Path, tmp_path: Path) -> None:
    pytest.importorskip("pip")
    environment = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    before = set(environment.rglob("*"))
    pip = [sys.executable, "-m", "pip", "--python", str(environment / "bin" / "python"), "--quiet"]
    wheel = str(built / f"{NAME}-py3-none-any.whl")
    for again in ([], ["--force-reinstall"]):
        subprocess.run([*pip, "install", "--no-deps", "--no-index", *again, wheel], check=True)
    done = subprocess.run([environment / "bin/smtppseudo", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"smtppseudo {__version__}\n"
    assert {path.name for path in (environment / "share").rglob("*") if path.is_file()} == {
        "smtppseudo",
        "_smtppseudo",
        "smtppseudo.1",
        "smtppseudo.toml.5",
        "smtppseudo.fish",
    }
    subprocess.run([*pip, "uninstall", "--yes", "smtppseudo"], check=True)
    assert {path for path in environment.rglob("*") if path.is_file()} <= before
