"""The layout: where the program and the service's files are, on this machine or in a directory tree for another."""

import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from subprocess import list2cmdline
from typing import Final, NamedTuple

from smtppseudo.files import SYSTEM_CONFIG, SYSTEM_LOGS, SYSTEM_STATE, replace
from smtppseudo.service.units import MONITOR_SOCKET, SMTP_SOCKET, SYSUSERS, UNITS, WANTS, is_generated, port_in

# In the order in which systemd searches them for units (systemd.unit(5)).
_UNIT_PARENTS: Final = ("etc", "run", "usr/local/lib", "usr/lib")
# Files in /etc that systemd-sysusers and userdel change, each with its backup.
_ACCOUNTS: Final = [
    f"{name}{end}" for name in ("passwd", "shadow", "group", "gshadow", "subuid", "subgid") for end in ("", "-")
]


class Program(NamedTuple):
    """Where the program is: its interpreter, `sys.base_prefix`, `sys.prefix`, and the package."""

    python: Path
    base: Path
    prefix: Path
    package: Path

    @property
    def argv(self) -> tuple[str, ...]:
        """The command line to which a command of smtppseudo is appended, for any directory and environment."""
        return (str(self.python), "-I", "-m", "smtppseudo")


def as_typed(argv: Sequence[str]) -> str:
    """Return a command line as the user types it, with the quotes of this system's shell."""
    return list2cmdline(argv) if os.name == "nt" else shlex.join(argv)


def running_program() -> Program:
    """Return the program of this process."""
    package = Path(__file__).parents[1]
    return Program(Path(sys.executable), Path(sys.base_prefix), Path(sys.prefix), package)


class Layout(NamedTuple):
    """The paths of the service's files. `sysusers` is None if the service needs no user of its own.

    systemd searches `unit_dirs` for units; they are installed into the first. The service reads its `settings`, and
    writes to the directories `data`.
    """

    unit_dirs: tuple[Path, ...]
    sysusers: Path | None
    settings: Path
    data: tuple[Path, ...]

    @property
    def units(self) -> Path:
        """The directory into which units are installed."""
        return self.unit_dirs[0]

    def installed(self) -> list[Path]:
        """Return the files that an install has written."""
        files = (*(self.units / name for name in UNITS), self.sysusers)
        return [path for path in files if path is not None and is_generated(read(path))]

    def foreign(self) -> Iterator[Path]:
        """Find units that have the names of the service's units, but another origin."""
        for path in (directory / name for directory in self.unit_dirs for name in UNITS):
            if (path.exists() or path.is_symlink()) and not is_generated(read(path)):
                yield path

    def followed(self) -> Iterator[Path]:
        """Yield the paths at whose end no link may lead elsewhere: directories whose files change, and accounts."""
        yield from self.unit_dirs
        yield from (self.units / name for name in WANTS)
        yield from (path.parent for path in (self.settings, *self.data))
        if self.sysusers is not None:
            yield self.sysusers.parent
            yield from (self.sysusers.parent.parent / name for name in _ACCOUNTS)

    def ports(self) -> tuple[int | None, int | None]:
        """Return the SMTP and the monitor port of the installed units."""
        smtp, monitor = (read(self.units / name) for name in (SMTP_SOCKET, MONITOR_SOCKET))
        return port_in(smtp), port_in(monitor)

    def drop_ins(self) -> list[Path]:
        """Return the directories with the administrator's changes to the units (`systemctl edit`)."""
        return [path for name in UNITS if (path := self.units / f"{name}.d").is_dir()]


def system_layout(root: Path) -> Layout:
    """Return the layout of the system with this root directory."""
    config, state, logs = (root / path.relative_to("/") for path in (SYSTEM_CONFIG, SYSTEM_STATE, SYSTEM_LOGS))
    units = tuple(root / parent / "systemd/system" for parent in (*_UNIT_PARENTS, "lib"))
    return Layout(units, root / "etc/sysusers.d" / SYSUSERS, config, (state, logs))


def user_layout(config_home: Path, settings: Path, data: tuple[Path, ...]) -> Layout:
    """Return the layout of a user's service."""
    units = (Path("/", parent, "systemd/user") for parent in _UNIT_PARENTS)
    return Layout((config_home / "systemd/user", *units), None, settings, data)


def read(path: Path) -> str:
    """Return the text of a file; empty if it cannot be read."""
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""


def make_directory(path: Path) -> None:
    """Make a directory and its parents, readable by all whatever the umask. Raises OSError."""
    for each in (*reversed(path.parents), path):
        if not each.exists():
            each.mkdir()
            each.chmod(0o755)


def write(path: Path, text: str) -> None:
    """Replace a file, readable by all. Raises OSError."""
    make_directory(path.parent)
    replace(path, text, 0o644, sync=False)
