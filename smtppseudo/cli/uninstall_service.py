"""`uninstall-service`: undoes what `install-service` did."""

import argparse
import shlex

from smtppseudo.cli import exits
from smtppseudo.cli.service import Target, do, refuse
from smtppseudo.service.program import this_program
from smtppseudo.service.removing import remove


def run(options: argparse.Namespace) -> int:
    """Remove the service; settings, state and logs only where that was asked for."""
    target = Target(options)
    refuse(target.obstacles(this_program(), "uninstall-service"))
    again = shlex.join(["smtppseudo", "install-service", *target.words])
    done = do(remove(target.layout, target.systemd, purge=options.purge), f"`{again}` brings it back")
    if not done:
        print("nothing to remove")
    kept = [str(path) for path in (target.layout.settings, *target.layout.data) if path.exists()]
    if kept:
        print(f"left as they are: {', '.join(kept)} (--purge removes them)")
    return exits.GOOD
