"""Options: what the command line's commands have in common, and how their values are checked."""

import argparse
from typing import Any, Final


class _Help(argparse.RawDescriptionHelpFormatter):
    """Wraps a description, but leaves an example as it is."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text.startswith(_EXAMPLE):
            return super()._fill_text(text, width, indent)
        return argparse.HelpFormatter._fill_text(self, text, width, indent)  # noqa: SLF001 - as it does it


_EXAMPLE: Final = "Example:"


def add_command(commands: Any, name: str, summary: str, example: str) -> argparse.ArgumentParser:
    """Add a command, with a module of its name, its summary and an example."""
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


def add_places(command: argparse.ArgumentParser) -> None:
    """Add where the files are."""
    command.add_argument(
        "--config",
        metavar="FILE",
        help="the settings file (/etc/smtppseudo/smtppseudo.toml; not as root: ~/.config/smtppseudo/smtppseudo.toml)",
    )
    command.add_argument(
        "--state-dir",
        metavar="DIR",
        help="the state directory, for what monitors set (/var/lib/smtppseudo; not as root: ~/.local/state/smtppseudo)",
    )
    command.add_argument(
        "--log-dir",
        metavar="DIR",
        help="the directory of the logs (/var/log/smtppseudo; not as root: ~/.local/state/smtppseudo/log)",
    )


def add_access(command: argparse.ArgumentParser) -> None:
    """Add how a server is found and logged in to; `host` is the caller's."""
    command.add_argument(
        "--monitor-port", type=port, metavar="PORT", help="its monitor port (that in the state directory, else 26)"
    )
    command.add_argument(
        "--state-dir",
        metavar="DIR",
        help="the state directory of a server on this machine (this user's and the service's)",
    )
    command.add_argument(
        "--magic-file", metavar="FILE", help="a file that holds the magic word and that others cannot read"
    )
    way = command.add_mutually_exclusive_group()
    way.add_argument(
        "--tls",
        action="store_const",
        const="on",
        default="auto",
        help="use TLS to this machine, too, as to all others",
    )
    way.add_argument(
        "--cleartext",
        action="store_const",
        const="off",
        default="auto",
        dest="tls",
        help="use no TLS, though everybody on the way to another machine can then read and change what is said",
    )
    command.add_argument(
        "--pin",
        type=fingerprint,
        metavar="SHA256:...",
        help="trust the certificate with this fingerprint from now on (the one accepted at the first connection)",
    )


def add_host(command: argparse.ArgumentParser) -> None:
    """Add the server as an argument."""
    command.add_argument("host", nargs="?", metavar="HOST", help="the server (this machine)")


def add_host_option(command: argparse.ArgumentParser) -> None:
    """Add the server as an option."""
    command.add_argument("--host", metavar="HOST", help="the server (this machine)")


def port(text: str) -> int:
    """Take a port."""
    if not text.isdecimal() or not 0 < int(text[:9]) < 1 << 16:
        raise argparse.ArgumentTypeError(f"{text} is not a port: 1 to 65535")
    return int(text)


def whole(text: str) -> int:
    """Take a whole number; what is allowed is seen to later."""
    if not text.isdecimal() or len(text) > 18:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number")
    return int(text)


def fingerprint(text: str) -> str:
    """Take a certificate's fingerprint."""
    from smtppseudo.link.pins import parse_fingerprint

    try:
        return parse_fingerprint(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def seconds(text: str) -> float:
    """Take a time above 0."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e6:
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds above 0 and below 1000000")
    return seconds


def seq(text: str) -> int:
    """Take an event's number."""
    if not text.isdecimal() or len(text) > 18:
        raise argparse.ArgumentTypeError(f"{text} is not the number of an event")
    return int(text)


def network(text: str) -> str:
    """Take an address or a network."""
    import ipaddress

    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        message = f"{text} is neither an address nor a network such as 192.0.2.0/24"
        raise argparse.ArgumentTypeError(message) from None
