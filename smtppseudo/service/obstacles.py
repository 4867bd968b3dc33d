"""Obstacles: what stands in the way of an install, each as one line that says what mends it."""

import errno
import os
import shlex
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from smtppseudo.net.port_holder import holder_of
from smtppseudo.service.layout import Layout
from smtppseudo.service.program import Program
from smtppseudo.service.systemd import ToolError, call
from smtppseudo.service.units import Endpoint

# ProtectHome= and PrivateTmp= hide these from the service.
_HIDDEN: Final = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # noqa: S108 - named, not used
_MEND: Final = (
    "install it with `sudo /usr/bin/python3 -m venv /opt/smtppseudo && sudo /opt/smtppseudo/bin/pip install .` or, with"
    " pipx 1.5 or newer, `sudo pipx install --global .`, in a clone of its repository; a wheel may stand for the dot"
)
_MAIL_SERVERS: Final = {"master": "postfix", "exim4": "exim4", "sendmail": "sendmail", "smtpd": "opensmtpd"}
_ELSEWHERE: Final = {
    "win32": "a Windows service is to come; until then run `smtppseudo serve` in a terminal, or have the Task"
    " Scheduler start it at boot",
    "darwin": "a launchd plist is to come; until then run `sudo smtppseudo serve` in a terminal",
}


def of_platform(platform: str) -> Iterator[str]:
    """Say what is missing on systems other than Linux."""
    if platform != "linux":
        yield _ELSEWHERE.get(platform, "only systemd is supported; have the init system run `smtppseudo serve`")


def of_program(program: Program) -> Iterator[str]:
    """Find what would keep a user's service from finding its own program."""
    try:
        call(*program.command, "--version")
    except ToolError:
        yield f"smtppseudo is not installed for {program.python}, but runs from its source; {_MEND}"


def of_sandbox(program: Program) -> Iterator[str]:
    """Find what would keep the system's service from reading its own program."""
    for path in program.paths:
        for place in _HIDDEN:
            if path.is_relative_to(place):
                yield f"the service cannot read {path}, as what is under {place} is hidden from it; {_MEND}"
                return
    # Likewise what is closed to other users: the topmost such directory, or the file.
    for path in (program.python.resolve(), program.package.resolve() / "__init__.py"):
        for each in (*reversed(path.parents), path):
            if not each.exists():  # in an archive
                break
            needed = stat.S_IXOTH if each.is_dir() else stat.S_IROTH
            if not each.stat().st_mode & needed:
                recursive = "-R " if each.is_relative_to(program.prefix) else ""
                mend = f"`sudo chmod {recursive}o+rX {shlex.quote(str(each))}`"
                yield f"the service cannot read {each}, as it is closed to other users; {mend} opens it"
                return


def of_rights(program: Program, command: str) -> Iterator[str]:
    """Say how to become root."""
    if os.geteuid() != 0:
        yield from of_program(program)
        words = shlex.join(["sudo", *program.command, command])
        yield f"only root may do that; use `{words}`, or --user for a service of your own"


def of_user_manager() -> Iterator[str]:
    """Say how to reach the manager of a user's services."""
    try:
        call("systemctl", "--user", "show", "--property=Version")
    except ToolError:
        yield (
            "this user's systemd cannot be reached; log in as the user itself, not by su or sudo, or type"
            " `sudo loginctl enable-linger $USER; export XDG_RUNTIME_DIR=/run/user/$(id -u)`"
        )


def of_units(layout: Layout) -> Iterator[str]:
    """Find units of our names that come from something else."""
    for path in layout.foreign():
        if path.is_symlink() and path.readlink() == Path(os.devnull):
            yield f"{path.name} is masked; `sudo systemctl unmask {path.name}` mends that"
        else:
            yield f"{path} comes from something else; remove that first (`dpkg -S {path}` may say what it belongs to)"


def of_endpoint(endpoint: Endpoint) -> Iterator[str]:
    """Find the program that has a port. Where it cannot be had for other reasons, systemd will say so."""
    port = endpoint.port
    if any(_is_taken(address, port) for address in endpoint.addresses):
        holder = holder_of(port) or "another program"
        # The mail servers of Debian and others, by the names of their processes.
        service = _MAIL_SERVERS.get(holder.partition(" ")[0])
        mend = f"`sudo systemctl disable --now {service}` stops it" if service else "stop that"
        yield f"port {port} is taken by {holder}; {mend}, or choose another port (--port, --monitor-port)"


def _is_taken(address: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family) as sock:
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((address, port))
    except OSError as error:
        return error.errno == errno.EADDRINUSE
    return False
