"""The command line of what talks to a running server."""

import argparse
from typing import Any

from smtppseudo.cli.options import (
    add_access,
    add_command,
    add_host,
    add_host_option,
    network,
    port,
    seconds,
    seq,
    whole,
)
from smtppseudo.events import NAMES


def add_monitor(commands: Any) -> None:
    command = add_command(
        commands,
        "monitor",
        "Show slots and events on a screen in the terminal, and control the server",
        "smtppseudo monitor\n  smtppseudo monitor 192.0.2.25",
    )
    command.description = (
        "Show slots and events on a screen in the terminal, and control the server. Without HOST: the server shown"
        " last, or that of this machine."
    )
    add_host(command)
    add_access(command)


def add_watch(commands: Any) -> None:
    command = add_command(
        commands,
        "watch",
        "Print events as they happen",
        "smtppseudo watch --event connected --event closed --ip 192.0.2.0/24",
    )
    command.description = (
        "Print events as they happen, one a line, as in the log. When the server is restarted, this waits for it"
        " and goes on."
    )
    add_host(command)
    add_access(command)
    command.add_argument("--json", action="store_true", help="print each event as a JSON object")
    command.add_argument("--from-seq", type=seq, metavar="N", help="begin with event N; the server keeps the last 1000")
    command.add_argument(
        "--event",
        action="append",
        choices=sorted(NAMES.values()),
        metavar="KIND",
        help=f"print only events of this kind: {', '.join(sorted(NAMES.values()))}; may be repeated",
    )
    command.add_argument("--ip", type=network, metavar="ADDRESS", help="print only events of this address or network")


def add_status(commands: Any) -> None:
    command = add_command(
        commands,
        "status",
        "Say whether the server is online, and print its counters",
        "smtppseudo status --format prometheus",
    )
    command.description = (
        "Say whether the server is online, which means that its SMTP port is open, and print its counters. Exit"
        " status: 0 online, 1 offline, 69 unreachable, 77 not authorized."
    )
    add_host(command)
    add_access(command)
    command.add_argument(
        "--format", choices=("text", "json", "prometheus"), default="text", help="how to print it (text)"
    )


def _add_op(commands: Any, name: str, summary: str, example: str) -> argparse.ArgumentParser:
    command = add_command(commands, name, summary, example)
    command.set_defaults(module="ops", op=name)
    add_host_option(command)
    add_access(command)
    return command


def add_start_and_stop(commands: Any) -> None:
    _add_op(commands, "start", "Open the SMTP port again after `stop`", "smtppseudo start")
    _add_op(
        commands,
        "stop",
        "Close the SMTP port and its sessions; the server goes on, and answers monitors",
        "smtppseudo stop --host localhost --monitor-port 2626",
    )


def add_set(commands: Any) -> None:
    command = _add_op(
        commands,
        "set",
        "Change settings of the running server, all or none; they outlast a restart",
        "smtppseudo set greeting='{hostname} ESMTP' idle_timeout_s=60 accept_mail=false",
    )
    command.add_argument(
        "changes", nargs="+", metavar="KEY=VALUE", help="a setting and its value, as in TOML or a plain string"
    )


def add_unset(commands: Any) -> None:
    command = _add_op(
        commands,
        "unset",
        "Undo `set`: settings are again what the settings file says, or their defaults",
        "smtppseudo unset greeting",
    )
    command.add_argument("keys", nargs="+", metavar="KEY", help="a setting that `set` or a monitor has changed")


def add_disconnect(commands: Any) -> None:
    command = _add_op(commands, "disconnect", "End the session in a slot", "smtppseudo disconnect 3")
    command.add_argument("slot", type=whole, metavar="SLOT", help="the slot's number")


def add_magic_word(commands: Any) -> None:
    command = add_command(
        commands,
        "magic-word",
        "Set the magic word, the secret that lets monitors in",
        "smtppseudo magic-word --generate",
    )
    command.description = (
        "Set the magic word, the secret that lets monitors in, or replace it: 8 to 128 printable ASCII characters,"
        " typed twice. The server never sees the word itself. Other monitors are logged out."
    )
    add_host_option(command)
    add_access(command)
    source = command.add_mutually_exclusive_group()
    source.add_argument("--generate", action="store_true", help="make one up and print it")
    source.add_argument("--stdin", action="store_true", help="read it from the first line of standard input")


def add_probe(commands: Any) -> None:
    command = add_command(
        commands,
        "probe",
        "Play a sender against any mail server, and print both sides",
        "smtppseudo probe --port 2525 localhost",
    )
    command.description = (
        "Play a sender against any mail server, and print both sides. No message is sent: where the server would"
        " take one, the connection is dropped. Exit status: 0 refused for good, 1 taken, 75 deferred, 69 unreachable."
    )
    command.add_argument("host", nargs="?", default="localhost", metavar="HOST", help="the server (localhost)")
    command.add_argument("--port", type=port, default=25, metavar="PORT", help="its SMTP port (25)")
    command.add_argument("--ehlo", metavar="NAME", help="the name to say EHLO with (that of this machine)")
    command.add_argument("--helo", action="store_true", help="say HELO instead of EHLO")
    command.add_argument("--pipeline", action="store_true", help="send MAIL, RCPT and DATA at once")
    command.add_argument(
        "--from", dest="sender", default="probe@example.org", metavar="ADDRESS", help="the sender (probe@example.org)"
    )
    command.add_argument(
        "--to", dest="recipient", default="postmaster", metavar="ADDRESS", help="the recipient (postmaster)"
    )
    command.add_argument(
        "--timeout", type=seconds, default=30.0, metavar="N", help="wait so many seconds for each answer (30)"
    )
