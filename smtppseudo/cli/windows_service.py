"""The Windows service, for `install-service`, `uninstall-service` and `serve --service`. Windows only."""

import argparse
import sys
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Final

from smtppseudo.cli import exits
from smtppseudo.cli.messages import print_line, print_text, say
from smtppseudo.cli.places import read_configuration, usual_places, with_monitor_settings
from smtppseudo.cli.service import carry_out, fail_on_problem
from smtppseudo.config.file import default_file
from smtppseudo.service.checks import check_endpoint, check_readable
from smtppseudo.service.commands import ServiceAction, problem_with
from smtppseudo.service.layout import running_program
from smtppseudo.service.steps import Step
from smtppseudo.service.units import Endpoint
from smtppseudo.service.windows import control
from smtppseudo.service.windows.plan import PINNED, Plan, install_steps, options_in, service_argv, uninstall_steps
from smtppseudo.service.windows.status import State

assert sys.platform == "win32"  # noqa: S101 - mypy skips the rest elsewhere

_REINSTALL: Final = (
    'install Python for all users; then `py -m venv "%ProgramFiles%\\smtppseudo"` and'
    ' `"%ProgramFiles%\\smtppseudo\\Scripts\\pip" install .`, in a clone of its repository, or with a wheel for the dot'
)


def install(options: argparse.Namespace) -> None:
    """Install the service; with `--dry-run`, print what that would make."""
    plan = _plan(options)
    problems = check_readable(running_program(), [str(Path.home().parent)], _REINSTALL)
    fail_on_problem(problems, warn_only=options.dry_run)
    if options.dry_run:
        print_text(f"{plan}\n")
        return
    fail_on_problem(filter(None, [problem_with(ServiceAction.INSTALL)]))
    if not options.no_start and control.state() is not State.RUNNING:
        fail_on_problem(chain.from_iterable(map(check_endpoint, plan.endpoints)))
    steps = install_steps(plan, control, default_file(), start=not options.no_start)
    carry_out(steps, "`smtppseudo uninstall-service` undoes it")
    rule = f"name=smtppseudo dir=in action=allow protocol=TCP localport={plan.endpoints[0].port}"
    print_line(f"the firewall must let callers in: `netsh advfirewall firewall add rule {rule}`")


def removal(options: argparse.Namespace) -> tuple[Iterator[Step], tuple[Path, ...]]:
    """Return the steps that remove the service, and the directories that only `--purge` removes."""
    fail_on_problem(filter(None, [problem_with(ServiceAction.UNINSTALL)]))
    pinned = _pinned(options)
    data = (Path(pinned["state-dir"]), Path(pinned["log-dir"]), usual_places().config)
    return uninstall_steps(control, data, purge=options.purge), data


def run_service(serve: Callable[[Callable[..., Callable[[], None]]], int]) -> int:
    """Serve as the service control manager says; return the exit status."""
    service = control.RunningService(serve)
    try:
        service.run()
    except OSError as error:
        raise exits.CommandError(f"only the service control manager may use --service: {error.strerror}") from None
    return service.exit_status


def _pinned(options: argparse.Namespace) -> dict[str, str]:
    """Return the options of the service: those given, else those of the installed service, else the usual ones."""
    config, state, log = usual_places()
    usual = {"config": str(config / "smtppseudo.toml"), "state-dir": str(state), "log-dir": str(log)}
    given = {name: getattr(options, name.replace("-", "_"), None) for name in PINNED}
    texts = {name: str(value if "port" in name else Path(value).absolute()) for name, value in given.items() if value}
    return usual | options_in(control.registered("ImagePath") or "") | texts


def _plan(options: argparse.Namespace) -> Plan:
    pinned = _pinned(options)
    for name, value in pinned.items():
        setattr(options, name.replace("-", "_"), int(value) if "port" in name else value)
    if not Path(pinned["config"]).exists():  # the install writes one
        options.config = None
    settings = with_monitor_settings(read_configuration(options, say), say).settings
    endpoints = Endpoint(settings.listen, settings.port), Endpoint(settings.monitor_listen, settings.monitor_port)
    return Plan(service_argv(running_program()), pinned, endpoints, usual_places().config, not options.no_enable)
