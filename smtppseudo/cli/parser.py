"""The command line: every command."""

import argparse

from smtppseudo import __version__
from smtppseudo.cli import commands_of_feeds, commands_of_monitor, commands_of_server


def parser() -> argparse.ArgumentParser:
    """Return the whole command line."""
    top = argparse.ArgumentParser(
        prog="smtppseudo",
        description="A mail server that takes no mail: answers port 25, says a permanent no, writes down who called.",
        epilog="`smtppseudo COMMAND --help` says more, with an example. `man smtppseudo` has settings and files, too.",
    )
    top.add_argument("--version", action="version", version=f"smtppseudo {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    commands_of_server.add_serve(commands)
    commands_of_monitor.add_monitor(commands)
    commands_of_monitor.add_watch(commands)
    commands_of_monitor.add_status(commands)
    commands_of_monitor.add_start_and_stop(commands)
    commands_of_monitor.add_set(commands)
    commands_of_monitor.add_unset(commands)
    commands_of_monitor.add_disconnect(commands)
    commands_of_monitor.add_magic_word(commands)
    commands_of_monitor.add_probe(commands)
    commands_of_feeds.add_report(commands)
    commands_of_feeds.add_blocklist(commands)
    commands_of_server.add_config(commands)
    commands_of_server.add_install_service(commands)
    commands_of_server.add_uninstall_service(commands)
    commands_of_server.add_demo(commands)
    return top
