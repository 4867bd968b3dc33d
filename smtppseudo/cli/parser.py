"""The command line: every command with its options."""

import argparse
from typing import Any, Final

from smtppseudo import __version__
from smtppseudo.events import NAMES
from smtppseudo.settings import STAGES


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
    _add_monitor(commands)
    _add_watch(commands)
    _add_status(commands)
    _add_switches(commands)
    _add_set(commands)
    _add_unset(commands)
    _add_disconnect(commands)
    _add_magic_word(commands)
    _add_probe(commands)
    _add_config(commands)
    _add_demo(commands)
    return top


class _Help(argparse.RawDescriptionHelpFormatter):
    """Wraps a description, but leaves an example as it is."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text.startswith(_EXAMPLE):
            return super()._fill_text(text, width, indent)
        return argparse.HelpFormatter._fill_text(self, text, width, indent)  # noqa: SLF001 - as it does it


_EXAMPLE: Final = "Example:"


def _add(commands: Any, name: str, summary: str, example: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary[0].lower() + summary[1:],
        description=summary + ".",
        epilog=f"{_EXAMPLE}\n  {example}",
        formatter_class=_Help,
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
    command.add_argument("--port", type=int, metavar="PORT", help="the SMTP port (25)")
    command.add_argument("--monitor-port", type=int, metavar="PORT", help="the port for monitors (26)")
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
    command.add_argument("--slots", type=int, metavar="N", help="how many connections are served at once (25)")
    command.add_argument("--greeting", metavar="TEXT", help="what follows 220 (Welcome!)")
    command.add_argument("--reject-at", choices=STAGES, help="where the no is said (mail)")
    command.add_argument(
        "--accept-mail",
        action="store_const",
        const=True,
        help="take every message and throw it away; honest mail is lost without a bounce",
    )
    command.add_argument("-v", "--verbose", action="store_true", help="print the events")


def _add_access(command: argparse.ArgumentParser) -> None:
    """Add how a server is found and logged in to; `host` is the caller's."""
    command.add_argument(
        "--monitor-port", type=_port, metavar="PORT", help="its monitor port (what a local server noted, else 26)"
    )
    command.add_argument("--state-dir", metavar="DIR", help="where a server of this machine keeps its state")
    command.add_argument("--magic-file", metavar="FILE", help="a file that holds the magic word, closed to others")
    command.add_argument(
        "--cleartext",
        action="store_true",
        help="connect to another machine though everybody on the way can read and change what is said",
    )


def _add_host(command: argparse.ArgumentParser) -> None:
    command.add_argument("host", nargs="?", metavar="HOST", help="the server (this machine)")


def _add_host_option(command: argparse.ArgumentParser) -> None:
    command.add_argument("--host", metavar="HOST", help="the server (this machine)")


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text[:9]) < 1 << 16:
        raise argparse.ArgumentTypeError(f"{text} is no port: 1 to 65535")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e6:
        raise argparse.ArgumentTypeError(f"{text} is no such time: above 0, below 1000000")
    return seconds


def _seq(text: str) -> int:
    if not text.isdecimal() or len(text) > 18:
        raise argparse.ArgumentTypeError(f"{text} is no number of an event")
    return int(text)


def _network(text: str) -> str:
    import ipaddress

    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is no address and no network such as 192.0.2.0/24") from None


def _add_monitor(commands: Any) -> None:
    command = _add(
        commands,
        "monitor",
        "Show in the terminal what comes in, and change what there is to change",
        "smtppseudo monitor\n  smtppseudo monitor 192.0.2.25",
    )
    command.description = (
        "Show in the terminal what comes in, and change what there is to change. Without HOST: the server watched"
        " last, or that of this machine."
    )
    _add_host(command)
    _add_access(command)


def _add_watch(commands: Any) -> None:
    command = _add(
        commands,
        "watch",
        "Print events as they happen",
        "smtppseudo watch --event connected --event closed --ip 192.0.2.0/24",
    )
    command.description = (
        "Print events as they happen, one a line, as in the log. When the server is restarted, this waits for it"
        " and goes on where it was."
    )
    _add_host(command)
    _add_access(command)
    command.add_argument("--json", action="store_true", help="one JSON object a line")
    command.add_argument(
        "--from-seq", type=_seq, metavar="N", help="begin with event N; the server keeps the last 1000"
    )
    command.add_argument(
        "--event",
        action="append",
        choices=sorted(NAMES.values()),
        metavar="KIND",
        help=f"only events of this kind ({', '.join(sorted(NAMES.values()))}); may be repeated",
    )
    command.add_argument("--ip", type=_network, metavar="ADDRESS", help="only events of this address or network")


