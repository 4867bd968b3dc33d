"""The command line of what is made of the logs."""

from typing import Any

from smtppseudo.cli.options import add_command


def add_report(commands: Any) -> None:
    command = add_command(commands, "report", "Say what the logs say", "smtppseudo report --since 7d")
    command.add_argument("logs", nargs="*", metavar="LOG", help="a log file, or a directory of logs (the usual one)")
