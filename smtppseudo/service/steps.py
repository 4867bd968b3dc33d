"""The steps that install the service, upgrade it or remove it."""

import contextlib
import re
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from smtppseudo.net.addresses import HOST_NET
from smtppseudo.service import units
from smtppseudo.service.layout import Layout, make_directory, read, write
from smtppseudo.service.systemd import Systemd, ToolError, run_tool
from smtppseudo.service.units import SERVICE, SOCKETS, UNITS, USER, Endpoint, Plan

_START_TIMEOUT_S: Final = 30.0
_POLL_S: Final = 0.1
_LINE_BYTES_MAX: Final = 1024
_LOOPBACKS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}
# Of an SMTP server any code: with reject_at = "connect" it is 5yz. The other one is a monitor port.
_FIRST_LINES: Final = (re.compile(rb"[0-9]{3}[ -]"), re.compile(rb'\{"type":"hello",'))
_ADVICE: Final = f"`systemctl status {SERVICE}` and `journalctl -u {SERVICE}` say more"


class Step(NamedTuple):
    """One change, named as an error names it (`start it`) and as it is reported afterwards (`started it`)."""

    doing: str
    done: str
    act: Callable[[], object]  # may raise OSError and ToolError


def service_files(plan: Plan, layout: Layout) -> dict[Path, str]:
    """Return the files of the service with their texts."""
    files = {} if layout.sysusers is None else {layout.sysusers: units.SYSUSERS_TEXT}
    return files | {layout.units / name: text for name, text in units.unit_texts(plan).items()}


def install_steps(plan: Plan, layout: Layout, systemd: Systemd, *, enable: bool, start: bool) -> Iterator[Step]:
    """Yield the steps. In a tree that is not booted nothing is started, even with `start`."""
    files = service_files(plan, layout)
    changed = [path for path, text in files.items() if read(path) != text]
    must_close = any(path.exists() for path in changed if path.name in SOCKETS)
    for path in changed:
        yield Step(f"write {path}", f"wrote {path}", partial(write, path, files[path]))
    if layout.sysusers is not None:
        root, settings = systemd.root, layout.settings
        if root is None or (root / "etc/passwd").exists():  # otherwise the tree makes the user when it is booted
            where = [] if root is None else [f"--root={root}"]
            make = partial(run_tool, "systemd-sysusers", *where, layout.sysusers.name)
            yield Step(f"make the user {USER}", f"made sure of user and group {USER}", make)
        if not settings.exists():  # systemd would make it, but owned by the service's user
            yield Step(f"make {settings}", f"made {settings}", partial(make_directory, settings))
    if systemd.root is None and changed:
        yield Step("reload systemd", "reloaded systemd", partial(systemd.run, "daemon-reload"))
    if enable:
        yield Step("enable it", "enabled it: it starts at boot", partial(systemd.run, "enable", SERVICE))
    if not start or systemd.root is not None:
        return
    if must_close:
        # A listening socket keeps its old addresses, and lives as long as the service.
        yield Step("close the ports", "closed the ports, to open them again", partial(systemd.run, "stop", *SOCKETS))
    yield Step("start it", "started it", partial(_start, systemd))
    yield from answer_steps(units.endpoints(plan), _ADVICE)


def answer_steps(endpoints: tuple[Endpoint, Endpoint], advice: str) -> Iterator[Step]:
    """Yield the steps that wait until SMTP and monitor port answer; an error ends with the advice."""
    for (addresses, port), first_line in zip(endpoints, _FIRST_LINES, strict=True):
        host = _LOOPBACKS.get(addresses[0], addresses[0])
        wait = partial(_wait_for_answer, host, port, first_line, advice)
        yield Step(f"connect to port {port}", f"port {port} answers, on {' and '.join(addresses)}", wait)


def uninstall_steps(layout: Layout, systemd: Systemd, *, purge: bool) -> Iterator[Step]:
    """Yield the steps; none if nothing is installed. With `purge` they remove all that the service wrote, too."""
    files = layout.installed()
    names = [path.name for path in files if path.name in UNITS]
    if names:
        if systemd.root is None:
            # The sockets come first in UNITS: they would start the service again for the next caller.
            yield Step("stop it", "stopped it", partial(systemd.run, "stop", *names))
        yield Step("disable it", "disabled it", partial(systemd.run, "disable", *names))
    for path in files:
        yield Step(f"remove {path}", f"removed {path}", path.unlink)
    if names and systemd.root is None:
        yield Step("reload systemd", "reloaded systemd", partial(_reload_systemd, systemd, names))
    if layout.sysusers is not None and systemd.root is None and HOST_NET.is_dir():  # systemd leaves its mount point
        yield Step(f"remove {HOST_NET}", f"removed {HOST_NET}", HOST_NET.rmdir)
    if purge:
        yield from _purge_steps(layout, systemd.root)


def _purge_steps(layout: Layout, root: Path | None) -> Iterator[Step]:
    for path in (*layout.drop_ins(), *layout.data, layout.settings):
        if path.is_symlink():
            yield Step(f"remove the link {path}", f"removed the link {path}", path.unlink)
        elif path.is_dir():
            yield Step(f"remove {path}", f"removed {path}", partial(shutil.rmtree, path))
    # The user that the install made; another user of that name has another GECOS field.
    # passwd(5): name:password:uid:gid:gecos:directory:shell
    ours = rf"^{USER}:[^:\n]*:[0-9]+:[0-9]+:{units.USER_GECOS}:"
    if layout.sysusers is not None and _has_line(ours, root, "etc/passwd"):
        yield Step(f"remove the user {USER}", f"removed user and group {USER}", partial(_remove_user, root))


def _start(systemd: Systemd) -> None:
    try:
        systemd.run("restart", SERVICE)
    except ToolError as error:
        status = systemd.show(SERVICE, "StatusText").get("StatusText")  # the server's own message is more exact
        raise ToolError(status or str(error)) from None


def _wait_for_answer(host: str, port: int, first_line: re.Pattern[bytes], advice: str) -> None:
    give_up_at = time.monotonic() + _START_TIMEOUT_S
    while True:
        try:
            with socket.create_connection((host, port), _START_TIMEOUT_S) as sock, sock.makefile("rb") as file:
                if first_line.match(file.readline(_LINE_BYTES_MAX)):
                    return
            reason = "another program answers there"
        except OSError as error:
            reason = error.strerror or str(error)
        if time.monotonic() > give_up_at:
            raise ToolError(f"{reason}; {advice}")
        time.sleep(_POLL_S)


def _reload_systemd(systemd: Systemd, names: list[str]) -> None:
    systemd.run("daemon-reload")
    with contextlib.suppress(ToolError):  # no unit had failed
        systemd.run("reset-failed", *names)


def _has_line(pattern: str, root: Path | None, name: str) -> bool:
    return re.search(pattern, read((root or Path("/")) / name), re.MULTILINE) is not None


def _remove_user(root: Path | None) -> None:
    where = [] if root is None else ["--prefix", str(root)]
    run_tool("userdel", *where, USER)
    if _has_line(rf"^{USER}:", root, "etc/group"):  # userdel leaves a group that has other members
        run_tool("groupdel", *where, USER)
