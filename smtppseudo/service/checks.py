"""Checks before an install: each yields the problems that it finds, one line each, with the remedy."""

import errno
import os
import shlex
import socket
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from smtppseudo.files import is_root
from smtppseudo.net.addresses import set_port_options
from smtppseudo.net.port_holder import holder_of
from smtppseudo.service.layout import Layout, Program
from smtppseudo.service.systemd import ToolError, run_tool
from smtppseudo.service.units import Endpoint

# ProtectHome= and PrivateTmp= hide these from the service.
_HIDDEN: Final = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # noqa: S108 - named, not used
_REINSTALL: Final = (
    "install it with `sudo /usr/bin/python3 -m venv /opt/smtppseudo && sudo /opt/smtppseudo/bin/pip install .` or, with"
    " pipx 1.5 or newer, `sudo pipx install --global .`, in a clone of its repository, or with a wheel for the dot"
)
_PIPX: Final = "install it with `pipx install .` in a clone of its repository, or with a wheel for the dot"
_TEMPORARY: Final = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 - named, not used
# The services of Debian and others, by the names of their processes.
_MAIL_SERVERS: Final = {"master": "postfix", "exim4": "exim4", "sendmail": "sendmail", "smtpd": "opensmtpd"}


def check_program(program: Program) -> Iterator[str]:
    """Check that the program is installed for its interpreter."""
    try:
        run_tool(*program.argv, "--version")
    except ToolError:
        yield f"smtppseudo is not installed for {program.python}, but runs from its source; {_REINSTALL}"


def check_lasting(program: Program, *, is_for_user: bool) -> Iterator[str]:
    """Check that the program is in no directory whose files are removed after a while."""
    for path in program.prefix.parents:
        # A cache has this file (https://bford.info/cachedir/), but so have some virtual environments.
        is_temporary = str(path) in _TEMPORARY
        if is_temporary or path.name == ".cache" or (path / "CACHEDIR.TAG").exists():
            use = "for temporary files" if is_temporary else "a cache, as of uvx and `pipx run`"
            yield f"{program.prefix} does not last, because {path} is {use}; {_PIPX if is_for_user else _REINSTALL}"
            return


def check_readable(program: Program, hidden: Iterable[str] = _HIDDEN, remedy: str = _REINSTALL) -> Iterator[str]:
    """Check that the service's user can read the program, where these directories are hidden from the service."""
    for path in (program.python, *(path.resolve() for path in (program.python, program.base, program.package))):
        for directory in hidden:
            if path.is_relative_to(directory):
                yield f"the service cannot read {path}, because {directory} is hidden from it; {remedy}"
                return
    # Permissions count, too: report the topmost directory, or the file, that other users cannot read.
    for path in (program.python.resolve(), program.package.resolve() / "__init__.py"):
        for each in (*reversed(path.parents), path):
            if not each.exists():  # in an archive
                break
            needed = stat.S_IXOTH if each.is_dir() else stat.S_IROTH
            if not each.stat().st_mode & needed:
                recursive = "-R " if each.is_relative_to(program.prefix) else ""
                remedy = f"`sudo chmod {recursive}o+rX {shlex.quote(str(each))}`"
                yield f"the service cannot read {each}, because it is closed to other users; {remedy} opens it"
                return


def check_root(program: Program, command: str) -> Iterator[str]:
    """Check that this process is root's; the remedy names the command to run by sudo."""
    if not is_root():
        yield from check_program(program)
        argv = shlex.join(["sudo", *program.argv, command])
        yield f"only root may do that; use `{argv}`, or --user for a service of your own"


def check_user_manager() -> Iterator[str]:
    """Check that the user's systemd answers."""
    try:
        run_tool("systemctl", "--user", "show", "--property=Version")
    except ToolError:
        yield (
            "this user's systemd does not answer; log in as the user, not by su or sudo, or type"
            " `sudo loginctl enable-linger $USER; export XDG_RUNTIME_DIR=/run/user/$(id -u)`"
        )


def check_links(layout: Layout, root: Path) -> Iterator[str]:
    """Check that no link in a tree leads out of it, where files are written or removed."""
    for path in layout.followed():
        for each in (*reversed(path.parents), path):
            if each != root and each.is_relative_to(root) and each.is_symlink():
                target = Path(os.path.realpath(each))
                if not target.is_relative_to(root):
                    yield f"{each} is a link that leads out of {root}, to {target}; replace it first"


def check_units(layout: Layout) -> Iterator[str]:
    """Check that no other package, person or mask has a unit of the same name."""
    for path in layout.foreign():
        if path.is_symlink() and path.readlink() == Path(os.devnull):
            yield f"{path.name} is masked; `sudo systemctl unmask {path.name}` mends that"
        else:
            yield f"{path} was not written by install-service; remove it first (`dpkg -S {path}` may name its package)"


def check_endpoint(endpoint: Endpoint) -> Iterator[str]:
    """Check that no other program has the port. Other errors are left to systemd."""
    addresses, port = endpoint
    if any(_is_taken(address, port) for address in addresses):
        holder = holder_of(port)
        service = _MAIL_SERVERS.get(holder.partition(" ")[0])
        remedy = f"`sudo systemctl disable --now {service}` stops it" if service else "stop that"
        yield f"port {port} is taken by {holder}; {remedy}, or choose another port (--port, --monitor-port)"


def _is_taken(address: str, port: int) -> bool:
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as sock:
            set_port_options(sock)
            sock.bind((address, port))
    except OSError as error:
        return error.errno == errno.EADDRINUSE
    return False
