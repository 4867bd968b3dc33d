"""The command line of what runs or concerns a server of one's own."""

import argparse
from typing import Any

from smtppseudo.cli.options import add_command, add_places, port, seconds, whole
from smtppseudo.config.settings import STAGES


def add_serve(commands: Any) -> None:
    command = add_command(
        commands,
        "serve",
        "Run the server in the foreground",
        "smtppseudo serve --port 2525 --monitor-port 2626\n  then, elsewhere: telnet localhost 2525",
    )
    add_places(command)
    command.add_argument("--port", type=whole, metavar="PORT", help="the SMTP port (25)")
    command.add_argument("--monitor-port", type=whole, metavar="PORT", help="the monitor port (26)")
    command.add_argument(
        "--listen",
        action="append",
        metavar="ADDRESS",
        help="answer SMTP on this address; may be repeated (all)",
    )
    command.add_argument(
        "--monitor-listen",
        action="append",
        metavar="ADDRESS",
        help="answer monitors on this address; may be repeated (127.0.0.1 and ::1)",
    )
    command.add_argument("--slots", type=whole, metavar="N", help="how many connections are served at once (25)")
    command.add_argument("--greeting", metavar="TEXT", help="what follows 220 (Welcome!)")
    command.add_argument("--reject-at", choices=STAGES, help="the stage at which mail is refused (mail)")
    command.add_argument(
        "--accept-mail",
        action="store_const",
        const=True,
        help="take every message and throw it away; honest mail is lost without a bounce",
    )
    command.add_argument("--run-as", metavar="USER", help="as root: open the ports, then be this user for good")
    command.add_argument("-v", "--verbose", action="store_true", help="print the events")


def add_config(commands: Any) -> None:
    command = add_command(
        commands,
        "config",
        "Print every setting with its value, and where that comes from",
        "smtppseudo config --default > smtppseudo.toml",
    )
    add_places(command)
    command.add_argument("--default", action="store_true", help="print a commented settings file to start from")


def add_install_service(commands: Any) -> None:
    command = add_command(
        commands,
        "install-service",
        "Install smtppseudo as a systemd service, or upgrade the service that is there",
        "sudo smtppseudo install-service",
    )
    _add_target(command)
    command.add_argument("--port", type=port, metavar="PORT", help="the SMTP port (what it was, else 25; --user: 2525)")
    command.add_argument(
        "--monitor-port", type=port, metavar="PORT", help="the monitor port (what it was, else 26; --user: 2626)"
    )
    command.add_argument("--no-start", action="store_true", help="do not start the service now")
    command.add_argument("--no-enable", action="store_true", help="do not start the service at boot")
    command.add_argument("--dry-run", action="store_true", help="print what would be written, and change nothing")


def add_uninstall_service(commands: Any) -> None:
    command = add_command(
        commands,
        "uninstall-service",
        "Stop the systemd service and remove it",
        "sudo smtppseudo uninstall-service",
    )
    _add_target(command)
    command.add_argument(
        "--purge",
        action="store_true",
        help="remove settings, state, logs, user and group, too, so that nothing is left",
    )


def _add_target(command: argparse.ArgumentParser) -> None:
    target = command.add_mutually_exclusive_group()
    target.add_argument("--user", action="store_true", help="a service of this user, not of the system")
    target.add_argument("--root", metavar="DIR", help="work on the system in the tree DIR, and start nothing")


def add_demo(commands: Any) -> None:
    command = add_command(
        commands,
        "demo",
        "Show it all: a server on free ports, made-up visitors, and the monitor screen",
        "smtppseudo demo\n  or, without a terminal: smtppseudo demo --no-screen --seconds 20",
    )
    command.description = (
        "Show it all: a server on free ports, made-up visitors, and the monitor screen. The server answers on this"
        " machine alone and keeps its files in a temporary directory; quitting leaves nothing behind."
    )
    command.add_argument("--seconds", type=seconds, metavar="N", help="end after so many seconds (until it is quit)")
    command.add_argument("--no-screen", action="store_true", help="print the events instead, as `watch` does")
    command.add_argument(
        "--slots", type=whole, default=25, metavar="N", help="how many connections are served at once (25)"
    )
