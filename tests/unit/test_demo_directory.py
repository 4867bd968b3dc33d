"""The demo's directory: it is removed at the end, as are those of killed runs, and nothing else."""

import os
import stat
import tempfile
from pathlib import Path

import pytest

from smtppseudo.demo.process import DemoDirectory, remove_leftovers

fcntl = pytest.importorskip("fcntl", reason="POSIX only")


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def leftover(temporary: Path, name: str = "smtppseudo-demo-abc") -> Path:
    path = temporary / name
    (path / "state").mkdir(parents=True)
    (path / "state" / "cookie").write_text("secret")
    (path / "lock").touch()
    return path


def test_it_is_private_and_removed_at_the_end(temporary: Path) -> None:
    with DemoDirectory() as directory:
        assert directory.path.parent == temporary
        assert stat.S_IMODE(directory.path.stat().st_mode) == 0o700
        (directory.path / "state").mkdir()
        (directory.path / "state" / "cookie").touch()
    assert list(temporary.iterdir()) == []
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(directory.lock_fd)


def test_it_is_removed_after_an_error(temporary: Path) -> None:
    with pytest.raises(KeyError), DemoDirectory():
        raise KeyError
    assert list(temporary.iterdir()) == []


def test_the_directory_of_a_killed_run_is_removed(temporary: Path) -> None:
    leftover(temporary)
    with DemoDirectory() as directory:
        assert list(temporary.iterdir()) == [directory.path]


def test_the_directory_of_another_run_stays(temporary: Path) -> None:
    with DemoDirectory() as one, DemoDirectory() as other:
        assert sorted(temporary.iterdir()) == sorted([one.path, other.path])


def test_an_inherited_lock_keeps_a_directory(temporary: Path) -> None:
    path = leftover(temporary)
    lock_fd = os.open(path / "lock", os.O_RDWR)
    fcntl.flock(lock_fd, fcntl.LOCK_EX)
    inherited = os.dup(lock_fd)
    os.close(lock_fd)
    remove_leftovers()
    assert path.exists()
    os.close(inherited)
    remove_leftovers()
    assert not path.exists()


def test_files_that_are_not_of_a_demo_stay(temporary: Path) -> None:
    elsewhere = leftover(temporary, "elsewhere")
    (temporary / "smtppseudo-demo-link").symlink_to(elsewhere)
    (temporary / "smtppseudo-demo-file").touch()
    (temporary / "smtppseudo-demo-nolock").mkdir()
    (temporary / "smtppseudo-demo-linked").mkdir()
    (temporary / "smtppseudo-demo-linked" / "lock").symlink_to(elsewhere / "lock")
    before = sorted(temporary.rglob("*"))
    remove_leftovers()
    assert sorted(temporary.rglob("*")) == before


def test_a_directory_of_another_user_stays(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = leftover(temporary)
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    remove_leftovers()
    assert path.exists()
