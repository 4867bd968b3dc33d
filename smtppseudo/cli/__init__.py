"""The commands: the only place that prints or exits."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

from smtppseudo import __version__
from smtppseudo.cli import exits
from smtppseudo.settings import STAGES, SettingsError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status."""
    options = parser().parse_args(arguments)
    command = importlib.import_module(f"smtppseudo.cli.{options.module}")
    try:
        status: int = command.run(options)
    except SettingsError as error:
        return _complain(error, exits.BAD_SETTINGS)
    except exits.CommandError as error:
        return _complain(error, error.status)
    except KeyboardInterrupt:
        return 130  # as a shell reports SIGINT
    except BrokenPipeError:
        # Whoever read our output has gone, as `head` does; and nothing may be flushed there any more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.GOOD
    return status


def _complain(error: Exception, status: int) -> int:
    print(f"smtppseudo: {error}", file=sys.stderr)
    return status


def parser() -> argparse.ArgumentParser:
    """Return the whole command line."""
    top = argparse.ArgumentParser(
        prog="smtppseudo",
        description="A mail server that takes no mail: answers port 25, says a permanent no, writes down who called.",
        epilog="`smtppseudo COMMAND --help` says more, with an example.",
    )
    top.add_argument("--version", action="version", version=f"smtppseudo {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_serve(commands)
    _add_probe(commands)
    _add_config(commands)
    return top


def _add(commands: Any, name: str, summary: str, example: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary[0].lower() + summary[1:],
        description=summary + ".",
        epilog=f"Example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.set_defaults(module=name.replace("-", "_"))
    return command


def _add_places(command: argparse.ArgumentParser) -> None:
    command.add_argument("--config", metavar="FILE", help="the settings file")
    command.add_argument("--state-dir", metavar="DIR", help="where the server keeps what monitors set")
    command.add_argument("--log-dir", metavar="DIR", help="where the logs are")


def _add_serve(commands: Any) -> None:
    command = _add(
        commands,
        "serve",
        "Run the server in the foreground",
        "smtppseudo serve --port 2525 --monitor-port 2626\n  then, elsewhere: telnet localhost 2525",
    )
    _add_places(command)
    command.add_argument("--port", type=int, help="the SMTP port (25)")
    command.add_argument("--monitor-port", type=int, help="the port for monitors (26)")
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
    command.add_argument("--slots", type=int, help="how many connections are served at once (25)")
    command.add_argument("--greeting", metavar="TEXT", help="what follows 220 (Welcome!)")
    command.add_argument("--reject-at", choices=STAGES, help="where the no is said (mail)")
    command.add_argument(
        "--accept-mail",
        action="store_const",
        const=True,
        help="take every message and throw it away; honest mail is lost without a bounce",
    )
    command.add_argument("-v", "--verbose", action="store_true", help="print the events")


def _add_probe(commands: Any) -> None:
    command = _add(
        commands,
        "probe",
        "Play a test dialogue against a server and print both sides",
        "smtppseudo probe --port 2525 localhost",
    )
    command.description = (
        "Play a sender against a server and print both sides. No message is sent: where the server would take one,"
        " the connection is dropped. Exit status: 0 refused for good, 1 taken, 75 deferred, 69 unreachable."
    )
    command.add_argument("host", nargs="?", default="localhost", metavar="HOST", help="the server (localhost)")
    command.add_argument("--port", type=int, default=25, help="its port (25)")
    command.add_argument("--ehlo", metavar="NAME", help="the name to say hello with (that of this machine)")
    command.add_argument("--helo", action="store_true", help="say HELO instead of EHLO")
    command.add_argument("--pipeline", action="store_true", help="send MAIL, RCPT and DATA at once")
    command.add_argument("--from", dest="sender", default="probe@example.org", metavar="ADDRESS", help="the sender")
    command.add_argument("--to", dest="recipient", default="postmaster", metavar="ADDRESS", help="the recipient")
    command.add_argument("--timeout", type=float, default=30.0, metavar="SECONDS", help="how long to wait (30)")


def _add_config(commands: Any) -> None:
    command = _add(
        commands,
        "config",
        "Print every setting, its value and where that comes from",
        "smtppseudo config --default > smtppseudo.toml",
    )
    _add_places(command)
    command.add_argument("--default", action="store_true", help="print a commented file to start from")
