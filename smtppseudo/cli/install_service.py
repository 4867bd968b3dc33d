"""`install-service`: installs this program as a service, or upgrades the installed service."""

import argparse
import shlex
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Final

from smtppseudo.cli import exits
from smtppseudo.cli.messages import print_line, print_text
from smtppseudo.cli.options import describe, port
from smtppseudo.cli.service import NO_SYSTEMD, ServiceTarget, add_target, carry_out, fail_on_problem
from smtppseudo.config.settings import MONITOR_PORT, SMTP_PORT
from smtppseudo.events import printable
from smtppseudo.service.checks import check_endpoint, check_lasting, check_program, check_readable
from smtppseudo.service.layout import Layout, Program, running_program
from smtppseudo.service.steps import install_steps, service_files
from smtppseudo.service.systemd import ToolError, is_booted
from smtppseudo.service.units import SOCKETS, USER, Plan, endpoints

_SYSTEM_PORTS: Final = (SMTP_PORT, MONITOR_PORT)
_USER_PORTS: Final = (2525, 2626)


def add_install_service(command: argparse.ArgumentParser) -> None:
    describe(command, "sudo smtppseudo install-service")
    add_target(command)
    add = command.add_argument
    add("--port", type=port, metavar="PORT", help="the SMTP port (unchanged by an upgrade, else 25; --user: 2525)")
    monitor_port_help = "the monitor port (unchanged by an upgrade, else 26; --user: 2626)"
    add("--monitor-port", type=port, metavar="PORT", help=monitor_port_help)
    add("--no-start", action="store_true", help="do not start the service now")
    add("--no-enable", action="store_true", help="do not start the service at boot")
    add("--dry-run", action="store_true", help="print the files that would be written; change nothing")


def run(options: argparse.Namespace) -> None:
    """Install the service; with `--dry-run`, print its files."""
    if sys.platform == "win32":
        from smtppseudo.cli.windows_service import install

        install(options)
        return
    target = ServiceTarget(options)
    program = running_program()
    plan = _plan(options, target, program)
    if not (options.dry_run or target.root or is_booted()):
        print_text(_facts(plan, target.layout))
        raise exits.CommandError(NO_SYSTEMD)
    is_readable = () if target.is_for_user else check_readable(program)
    lasts = check_lasting(program, is_for_user=target.is_for_user)
    warn_only = options.dry_run or target.root is not None
    fail_on_problem(chain(lasts, is_readable, check_program(program)), warn_only=warn_only)
    if options.dry_run:
        texts = (f"# {printable(str(path))}\n{text}" for path, text in service_files(plan, target.layout).items())
        print_text("\n".join(texts))
        return
    fail_on_problem(target.check(program, "install-service"))
    will_start = target.root is None and not options.no_start
    if will_start:
        fail_on_problem(_check_ports(plan, target))
    undo = shlex.join(["smtppseudo", "uninstall-service", *target.options])
    steps = install_steps(plan, target.layout, target.systemd, enable=not options.no_enable, start=will_start)
    carry_out(steps, f"`{undo}` undoes it")
    if target.is_for_user and not options.no_enable:
        print_line("it runs while you are logged in; `sudo loginctl enable-linger $USER` makes it start at boot")
    if will_start:
        status = "smtppseudo status" if target.is_for_user else "sudo smtppseudo status"
        print_line(f"next: `smtppseudo probe localhost:{plan.port}` plays a sender, `{status}` prints the counters")


def _plan(options: argparse.Namespace, target: ServiceTarget, program: Program) -> Plan:
    """Choose the ports: those of the options, else those of the installed service, else the defaults."""
    given = (options.port, options.monitor_port)
    defaults = _USER_PORTS if target.is_for_user else _SYSTEM_PORTS
    port, monitor_port = (a or b or c for a, b, c in zip(given, target.layout.ports(), defaults, strict=True))
    if port == monitor_port:
        raise exits.CommandError(f"--port and --monitor-port must differ; both are {port}", exits.USAGE)
    if target.is_for_user and min(port, monitor_port) < 1024:
        raise exits.CommandError("with --user, --port and --monitor-port must be 1024 or above", exits.USAGE)
    has_ipv6 = target.root is not None or Path("/proc/net/if_inet6").exists()
    return Plan(tuple(program.argv), port, monitor_port, target.is_for_user, has_ipv6)


def _facts(plan: Plan, layout: Layout) -> str:
    """Return what any init system needs to know."""
    ports = (plan.port, plan.monitor_port)
    options = [] if plan.is_for_user else ["--run-as", USER]
    if ports != _SYSTEM_PORTS:
        options += ["--port", str(plan.port), "--monitor-port", str(plan.monitor_port)]
    user = "yours" if plan.is_for_user else f"root at first, then {USER} (`useradd --system --user-group {USER}`)"
    state, logs = layout.data
    return f"""\
command   {shlex.join([*plan.argv, "serve", *options])}
user      {user}
stop      SIGTERM
reload    SIGHUP
settings  {layout.settings / "smtppseudo.toml"}
state     {state}
logs      {logs}
"""


def _check_ports(plan: Plan, target: ServiceTarget) -> Iterator[str]:
    for endpoint, installed_port, unit in zip(endpoints(plan), target.layout.ports(), SOCKETS, strict=True):
        try:
            is_own = endpoint.port == installed_port and target.systemd.is_active(unit)
        except ToolError as error:
            yield f"systemd does not say whether {unit} is active: {error}"
        else:
            if not is_own:
                yield from check_endpoint(endpoint)
