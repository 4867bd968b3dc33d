"""A server that binds a port below 1024 as root, then gives up every privilege: run as a program by a test."""

import datetime
import os
import signal
import sys
from typing import Any

from smtppseudo import console
from smtppseudo.configuration import Configuration
from smtppseudo.net.signals import Signals
from smtppseudo.server import Server
from smtppseudo.settings import check

NOBODY = 65_534
LOADED = (console, datetime)
"""What a server loads late: it need not lie where nobody can read."""


def main(port: int, run_dir: str) -> None:
    """Bind, drop, prove it, serve."""
    os.chdir(run_dir)  # the way there may be closed to nobody
    table: dict[str, Any] = {
        "port": port,
        "listen": ["127.0.0.1"],
        "monitor_port": 0,
        "monitor_listen": ["127.0.0.1"],
        "hostname": "sink.test",
        "log_dir": "log",
        "log_min_free_octets": 0,
        "state_dir": "state",
    }
    checked = {name: check(name, value) for name, value in table.items()}
    server = Server(Configuration(checked, {}, {}, {}), lambda text: print(text, file=sys.stderr, flush=True))
    server.open()
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    require_no_way_back()
    signals = Signals(server.reactor, {signal.SIGTERM: lambda now: server.stop()}, server.reception.report_fault)
    server.chronicle.flush()
    print(f"smtppseudo test: SMTP on 127.0.0.1 port {server.listens_on[0][1]}")
    print(f"smtppseudo test: monitors on 127.0.0.1 port {server.monitors_on[0][1]}", flush=True)
    server.run()
    signals.close()


def require_no_way_back() -> None:
    """End if root can be had again."""
    for take_back in (os.setresuid, os.setresgid):
        try:
            take_back(0, 0, 0)
        except PermissionError:
            continue
        raise SystemExit("still root")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
