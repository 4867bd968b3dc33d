"""Uninstalling: the steps that remove the service, and with `purge` all that it wrote."""

import re
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from smtppseudo.service.layout import Layout, read
from smtppseudo.service.steps import Step
from smtppseudo.service.systemd import Systemd, ToolError, run_tool
from smtppseudo.service.units import UNITS, USER, USER_GECOS


def uninstall_steps(layout: Layout, systemd: Systemd, *, purge: bool) -> Iterator[Step]:
    """Yield the steps; none if nothing is installed."""
    files = layout.installed()
    units = [path.name for path in files if path.name in UNITS]
    if units:
        if systemd.root is None:
            # The sockets come first in UNITS: they would start the service again for the next caller.
            yield Step("stop it", "stopped it", partial(systemd.run, "stop", *units))
        yield Step("disable it", "disabled it", partial(systemd.run, "disable", *units))
    for path in files:
        yield Step(f"remove {path}", f"removed {path}", path.unlink)
    if units and systemd.root is None:
        yield Step("reload systemd", "reloaded systemd", partial(_reload_systemd, systemd, units))
    if purge:
        yield from _purge_steps(layout, systemd.root)


def _reload_systemd(systemd: Systemd, units: list[str]) -> None:
    systemd.run("daemon-reload")
    try:
        systemd.run("reset-failed", *units)
    except ToolError:
        pass  # no unit had failed


def _purge_steps(layout: Layout, root: Path | None) -> Iterator[Step]:
    for path in (*layout.drop_ins(), *layout.data, layout.settings):
        if path.is_symlink():
            yield Step(f"remove the link {path}", f"removed the link {path}", path.unlink)
        elif path.is_dir():
            yield Step(f"remove {path}", f"removed {path}", partial(shutil.rmtree, path))
    if layout.sysusers is not None and _has_service_user(root or Path("/")):
        yield Step(f"remove the user {USER}", f"removed user and group {USER}", partial(_remove_user, root))


def _has_service_user(root: Path) -> bool:
    """Return whether the user that the install made exists; another user of that name has another GECOS field."""
    # passwd(5): name:password:uid:gid:gecos:directory:shell
    entry = rf"^{USER}:[^:\n]*:[0-9]+:[0-9]+:{USER_GECOS}:"
    return re.search(entry, read(root / "etc/passwd"), re.MULTILINE) is not None


def _remove_user(root: Path | None) -> None:
    where = [] if root is None else ["--prefix", str(root)]
    run_tool("userdel", *where, USER)
    # userdel leaves a group that has other members.
    if re.search(rf"^{USER}:", read((root or Path("/")) / "etc/group"), re.MULTILINE):
        run_tool("groupdel", *where, USER)
