"""Removing: the steps that undo an install; and with it, if that is wished, all that the service wrote."""

import re
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from smtppseudo.service.layout import Layout, read
from smtppseudo.service.steps import Step
from smtppseudo.service.systemd import Systemd, ToolError, call
from smtppseudo.service.units import UNITS, USER, USER_SAYS


def remove(layout: Layout, systemd: Systemd, *, purge: bool) -> Iterator[Step]:
    """Give the steps; none where there is nothing to remove."""
    files = layout.installed()
    units = [path.name for path in files if path.name in UNITS]
    if units:
        if systemd.root is None:
            # The sockets first: they would start the service again for the next that calls.
            yield Step("stop it", "stopped it", partial(systemd.do, "stop", *units))
        yield Step("disable it", "disabled it", partial(systemd.do, "disable", *units))
    for path in files:
        yield Step(f"remove {path}", f"removed {path}", path.unlink)
    if units and systemd.root is None:
        yield Step("reload systemd", "reloaded systemd", partial(_forget, systemd, units))
    if purge:
        yield from _purge(layout, systemd.root)


def _forget(systemd: Systemd, units: list[str]) -> None:
    systemd.do("daemon-reload")
    try:
        systemd.do("reset-failed", *units)
    except ToolError:
        pass  # nothing had failed


def _purge(layout: Layout, root: Path | None) -> Iterator[Step]:
    for path in (*layout.drop_ins(), *layout.data, layout.settings):
        if path.is_symlink():
            yield Step(f"remove the link {path}", f"removed the link {path}", path.unlink)
        elif path.is_dir():
            yield Step(f"remove {path}", f"removed {path}", partial(shutil.rmtree, path))
    if layout.sysusers is not None and _has_our_user(root or Path("/")):
        yield Step(f"remove the user {USER}", f"removed user and group {USER}", partial(_remove_user, root))


def _has_our_user(root: Path) -> bool:
    """Say whether there is the user that was made for the service, not one of the same name."""
    # passwd(5): name:password:uid:gid:gecos:directory:shell
    entry = rf"^{USER}:[^:\n]*:[0-9]+:[0-9]+:{USER_SAYS}:"
    return re.search(entry, read(root / "etc/passwd"), re.MULTILINE) is not None


def _remove_user(root: Path | None) -> None:
    where = [] if root is None else ["--prefix", str(root)]
    call("userdel", *where, USER)
    # userdel leaves a group that has other members.
    if re.search(rf"^{USER}:", read((root or Path("/")) / "etc/group"), re.MULTILINE):
        call("groupdel", *where, USER)
