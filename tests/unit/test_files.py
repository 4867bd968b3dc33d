"""The state directory: each file is the old one or the new one, whatever fails and whenever it ends."""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from smtppseudo import files
from smtppseudo.files import StateDir

OLD, NEW = "old\n", "new and longer\n"
MODE_MASK = 0o777


class CrashError(BaseException):
    """The process is gone: nothing that would still run matters."""


def replace_in_os(monkeypatch: pytest.MonkeyPatch, **functions: Callable[..., Any]) -> None:
    """Give the state directory, and nobody else, other system calls."""
    monkeypatch.setattr(files, "os", SimpleNamespace(**{**vars(os), **functions}))


@pytest.fixture
def state(tmp_path: Path) -> StateDir:
    state = StateDir(tmp_path / "state")
    state.write("name", OLD)
    return state


def names(state: StateDir) -> list[str]:
    return sorted(path.name for path in state.path.iterdir())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_what_is_written_is_read(state: StateDir) -> None:
    assert state.read("name") == OLD
    state.write("name", NEW)
    assert state.read("name") == NEW
    assert names(state) == ["name"]


def test_a_file_that_is_not_there_is_none(state: StateDir, tmp_path: Path) -> None:
    assert state.read("other") is None
    assert StateDir(tmp_path / "nowhere").read("name") is None


def test_a_file_that_cannot_be_read_is_an_error(state: StateDir) -> None:
    (state.path / "directory").mkdir()
    with pytest.raises(IsADirectoryError):
        state.read("directory")


def test_bytes_that_are_no_text_are_read_all_the_same(state: StateDir) -> None:
    (state.path / "name").write_bytes(b"a\xffb")
    assert state.read("name") == "a\ufffdb"


