"""Root's privileges: dropped for good after the ports are open, with a check that no way back exists."""

import contextlib
import errno
import os
import shlex
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from smtppseudo.files import is_root

if TYPE_CHECKING:
    from pwd import struct_passwd

_DIRECTORY_MODE: Final = 0o750


class PrivilegeError(Exception):
    """The server cannot run as another user; the text is one line that says what to do."""


def find_user(name: str) -> "struct_passwd":
    """Return the entry in passwd(5) of the user that the server shall run as. Raises PrivilegeError."""
    if not hasattr(os, "setuid"):
        raise PrivilegeError("--run-as: this system cannot change a process's user; start the server as that user")
    if not is_root():
        raise PrivilegeError(f"--run-as {name}: only root can become another user; leave it out, or use sudo")
    import pwd  # noqa: PLC0415 - POSIX only

    try:
        user = pwd.getpwnam(name)
    except KeyError:
        advice = f"`useradd --system --user-group {shlex.quote(name)}` makes one"
        raise PrivilegeError(f"--run-as {name}: there is no such user; {advice}") from None
    if user.pw_uid != 0 and user.pw_gid == 0:
        raise PrivilegeError(f"--run-as {name}: its group is root's; use a user with a group of its own")
    return user


def make_directories(directories: Iterable[Path], user: "struct_passwd") -> None:
    """Create missing directories for a user; existing ones keep their owner. Raises PrivilegeError."""
    for directory in directories:
        if directory.exists():
            continue
        try:
            try:
                with _acting_as(user):
                    directory.mkdir(_DIRECTORY_MODE, parents=True)
            except PermissionError:
                _require_place_of_root(directory)
                directory.mkdir(_DIRECTORY_MODE, parents=True)
                _give_new_directory(directory, user)
        except OSError as error:
            argv = shlex.join(["install", "-d", "-o", user.pw_name, "-g", str(user.pw_gid), str(directory)])
            raise PrivilegeError(
                f"{directory}: {error.strerror}; cannot create it for user {user.pw_name}: `{argv}` does that"
            ) from None


@contextlib.contextmanager
def _acting_as(user: "struct_passwd") -> Iterator[None]:
    """Use a user's rights for files. Raises PermissionError if this process may not."""
    groups, group, own = os.getgroups(), os.getegid(), os.geteuid()
    try:
        os.setgroups([])
        os.setegid(user.pw_gid)
        os.seteuid(user.pw_uid)
        yield
    finally:
        os.seteuid(own)
        os.setegid(group)
        os.setgroups(groups)


def _require_place_of_root(directory: Path) -> None:
    """Raise OSError if another user owns a directory, or a link, on the way: that user could lead root elsewhere."""
    for path in (directory.absolute(), directory.resolve()):
        for each in reversed(path.parents):
            if each.exists() and each.lstat().st_uid != os.geteuid():
                raise OSError(errno.EPERM, f"{each} belongs to another user, and root creates nothing there")


def _give_new_directory(directory: Path, user: "struct_passwd") -> None:
    """Change the owner of a directory that root has just made. Raises OSError."""
    # A group that may write to its parent can have replaced it meanwhile, by a link or by another directory.
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if os.fstat(fd).st_uid != os.geteuid() or os.listdir(fd):  # noqa: PTH208 - of a descriptor
            raise OSError(errno.ESTALE, "it was replaced when it was just made")
        os.fchown(fd, user.pw_uid, user.pw_gid)
    finally:
        os.close(fd)


def become(user: "struct_passwd") -> None:
    """Change to another user for good, and check that no way back exists. Raises PrivilegeError."""
    try:
        os.setgroups([])
        # As root, both calls also set the saved id (setuid(2)), on every system.
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
    except OSError as error:
        raise PrivilegeError(f"cannot become user {user.pw_name}: {error.strerror}") from None
    if hasattr(os, "getresuid"):
        users, groups = set(os.getresuid()), set(os.getresgid())
    else:  # macOS, where the saved ids cannot be read; the attempts below would find them
        users, groups = {os.getuid(), os.geteuid()}, {os.getgid(), os.getegid()}
    is_user = (users, groups) == ({user.pw_uid}, {user.pw_gid})
    if not is_user or not set(os.getgroups()) <= {user.pw_gid}:  # some systems count the group itself
        raise PrivilegeError(f"did not become user {user.pw_name}, though the system says so; the server cannot start")
    calls: tuple[Callable[[Any], None], ...] = (os.setuid, os.seteuid, os.setgid, os.setegid, os.setgroups)
    for call in calls:
        try:
            call([0] if call is os.setgroups else 0)
        except PermissionError:
            continue
        raise PrivilegeError(f"user {user.pw_name} could become root again; are securebits set (capabilities(7))?")


def require_access(paths: Iterable[Path], user: "struct_passwd") -> None:
    """Check that this process, now of `user`, can read and write those of `paths` that exist. Raises PrivilegeError."""
    for path in paths:
        try:
            mode = os.R_OK | os.W_OK | (os.X_OK if path.is_dir() else 0)
            is_accessible = os.access(path, mode) or not path.exists()
        except PermissionError:
            is_accessible = False  # a directory above it is closed to this user
        if not is_accessible:
            advice = f"`chown -R {shlex.quote(user.pw_name)}: {shlex.quote(str(path))}` mends that"
            raise PrivilegeError(f"{path}: user {user.pw_name} cannot read and write it; {advice}")
