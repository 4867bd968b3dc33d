"""The program that listens on a port, for the error message of a second one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from smtppseudo.events import escape

_LISTENING: Final = "0A"
_OF_SYSTEMD: Final = ": `systemctl list-sockets` shows for which unit"


def holder_of(port: int) -> str:
    """Return the program that listens on a TCP port, as `name (pid 123)`, or `another program`."""
    sockets = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    for fds in Path("/proc").glob("[0-9]*/fd") if sockets else ():
        try:
            if any(str(fd.readlink()) in sockets for fd in fds.iterdir()):
                name = escape((fds.parent / "comm").read_bytes().strip())  # any bytes: the process chooses them
                return f"{name} (pid {fds.parent.name}{_OF_SYSTEMD if fds.parent.name == '1' else ''})"
        except OSError:
            continue  # the process belongs to another user, or has just ended
    return "another program"  # /proc does not show it


def _listening_inodes(port: int) -> Iterator[str]:
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            words = line.split()
            if words[3] == _LISTENING and int(words[1].rpartition(":")[2], 16) == port:
                yield words[9]
