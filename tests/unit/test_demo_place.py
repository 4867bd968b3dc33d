"""The demo's directory: nothing outlasts it, and what killed runs left goes, but nothing that is anybody's."""

import fcntl
import os
import stat
import tempfile
from pathlib import Path

import pytest

from smtppseudo.demo.place import Place, remove_leftovers


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def leftover(temporary: Path, name: str = "smtppseudo-demo-abc") -> Path:
    path = temporary / name
    (path / "state").mkdir(parents=True)
    (path / "state" / "cookie").write_text("secret")
    (path / "lock").touch()
    return path


def test_it_is_ours_alone_and_gone_at_the_end(temporary: Path) -> None:
    with Place() as place:
        assert place.path.parent == temporary
        assert stat.S_IMODE(place.path.stat().st_mode) == 0o700
        (place.path / "state").mkdir()
        (place.path / "state" / "cookie").touch()
    assert list(temporary.iterdir()) == []
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(place.lock_fd)


def test_it_is_gone_after_an_error(temporary: Path) -> None:
    with pytest.raises(KeyError), Place():
        raise KeyError
    assert list(temporary.iterdir()) == []


def test_what_a_killed_run_left_is_removed(temporary: Path) -> None:
    leftover(temporary)
    with Place() as place:
        assert list(temporary.iterdir()) == [place.path]


def test_another_run_is_left_alone(temporary: Path) -> None:
    with Place() as one, Place() as other:
        assert sorted(temporary.iterdir()) == sorted([one.path, other.path])


def test_an_inherited_lock_keeps_it(temporary: Path) -> None:
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


def test_what_is_not_ours_is_left_alone(temporary: Path) -> None:
    elsewhere = leftover(temporary, "elsewhere")
    (temporary / "smtppseudo-demo-link").symlink_to(elsewhere)
    (temporary / "smtppseudo-demo-file").touch()
    (temporary / "smtppseudo-demo-nolock").mkdir()
    (temporary / "smtppseudo-demo-linked").mkdir()
    (temporary / "smtppseudo-demo-linked" / "lock").symlink_to(elsewhere / "lock")
    before = sorted(temporary.rglob("*"))
    remove_leftovers()
    assert sorted(temporary.rglob("*")) == before


def test_a_directory_of_another_user_is_left_alone(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = leftover(temporary)
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    remove_leftovers()
    assert path.exists()
