"""`install-service`: makes a service of this program."""

import argparse
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from smtppseudo.cli import exits
from smtppseudo.cli.options import describe, port
from smtppseudo.cli.service import Target, add_target, do, refuse
from smtppseudo.config.settings import MONITOR_PORT, SMTP_PORT
from smtppseudo.service import obstacles
from smtppseudo.service.installing import install, new_files
from smtppseudo.service.program import Program, this_program
from smtppseudo.service.systemd import ToolError
from smtppseudo.service.units import SOCKETS, Plan, endpoints

_SYSTEM_PORTS: Final = (SMTP_PORT, MONITOR_PORT)
_USER_PORTS: Final = (2525, 2626)
_UNPRIVILEGED_PORT: Final = 1024
_IPV6: Final = Path("/proc/net/if_inet6")  # there where the kernel has IPv6


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Define the arguments."""
    describe(command, "sudo smtppseudo install-service")
    add_target(command)
    command.add_argument(
        "--port", type=port, metavar="PORT", help="the SMTP port (unchanged by an upgrade, else 25; --user: 2525)"
    )
    command.add_argument(
        "--monitor-port",
        type=port,
        metavar="PORT",
        help="the monitor port (unchanged by an upgrade, else 26; --user: 2626)",
    )
    command.add_argument("--no-start", action="store_true", help="do not start the service now")
    command.add_argument("--no-enable", action="store_true", help="do not start the service at boot")
    command.add_argument("--dry-run", action="store_true", help="print the files that would be written; change nothing")


def run(options: argparse.Namespace) -> int:
    """Install, or print what would be written."""
    target = Target(options)
    program = this_program()
    plan = _plan(options, target, program)
    if options.dry_run or target.root is not None:
        for obstacle in _obstacles_of_program(target, program):
            print(f"smtppseudo: warning: {obstacle}", file=sys.stderr)
    else:
        refuse(_obstacles_of_program(target, program))
    if options.dry_run:
        texts = (f"# {path}\n{text}" for path, text in new_files(plan, target.layout).items())
        print("\n".join(texts), end="")
        return exits.GOOD
    refuse(target.obstacles(program, "install-service"))
    will_start = target.root is None and not options.no_start
    if will_start:
        refuse(_obstacles_of_ports(plan, target))
    undo = shlex.join(["smtppseudo", "uninstall-service", *target.words])
    steps = install(plan, target.layout, target.systemd, enable=not options.no_enable, start=will_start)
    do(steps, f"`{undo}` undoes it")
    if target.is_for_user and not options.no_enable:
        print("it runs while you are logged in; `sudo loginctl enable-linger $USER` makes it start at boot")
    return exits.GOOD


def _plan(options: argparse.Namespace, target: Target, program: Program) -> Plan:
    """Combine what was asked for with the ports of an earlier install."""
    asked = (options.port, options.monitor_port)
    usual = _USER_PORTS if target.is_for_user else _SYSTEM_PORTS
    earlier = target.layout.ports()
    port, monitor_port = (a or b or c for a, b, c in zip(asked, earlier, usual, strict=True))
    if port == monitor_port:
        raise exits.CommandError(f"--port and --monitor-port must differ; both are {port}", exits.USAGE)
    if target.is_for_user and min(port, monitor_port) < _UNPRIVILEGED_PORT:
        raise exits.CommandError(
            f"with --user, --port and --monitor-port must be {_UNPRIVILEGED_PORT} or above", exits.USAGE
        )
    has_ipv6 = target.root is not None or _IPV6.exists()
    return Plan((*program.command, "serve"), port, monitor_port, target.is_for_user, has_ipv6)


def _obstacles_of_program(target: Target, program: Program) -> Iterator[str]:
    if not target.is_for_user:
        yield from obstacles.of_sandbox(program)
    yield from obstacles.of_program(program)


def _obstacles_of_ports(plan: Plan, target: Target) -> Iterator[str]:
    for endpoint, earlier, unit in zip(endpoints(plan), target.layout.ports(), SOCKETS, strict=True):
        try:
            is_own = endpoint.port == earlier and target.systemd.is_active(unit)
        except ToolError as error:
            yield f"systemd does not say whether {unit} is active: {error}"
        else:
            if not is_own:
                yield from obstacles.of_endpoint(endpoint)
