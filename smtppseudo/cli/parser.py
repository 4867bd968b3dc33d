"""The command line: all commands.

A command's module is named after it or in _MODULES. It has `add_COMMAND`, which adds the arguments, and `run`, which
returns the exit status, or None for 0.
"""

import argparse
import importlib
import re
from collections.abc import Container, Sequence
from typing import Any, Final, NoReturn

from smtppseudo import __version__
from smtppseudo.cli.options import HelpFormatter
from smtppseudo.config.settings import did_you_mean
from smtppseudo.events import printable

COMMANDS: Final = {
    "serve": "Run the server in the foreground",
    "monitor": "Show slots and events on a screen in the terminal, and control the server",
    "watch": "Print events as they happen",
    "status": "Print whether the server is online, and its counters",
    "start": "Open the SMTP port again after `stop`",
    "stop": "Close the SMTP port and its sessions; monitors can still connect",
    "reload": "Read the settings file and the certificates again, and open a new log file",
    "set": "Change settings of the running server, all or none; they outlast a restart",
    "unset": "Undo `set`: go back to the settings file or the default",
    "disconnect": "End the session in a slot",
    "block": "Turn away a caller or a network, for seven days or as long as you say, and end its sessions",
    "unblock": "Undo `block`",
    "blocked": "Print who is blocked, until when and why",
    "magic-word": "Set the magic word, the password of the monitor port",
    "probe": "Play a sender against any mail server, and print both sides",
    "report": "Summarize the logs: who called, when, how and how often",
    "find": "Print the whole sessions of the logs that contain a text, an address, a sender or a recipient",
    "blocklist": "Make a block list of repeated callers from the logs",
    "config": "Print every setting with its value and where the value comes from",
    "install-service": "Install smtppseudo as a service of systemd or Windows, or upgrade the installed service",
    "uninstall-service": "Stop the service and remove it",
    "guide": "Print a page of the guide, or the list of its pages",
    "demo": "Show everything: a server on free ports, made-up callers, and the monitor screen",
}

_MODULES: Final = {
    **dict.fromkeys(("start", "stop", "reload", "disconnect"), "control"),
    **dict.fromkeys(("unblock", "blocked"), "block"),
    "unset": "set",
}


class Parser(argparse.ArgumentParser):
    """A parser of options and arguments in any order, with advice in its messages, and no escape sequence of argv's."""

    _is_nested = False

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> tuple[Any, list[str]]:  # type: ignore[override]
        """Parse arguments; a command reports what it does not know itself, with its own usage."""
        if self._is_nested or self._subparsers is not None:
            return super().parse_known_args(args, namespace)
        self._is_nested = True  # older Pythons come back here from parse_known_intermixed_args
        parse = self.parse_known_intermixed_args if self._get_positional_actions() else super().parse_known_args
        found, unknown = parse(args, namespace)
        self._is_nested = False
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, []

    def error(self, message: str) -> NoReturn:
        """Print the message, with a similar option if one is unknown, and exit."""
        unknown = re.match(r"unrecognized arguments: (-[^\s=]+)", message)
        similar = did_you_mean(unknown[1], self._option_string_actions) if unknown else ""
        super().error(printable(message + similar))

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            if similar := did_you_mean(value, action.choices or ()):
                error.message = f"invalid choice: {value!r}{similar}"
            raise


def parser(load: Container[str] = COMMANDS) -> argparse.ArgumentParser:
    """Return the parser. Only the commands in `load` get their arguments; no other command's module is imported."""
    top = Parser(
        prog="smtppseudo",
        description="A mail server that takes no mail: it answers port 25, refuses permanently, and logs who called.",
        epilog="`smtppseudo COMMAND --help` says more, with an example. `smtppseudo guide` explains every task;"
        " `man smtppseudo` has the files, and `man smtppseudo.toml` the settings.",
    )
    top.add_argument("--version", action="version", version=f"smtppseudo {__version__}")
    commands = top.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    for name, summary in COMMANDS.items():
        command = commands.add_parser(
            name,
            help=summary[0].lower() + summary[1:],
            description=f"{summary}.",
            formatter_class=HelpFormatter,
            allow_abbrev=False,
        )
        if name in load:
            word = name.replace("-", "_")
            module = importlib.import_module(f"smtppseudo.cli.{_MODULES.get(word, word)}")
            command.set_defaults(run=module.run)
            getattr(module, f"add_{word}")(command)
    return top
