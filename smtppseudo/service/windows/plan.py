"""The plan of the Windows service, and the steps that install or remove it. Pure, except for what the steps do."""

import re
import shutil
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from subprocess import list2cmdline
from typing import Final, NamedTuple, Protocol

from smtppseudo.service.layout import Program
from smtppseudo.service.steps import Step, answer_steps
from smtppseudo.service.units import Endpoint
from smtppseudo.service.windows.status import State
from smtppseudo.win32 import MODIFY, READ, SERVICE, access_list

ACCOUNT: Final = rf"NT SERVICE\{SERVICE}"
PRIVILEGE: Final = "SeChangeNotifyPrivilege"
RESTART_AFTER_S: Final = (1, 10, 60)
EVENTS_ADVICE: Final = (
    f"the Application log in the Event Viewer says why, or `Get-WinEvent -ProviderName {SERVICE} -MaxEvents 3 | fl`"
)
PINNED: Final = ("config", "state-dir", "log-dir", "port", "monitor-port")
"""The options in the command line of the service, whose environment is not that of a user."""


class Plan(NamedTuple):
    """The parameters of the service. `argv` runs the program; `pinned` are its options, without `--`."""

    argv: tuple[str, ...]
    pinned: Mapping[str, str]
    endpoints: tuple[Endpoint, Endpoint]
    home: Path  # the directory of the settings file, which the service may only read
    at_boot: bool = True

    @property
    def command(self) -> str:
        """The command line of the service."""
        options = (word for name, value in self.pinned.items() for word in (f"--{name}", value))
        return list2cmdline([*self.argv, "serve", "--service", *options])

    @property
    def access_lists(self) -> dict[Path, str]:
        """The directories to make, each with its access list."""
        rights = {self.home: READ, Path(self.pinned["state-dir"]): MODIFY, Path(self.pinned["log-dir"]): MODIFY}
        return {path: access_list(right) for path, right in rights.items()}

    def __str__(self) -> str:
        """Return what an install would make, for `--dry-run`."""
        lines = [
            f"service    {SERVICE}, started {'at boot' if self.at_boot else 'by hand'}",
            f"command    {self.command}",
            f"account    {ACCOUNT}, with {PRIVILEGE}",
            f"failure    restart after {', '.join(map(str, RESTART_AFTER_S))} s",
            *(f"directory  {path}  {sddl}" for path, sddl in self.access_lists.items()),
        ]
        return "\n".join(lines)


class System(Protocol):
    """Windows, as far as the steps change it. Every method may raise OSError and ToolError."""

    def state(self) -> State | None: ...  # None if the service is not installed
    def make_directory(self, path: Path, sddl: str) -> None: ...  # or change the access list of an existing one
    def register(self, plan: Plan) -> None: ...  # creates the service and its event source, or changes them
    def start(self) -> None: ...  # waits until it runs
    def stop(self) -> None: ...  # waits until it has ended
    def delete(self) -> None: ...  # the event source, too


def service_argv(program: Program) -> tuple[str, ...]:
    """Return the command line that runs the program as a service, to which a command is appended.

    It names the base interpreter: the one of a virtual environment is a launcher, and the service control manager talks
    only to the process that it has started. The server needs no site-packages.
    """
    return (str(program.base / "python.exe"), "-I", "-S", str(program.package / "__main__.py"))


def options_in(command: str) -> dict[str, str]:
    """Return the pinned options in the command line of an installed service."""
    found = re.findall(rf' --({"|".join(PINNED)}) (?:"([^"]*?)\\*"|(\S+))', command)
    return {name: quoted or bare for name, quoted, bare in found}


def install_steps(plan: Plan, system: System, settings_text: str, *, start: bool) -> Iterator[Step]:
    """Yield the steps that install the service or upgrade it in place."""
    for path, sddl in plan.access_lists.items():
        make = partial(system.make_directory, path, sddl)
        yield Step(f"make {path}", f"made {path}, closed to other users", make)
    file = Path(plan.pinned["config"])
    if not file.exists():
        yield Step(f"write {file}", f"wrote {file}", partial(file.write_text, settings_text, "utf-8"))
    yield Step("register it", f"registered the service {SERVICE}", partial(system.register, plan))
    if start:
        if system.state() is not State.STOPPED:
            yield Step("stop it", "stopped it, to start it again", system.stop)
        yield Step("start it", "started it", system.start)
        yield from answer_steps(plan.endpoints, EVENTS_ADVICE)


def uninstall_steps(system: System, data: tuple[Path, ...], *, purge: bool) -> Iterator[Step]:
    """Yield the steps; none if nothing is installed. With `purge` they remove the directories `data`, too."""
    state = system.state()
    if state not in (None, State.STOPPED):
        yield Step("stop it", "stopped it", system.stop)
    if state is not None:
        yield Step("remove it", f"removed the service {SERVICE}", system.delete)
    for path in data:
        if purge and path.exists():
            yield Step(f"remove {path}", f"removed {path}", partial(shutil.rmtree, path))
