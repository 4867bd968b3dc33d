"""The state directory: after any error or crash a file is its old version or the new one."""

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
    """Stands for the end of the process: no code after it counts."""


def replace_in_os(monkeypatch: pytest.MonkeyPatch, **functions: Callable[..., Any]) -> None:
    """Replace system calls for the module `files` alone."""
    monkeypatch.setattr(files, "os", SimpleNamespace(**{**vars(os), **functions}))


@pytest.fixture
def state(tmp_path: Path) -> StateDir:
    state = StateDir(tmp_path / "state")
    state.write("name", OLD)
    return state


def test_a_file_is_written_in_binary_mode_where_there_is_another(
    state: StateDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Windows a descriptor translates LF to CRLF without this flag."""
    binary = 1 << 40  # no flag of this system
    seen: list[int] = []

    def open_with(path: Path, flags: int, mode: int = 0o777) -> int:
        seen.append(flags)
        return os.open(path, flags & ~binary, mode)

    monkeypatch.setattr(files, "os", SimpleNamespace(**{**vars(os), "O_BINARY": binary, "open": open_with}))
    state.write("name", NEW)
    assert seen[0] & binary


def names(state: StateDir) -> list[str]:
    return sorted(path.name for path in state.path.iterdir())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_written_file_is_read_back(state: StateDir) -> None:
    assert state.read("name") == OLD
    state.write("name", NEW)
    assert state.read("name") == NEW
    assert names(state) == ["name"]


def test_a_missing_file_reads_as_none(state: StateDir, tmp_path: Path) -> None:
    assert state.read("other") is None
    assert StateDir(tmp_path / "nowhere").read("name") is None


def test_a_file_that_cannot_be_read_is_an_error(state: StateDir) -> None:
    (state.path / "directory").mkdir()
    with pytest.raises(IsADirectoryError):
        state.read("directory")


def test_bytes_that_are_not_utf_8_are_replaced(state: StateDir) -> None:
    (state.path / "name").write_bytes(b"a\xffb")
    assert state.read("name") == "a\ufffdb"


def test_the_directory_is_open_to_owner_and_group_only(tmp_path: Path) -> None:
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


def test_a_secret_is_never_readable_by_others(state: StateDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is created with its mode: it has no other mode even for a moment."""
    modes: list[int] = []

    def write(fd: int, data: bytes) -> int:
        modes.append(stat.S_IMODE(os.fstat(fd).st_mode))
        return os.write(fd, data)

    replace_in_os(monkeypatch, write=write)
    state.write("name", NEW)
    assert set(modes) == {0o600}


def test_the_leftover_of_a_crash_is_replaced(state: StateDir) -> None:
    left = state.path / ".name.new"
    left.write_text("half")
    left.chmod(0o666)
    state.write("name", NEW)
    assert (state.read("name"), names(state), mode(state.path / "name")) == (NEW, ["name"], 0o600)


def test_links_are_replaced_not_followed(state: StateDir, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (state.path / ".name.new").symlink_to(victim)
    state.write("name", NEW)
    (state.path / "name").unlink()
    (state.path / "name").symlink_to(victim)
    state.write("name", NEW)
    assert victim.read_text() == "precious"
    assert (state.read("name"), (state.path / "name").is_symlink()) == (NEW, False)


def test_a_file_that_another_process_puts_in_the_way_is_not_written_to(
    state: StateDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An attacker who creates the temporary file first must not receive a secret through it."""
    theirs = state.path / ".name.new"
    theirs.write_text("theirs")
    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", lambda *arguments, **named: None)  # as if it appeared only after the unlink
        with pytest.raises(FileExistsError):
            state.write("name", NEW)
    assert (theirs.read_text(), state.read("name")) == ("theirs", OLD)


def test_removing_a_missing_file_is_no_error(state: StateDir) -> None:
    state.remove("name")
    state.remove("name")
    assert names(state) == []


def test_short_writes_are_continued(state: StateDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """write(2) may write a part, for example just before the disk is full."""
    replace_in_os(monkeypatch, write=lambda fd, data: os.write(fd, data[:3]))
    state.write("name", NEW)
    assert state.read("name") == NEW


def fails(error: BaseException) -> Callable[..., Any]:
    """Return a function that raises."""

    def fail(*arguments: object, **named: object) -> Any:
        raise error

    return fail


def test_a_file_that_is_a_mount_point_says_what_to_do(state: StateDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as a single file that is mounted into a container."""
    monkeypatch.setattr(Path, "replace", fails(OSError(errno.EBUSY, os.strerror(errno.EBUSY))))
    with pytest.raises(OSError, match="a mount point cannot be replaced; mount its directory instead"):
        state.write("name", NEW)
    assert (state.read("name"), names(state)) == (OLD, ["name"])


def test_a_disk_that_fills_up_during_a_write_leaves_the_old_file(
    state: StateDir, monkeypatch: pytest.MonkeyPatch
) -> None:
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
def test_an_error_leaves_the_old_file_and_no_temporary(
    state: StateDir, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    with monkeypatch.context() as patched:
        replace_in_os(patched, **{function: fails(OSError(errno.EIO, "Input/output error"))})
        with pytest.raises(OSError, match="Input/output error"):
            state.write("name", NEW)
    assert (state.read("name"), names(state)) == (OLD, ["name"])
    state.write("name", NEW)
    assert state.read("name") == NEW


def test_a_failed_rename_leaves_the_old_file_and_no_temporary(state: StateDir, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", fails(OSError(errno.EIO, "Input/output error")))
        with pytest.raises(OSError, match="Input/output error"):
            state.write("name", NEW)
    assert state.read("name") == OLD
    state.write("name", NEW)
    assert (state.read("name"), names(state)) == (NEW, ["name"])


class Steps:
    """Counts the system calls of a write; raises CrashError instead of call number `last` + 1."""

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


def test_the_system_calls_of_a_write(state: StateDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is synced before the rename, the directory after it: else a power cut may leave an empty file."""
    with monkeypatch.context() as patched:
        steps = Steps(patched, 99)
        state.write("name", NEW)
    taken = [step for step in steps.taken if step != "mkdir"]
    assert taken == ["unlink", "open", "write", "fsync", "close", "replace", "open", "fsync", "close"]


@pytest.mark.parametrize("last", range(11))
def test_a_crash_at_any_system_call_leaves_the_old_or_the_new_file(
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