def _add_status(commands: Any) -> None:
    command = _add(
        commands,
        "status",
        "Say whether the server is online, and what it has done",
        "smtppseudo status --format prometheus",
    )
    command.description = (
        "Say whether the server is online, and what it has done. Exit status: 0 online, 1 offline, 69 unreachable,"
        " 77 not authorized."
    )
    _add_host(command)
    _add_access(command)
    command.add_argument("--format", choices=("text", "json", "prometheus"), default="text", help="how (text)")


def _add_op(commands: Any, name: str, summary: str, example: str) -> argparse.ArgumentParser:
    command = _add(commands, name, summary, example)
    command.set_defaults(module="ops", op=name)
    _add_host_option(command)
    _add_access(command)
    return command


def _add_switches(commands: Any) -> None:
    _add_op(commands, "start", "Open the SMTP port of a server that was stopped", "smtppseudo start")
    _add_op(
        commands,
        "stop",
        "Close the SMTP port and its sessions; the server stays, and monitors with it",
        "smtppseudo stop --host localhost --monitor-port 2626",
    )


def _add_set(commands: Any) -> None:
    command = _add_op(
        commands,
        "set",
        "Change settings of the running server, all or none; they outlast a restart",
        "smtppseudo set greeting='{hostname} ESMTP' idle_timeout_s=60 accept_mail=false",
    )
    command.add_argument(
        "changes", nargs="+", metavar="KEY=VALUE", help="a setting and its value, as in TOML or a plain string"
    )


def _add_unset(commands: Any) -> None:
    command = _add_op(
        commands,
        "unset",
        "Give settings back to the settings file, or to their defaults",
        "smtppseudo unset greeting",
    )
    command.add_argument("keys", nargs="+", metavar="KEY", help="a setting that was changed by `set` or a monitor")


def _add_disconnect(commands: Any) -> None:
    command = _add_op(commands, "disconnect", "Close the session in a slot", "smtppseudo disconnect 3")
    command.add_argument("slot", type=int, metavar="SLOT", help="the slot's number")


def _add_magic_word(commands: Any) -> None:
    command = _add(
        commands,
        "magic-word",
        "Set the secret that lets monitors in",
        "smtppseudo magic-word --generate",
    )
    command.description = (
        "Set the secret that lets monitors in, or replace it: 8 to 128 printable ASCII characters, typed twice. The"
        " server never sees the word itself. Other monitors are logged out."
    )
    _add_host_option(command)
    _add_access(command)
    source = command.add_mutually_exclusive_group()
    source.add_argument("--generate", action="store_true", help="make one up and print it")
    source.add_argument("--stdin", action="store_true", help="read it from the first line of standard input")


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
    command.add_argument("--port", type=_port, default=25, help="its port (25)")
    command.add_argument("--ehlo", metavar="NAME", help="the name to say hello with (that of this machine)")
    command.add_argument("--helo", action="store_true", help="say HELO instead of EHLO")
    command.add_argument("--pipeline", action="store_true", help="send MAIL, RCPT and DATA at once")
    command.add_argument("--from", dest="sender", default="probe@example.org", metavar="ADDRESS", help="the sender")
    command.add_argument("--to", dest="recipient", default="postmaster", metavar="ADDRESS", help="the recipient")
    command.add_argument("--timeout", type=_seconds, default=30.0, metavar="SECONDS", help="how long to wait (30)")


def _add_config(commands: Any) -> None:
    command = _add(
        commands,
        "config",
        "Print every setting, its value and where that comes from",
        "smtppseudo config --default > smtppseudo.toml",
    )
    _add_places(command)
    command.add_argument("--default", action="store_true", help="print a commented file to start from")


def _add_demo(commands: Any) -> None:
    command = _add(
        commands,
        "demo",
        "Show it all: a server on free ports, made-up visitors, and the monitor screen",
        "smtppseudo demo\n  or, without a terminal: smtppseudo demo --no-screen --seconds 20",
    )
    command.description = (
        "Show it all: a server on free ports, made-up visitors, and the monitor screen. The server answers on this"
        " machine alone and keeps its files in a temporary directory; quitting leaves nothing behind."
    )
    command.add_argument("--seconds", type=_seconds, metavar="N", help="end after so long (until it is quit)")
    command.add_argument("--no-screen", action="store_true", help="print the events instead, as `watch` does")
    command.add_argument("--slots", type=int, default=25, help="how many connections are served at once (25)")