def test_the_directory_is_made_for_owner_and_group(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        StateDir(tmp_path / "a" / "b").write("name", OLD)
    finally:
        os.umask(before)
    assert mode(tmp_path / "a" / "b") == 0o750


@pytest.mark.parametrize("umask", [0, 0o027, 0o077])
def test_the_mode_is_as_given_whatever_the_umask(state: StateDir, umask: int) -> None:
    before = os.umask(umask)
    try:
        state.write("secret", OLD)
        state.write("name", NEW)
        state.write("for all", NEW, mode=0o644)
    finally:
        os.umask(before)
    assert (mode(state.path / "secret"), mode(state.path / "name")) == (0o600, 0o600)
    assert mode(state.path / "for all") == 0o644


def test_a_secret_is_never_readable_by_others_not_even_for_a_moment(
    state: StateDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is opened with its mode, not given it afterwards."""
    modes: list[int] = []

    def write(fd: int, data: bytes) -> int:
        modes.append(stat.S_IMODE(os.fstat(fd).st_mode))
        return os.write(fd, data)

    replace_in_os(monkeypatch, write=write)
    state.write("name", NEW)
    assert set(modes) == {0o600}


def test_what_was_left_by_a_crash_is_replaced(state: StateDir) -> None:
    left = state.path / ".name.new"
    left.write_text("half")
    left.chmod(0o666)
    state.write("name", NEW)
    assert (state.read("name"), names(state), mode(state.path / "name")) == (NEW, ["name"], 0o600)


def test_no_link_is_followed(state: StateDir, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (state.path / ".name.new").symlink_to(victim)
    state.write("name", NEW)
    (state.path / "name").unlink()
    (state.path / "name").symlink_to(victim)
    state.write("name", NEW)
    assert victim.read_text() == "precious"
    assert (state.read("name"), (state.path / "name").is_symlink()) == (NEW, False)


def test_nothing_is_written_into_what_another_put_there_meanwhile(
    state: StateDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is fast enough to put a file or a link where we write aside gets no secret by it."""
    theirs = state.path / ".name.new"
    theirs.write_text("theirs")
    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", lambda *arguments, **named: None)  # as if it came only after that
        with pytest.raises(FileExistsError):
            state.write("name", NEW)
    assert (theirs.read_text(), state.read("name")) == ("theirs", OLD)


def test_removing_what_is_not_there_is_no_error(state: StateDir) -> None:
    state.remove("name")
    state.remove("name")
    assert names(state) == []


def test_a_write_that_takes_little_at_a_time(state: StateDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """POSIX lets write(2) take a part, as it does before a disk is full or a limit reached."""
    replace_in_os(monkeypatch, write=lambda fd, data: os.write(fd, data[:3]))
    state.write("name", NEW)
    assert state.read("name") == NEW


def fails(error: BaseException) -> Callable[..., Any]:
    """Return a function that raises."""

    def fail(*arguments: object, **named: object) -> Any:
        raise error

    return fail


def test_a_disk_that_becomes_full_in_the_middle(state: StateDir, monkeypatch: pytest.MonkeyPatch) -> None:
    room = [5]

    def write(fd: int, data: bytes) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = os.write(fd, data[: room[0]])
        room[0] -= taken
        return taken

    replace_in_os(monkeypatch, write=write)
    with pytest.raises(OSError, match="No space left on device"):
        state.write("name", NEW)
    assert (state.read("name"), names(state)) == (OLD, ["name"])


@pytest.mark.parametrize("function", ["open", "write", "fsync"])
def test_an_error_changes_nothing_and_leaves_nothing(
    state: StateDir, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    with monkeypatch.context() as patched:
        replace_in_os(patched, **{function: fails(OSError(errno.EIO, "Input/output error"))})
        with pytest.raises(OSError, match="Input/output error"):
            state.write("name", NEW)
    assert (state.read("name"), names(state)) == (OLD, ["name"])
    state.write("name", NEW)
    assert state.read("name") == NEW


def test_a_rename_that_fails_changes_nothing(state: StateDir, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", fails(OSError(errno.EIO, "Input/output error")))
        with pytest.raises(OSError, match="Input/output error"):
            state.write("name", NEW)
    assert state.read("name") == OLD
    state.write("name", NEW)
    assert (state.read("name"), names(state)) == (NEW, ["name"])


class Steps:
    """Counts the system calls of a write, and ends the process before the one with a number."""

    def __init__(self, patched: pytest.MonkeyPatch, last: int) -> None:
        self.taken: list[str] = []
        self._last = last
        calls = {name: self._counted(name, getattr(os, name)) for name in ("open", "write", "fsync", "close")}
        replace_in_os(patched, **calls)
        for name in ("unlink", "replace", "mkdir"):
            patched.setattr(Path, name, self._counted(name, getattr(Path, name)))

    def _counted(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any, **named: Any) -> Any:
            if len(self.taken) >= self._last:
                raise CrashError
            self.taken.append(name)
            return real(*arguments, **named)

        return step


def test_the_order_of_a_write(state: StateDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """Synced before it is renamed, and the directory after: else a power cut may leave an empty file."""
    with monkeypatch.context() as patched:
        steps = Steps(patched, 99)
        state.write("name", NEW)
    taken = [step for step in steps.taken if step != "mkdir"]
    assert taken == ["unlink", "open", "write", "fsync", "close", "replace", "open", "fsync", "close"]


@pytest.mark.parametrize("last", range(11))
def test_the_end_at_any_moment_leaves_the_old_or_the_new(
    state: StateDir, monkeypatch: pytest.MonkeyPatch, last: int
) -> None:
    with monkeypatch.context() as patched:
        steps = Steps(patched, last)
        try:
            state.write("name", NEW)
        except CrashError:
            pass
    assert state.read("name") == (NEW if "replace" in steps.taken else OLD)
    assert set(names(state)) <= {"name", ".name.new"}
    again = StateDir(state.path)
    again.write("name", "next\n")
    assert (again.read("name"), names(again)) == ("next\n", ["name"])
