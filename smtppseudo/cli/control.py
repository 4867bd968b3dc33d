"""`start`, `stop`, `reload` and `disconnect`: commands to a running server."""

import argparse

from smtppseudo.cli import exits
from smtppseudo.cli.access import add_access, logged_in
from smtppseudo.cli.messages import print_line
from smtppseudo.cli.options import describe, whole_number


def add_start(command: argparse.ArgumentParser) -> None:
    describe(command, "smtppseudo start")
    add_access(command)


def add_stop(command: argparse.ArgumentParser) -> None:
    describe(command, "smtppseudo stop --host localhost --monitor-port 2626")
    add_access(command)


def add_reload(command: argparse.ArgumentParser) -> None:
    describe(command, "smtppseudo reload", "A mistake in the file changes nothing; the exit status is then 78.")
    add_access(command)


def add_disconnect(command: argparse.ArgumentParser) -> None:
    describe(command, "smtppseudo disconnect 3")
    add_access(command)
    command.add_argument("slot", type=whole_number, metavar="SLOT", help="the slot's number")
    command.set_defaults(run=_disconnect)


def run(options: argparse.Namespace) -> None:
    """Send the request that the command is named after, and print what it did."""
    with logged_in(options, bad_value=exits.BAD_SETTINGS) as link:  # of `reload`: a mistake in the settings file
        reply = link.request(options.command)
    if options.command == "reload":
        names = reply.get("need_restart")
        need_restart = ", ".join(map(str, names)) if isinstance(names, list) else ""
        print_line("reloaded" + (f"; a restart is needed to change {need_restart}" if need_restart else ""))
    else:
        places = reply.get("smtp")  # older servers do not send it
        place = ", ".join(map(str, places)) if isinstance(places, list) else link.place
        print_line(f"SMTP on {place}: {reply.get('state')}")


def _disconnect(options: argparse.Namespace) -> None:
    with logged_in(options) as link:
        count = len(link.snapshot.slots)
        if not 0 < options.slot <= count:
            raise exits.CommandError(f"there is no slot {options.slot}; the slots are 1 to {count}")
        link.request("disconnect", slot=options.slot)
    print_line(f"slot {options.slot}: the session is ended")
