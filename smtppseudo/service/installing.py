"""Installing: the steps that make a service of this program, or of an earlier version a newer one."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

from smtppseudo.service.layout import Layout, make_directory, read, write
from smtppseudo.service.steps import Step
from smtppseudo.service.systemd import Systemd, ToolError, call
from smtppseudo.service.units import SERVICE, SOCKETS, USER, Plan, endpoints, sysusers_text, unit_texts

_ANSWER_LIMIT_S: Final = 30.0
_POLL_S: Final = 0.1
_LINE_BYTES_MAX: Final = 1024


def new_files(plan: Plan, layout: Layout) -> dict[Path, str]:
    """Return all files of the service with their texts."""
    files = {} if layout.sysusers is None else {layout.sysusers: sysusers_text()}
    return files | {layout.units / name: text for name, text in unit_texts(plan).items()}


def install(plan: Plan, layout: Layout, systemd: Systemd, *, enable: bool, start: bool) -> Iterator[Step]:
    """Give the steps. In a tree that is not booted nothing is started, whatever `start` says."""
    files = new_files(plan, layout)
    changed = [path for path, text in files.items() if read(path) != text]
    must_close = any(path.exists() for path in changed if path.name in SOCKETS)
    for path in changed:
        yield Step(f"write {path}", f"wrote {path}", partial(write, path, files[path]))
    if layout.sysusers is not None:
        yield from _make_user(layout.sysusers, systemd.root)
        settings = layout.settings
        if not settings.exists():  # systemd would make it the service's own
            yield Step(f"make {settings}", f"made {settings}", partial(make_directory, settings))
    if systemd.root is None and changed:
        yield Step("reload systemd", "reloaded systemd", partial(systemd.do, "daemon-reload"))
    if enable:
        yield Step("enable it", "enabled it: it starts at boot", partial(systemd.do, "enable", SERVICE))
    if not start or systemd.root is not None:
        return
    if must_close:
        # A socket that listens keeps the addresses that it has; and it stays while the service does.
        yield Step("close the ports", "closed the ports, to open them again", partial(systemd.do, "stop", *SOCKETS))
    yield Step("start it", "started it", partial(_start, systemd))
    for (addresses, port), answers in zip(endpoints(plan), (_answers_smtp, _says_hello), strict=True):
        see = partial(_wait_until, partial(answers, port))
        yield Step(f"see port {port} answer", f"port {port} answers, on {' and '.join(addresses)}", see)


def _make_user(sysusers: Path, root: Path | None) -> Iterator[Step]:
    where = [] if root is None else [f"--root={root}"]
    if root is None or (root / "etc/passwd").exists():  # otherwise the user is made where the tree is booted
        make = partial(call, "systemd-sysusers", *where, sysusers.name)
        yield Step(f"make the user {USER}", f"made sure of user and group {USER}", make)


def _start(systemd: Systemd) -> None:
    try:
        systemd.do("restart", SERVICE)
    except ToolError as error:
        said = systemd.show(SERVICE, "StatusText").get("StatusText")  # by the server itself, which knows best
        raise ToolError(said or str(error)) from None


def _wait_until(answers: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + _ANSWER_LIMIT_S
    while True:
        try:
            if answers():
                return
            reason = "another program answers there"
        except OSError as error:
            reason = error.strerror or str(error)
        if time.monotonic() > give_up_at:
            raise ToolError(f"{reason}; `systemctl status {SERVICE}` and `journalctl -u {SERVICE}` say more")
        time.sleep(_POLL_S)


def _answers_smtp(port: int) -> bool:
    line = _first_line(port)
    return line[:3].isdigit() and line[3:4] in b" -"  # 220, or a no that is said at once


def _says_hello(port: int) -> bool:
    try:
        hello = json.loads(_first_line(port))
    except ValueError:
        return False
    return isinstance(hello, dict) and hello.get("type") == "hello"


def _first_line(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), _ANSWER_LIMIT_S) as sock, sock.makefile("rb") as file:
        return file.readline(_LINE_BYTES_MAX)
