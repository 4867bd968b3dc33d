"""Servers that make up many events a second each, and send them to monitors like the real one.

`screen.py` runs it. It ends when its standard input does, and then prints how many events it made.
"""

import argparse
import contextlib
import select
import sys
import time
from pathlib import Path
from typing import Any

from smtppseudo.config.layers import Configuration
from smtppseudo.config.settings import Settings, check
from smtppseudo.events import Closed, Command, Connected, Event
from smtppseudo.files import StateDir
from smtppseudo.server.server import Server
from smtppseudo.smtp.dialogue import Dialogue
from smtppseudo.smtp.session import SmtpSession
from tests.monitors import credentials_text

SESSION: tuple[Event, ...] = (
    Connected(25),
    Command("HELO mail.example.com", "250 Hello mail.example.com from 192.0.2.1, pleased to meet you."),
    Command("MAIL FROM:<someone@example.com>", "553 Sender <someone@example.com> is Invalid!"),
    Command("QUIT", "221 Server Disconnecting"),
    Closed("quit", 12, 60, 190, 3),
)
TURN_S = 0.002
WORD = "open sesame"


def session_of(dialogue: Dialogue, number: int, slots: int) -> SmtpSession:
    """Return the session with a number."""
    ip = f"192.0.2.{number % 250 + 1}"
    return SmtpSession(dialogue, number + 1, number % slots + 1, ip, 1_024 + number % 60_000, b"", 0.0)


def open_server(directory: Path, slots: int) -> Server:
    """Return a server that listens on free ports, with its files in a directory."""
    directory.mkdir(exist_ok=True)
    table: dict[str, Any] = {
        "port": 0,
        "listen": ["127.0.0.1"],
        "monitor_port": 0,
        "monitor_listen": ["127.0.0.1"],
        "slots": slots,
        "log_dir": str(directory / "log"),
        "state_dir": str(directory / "state"),
    }
    StateDir(directory / "state").write("credentials", credentials_text(WORD))
    checked = {name: check(name, value) for name, value in table.items()}
    server = Server(Configuration(checked, {}, {}, {"hostname": "mx.example.org"}), print)
    server.open()
    return server


def serve(directory: Path, options: argparse.Namespace) -> int:
    """Serve. Flood for some seconds after monitors have logged in everywhere; return how many events there were."""
    slots, per_second = options.slots, options.per_second
    servers = [open_server(directory / str(number), slots) for number in range(options.servers)]
    dialogue = Dialogue(Settings())
    print(*[server.monitor_port.places[0][1] for server in servers], flush=True)
    began: float | None = None
    made = 0
    while not _is_over():
        for server in servers:
            server.reactor.turn(TURN_S if len(servers) == 1 else 0)
        now = time.monotonic()
        if began is None and all(server.recorder.seq > 1 for server in servers):  # a monitor's login is an event
            began = now + 2
        if began is not None and now >= began:
            due = int(min(now - began, options.seconds) * per_second)
            for at in range(made, due):
                session, step = divmod(at, len(SESSION) * slots)
                caller = session_of(dialogue, session * slots + step % slots, slots)
                for server in servers:
                    server.recorder.record_session(caller, (SESSION[step // slots],))
            made = due
        if len(servers) > 1:
            time.sleep(TURN_S * 5)
    seq = sum(server.recorder.seq for server in servers)
    for server in servers:
        server.stop()
        server.reactor.close()
    return seq


def _is_over() -> bool:
    return bool(select.select([sys.stdin], [], [], 0)[0])


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--servers", type=int, default=1)
    parser.add_argument("--slots", type=int, default=25)
    parser.add_argument("--per-second", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=30.0)
    options = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        seq = serve(options.directory, options)
        print(f"made {seq}", flush=True)


if __name__ == "__main__":
    main()
