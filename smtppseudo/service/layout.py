"""The layout: where the service's files are, on this machine or in a tree for another."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from smtppseudo.files import SYSTEM_CONFIG, SYSTEM_LOGS, SYSTEM_STATE, Replacement
from smtppseudo.service.units import MONITOR_SOCKET, SMTP_SOCKET, SYSUSERS, UNITS, is_ours, port_of

# In the order in which systemd looks (systemd.unit(5)); the first is ours.
_SYSTEM_UNITS: Final = (
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)
_USER_UNITS: Final = ("/etc/systemd/user", "/run/systemd/user", "/usr/local/lib/systemd/user", "/usr/lib/systemd/user")
_NEW_FILE_MODE: Final = 0o644
_NEW_DIRECTORY_MODE: Final = 0o755


class Layout(NamedTuple):
    """The places. `unit_dirs` are where systemd looks for units; `sysusers` is None where no user is to be made.

    `data` is what the service writes as it runs, and `settings` where it reads what it is told.
    """

    unit_dirs: tuple[Path, ...]
    sysusers: Path | None
    settings: Path
    data: tuple[Path, ...]

    @property
    def units(self) -> Path:
        """The directory that our units go to."""
        return self.unit_dirs[0]

    def installed(self) -> list[Path]:
        """Return the files that an earlier install wrote."""
        files = [self.units / name for name in UNITS]
        if self.sysusers is not None:
            files.append(self.sysusers)
        return [path for path in files if is_ours(read(path))]

    def foreign(self) -> Iterator[Path]:
        """Find the units of our names that are not ours."""
        for directory in self.unit_dirs:
            for name in UNITS:
                path = directory / name
                if (path.exists() or path.is_symlink()) and not is_ours(read(path)):
                    yield path

    def ports(self) -> tuple[int | None, int | None]:
        """Return the ports, for SMTP and for monitors, of an earlier install."""
        smtp, monitor = (read(self.units / name) for name in (SMTP_SOCKET, MONITOR_SOCKET))
        return port_of(smtp) if is_ours(smtp) else None, port_of(monitor) if is_ours(monitor) else None

    def drop_ins(self) -> list[Path]:
        """Return the directories with changes of the administrator's own to our units."""
        return [path for name in UNITS if (path := self.units / f"{name}.d").is_dir()]


def system_layout(root: Path) -> Layout:
    """Return the layout of a system whose root directory is this."""
    return Layout(
        tuple(below(root, each) for each in _SYSTEM_UNITS),
        below(root, "/etc/sysusers.d") / SYSUSERS,
        below(root, SYSTEM_CONFIG),
        (below(root, SYSTEM_STATE), below(root, SYSTEM_LOGS)),
    )


def user_layout(config_home: Path, settings: Path, data: tuple[Path, ...]) -> Layout:
    """Return the layout for a user's manager."""
    return Layout((config_home / "systemd/user", *map(Path, _USER_UNITS)), None, settings, data)


def below(root: Path, path: Path | str) -> Path:
    """Return where an absolute path is in a tree."""
    return root / Path(path).relative_to("/")


def read(path: Path) -> str:
    """Return the text of a file; empty where there is none that can be read."""
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""


def make_directory(path: Path) -> None:
    """Make a directory, and those above, that everybody may look into, whatever the umask. Raises OSError."""
    for each in (*reversed(path.parents), path):
        if not each.exists():
            each.mkdir()
            each.chmod(_NEW_DIRECTORY_MODE)


def write(path: Path, text: str) -> None:
    """Replace a file that everybody may read: written aside, renamed. Raises OSError."""
    make_directory(path.parent)
    with Replacement(path, _NEW_FILE_MODE) as new:
        new.write(text)
        new.commit(sync=False)
