"""Options: the help of a command, and argument types that several commands use."""

import argparse
import re
from ipaddress import ip_network
from typing import Final

from smtppseudo.cli import exits
from smtppseudo.config.checks import duration_s

_EXAMPLE: Final = "Example:\n"


class HelpFormatter(argparse.HelpFormatter):
    """Keeps the line breaks of the example."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if text.startswith(_EXAMPLE) else super()._fill_text(text, width, indent)


def describe(command: argparse.ArgumentParser, example: str, details: str = "") -> None:
    """Add details to the description, which is the summary so far, and set the example."""
    command.description = f"{command.description} {details}".rstrip()
    command.epilog = f"{_EXAMPLE}  {example}"


def port(text: str) -> int:
    """Parse a port."""
    if not text.isdecimal() or not 0 < int(text[:9]) < 1 << 16:
        raise argparse.ArgumentTypeError(f"{text} is not a port: 1 to 65535")
    return int(text)


def host_and_port(host: str | None, given: int | None) -> tuple[str | None, int | None]:
    """Split HOST:PORT or [ADDRESS]:PORT. `given` is the port of another option. Raises CommandError."""
    match = re.fullmatch(r"(?:\[(.+)\]|([^:]+))(?::([^:]*))?", host or "")
    if match is None:  # an IPv6 address, or nothing
        return host, given
    if match[3] is not None:
        if given is not None:
            raise exits.CommandError(f"the port is given twice: in {host}, and {given} by an option", exits.USAGE)
        try:
            given = port(match[3])
        except argparse.ArgumentTypeError:
            raise exits.CommandError(f"{host}: the port must be 1 to 65535", exits.USAGE) from None
    return match[1] or match[2], given


def network(text: str) -> str:
    """Parse an address or a network."""
    try:
        return str(ip_network(text, strict=False))
    except ValueError:
        message = f"{text} is neither an address nor a network such as 192.0.2.0/24"
        raise argparse.ArgumentTypeError(message) from None


def whole_number(text: str) -> int:
    """Parse a whole number of any size that fits into 64 bits; the command checks its range."""
    if not text.isdecimal() or len(text) > 18:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number")
    return int(text)


def duration(text: str) -> int:
    """Parse a duration such as 90s, 30m, 12h, 7d or 4w; return seconds. Raises argparse.ArgumentTypeError."""
    if seconds := duration_s(text):
        return seconds
    raise argparse.ArgumentTypeError(f"{text} is not a time such as 30m, 12h, 7d or 4w")


def seconds(text: str) -> float:
    """Parse a number of seconds above 0, or a duration."""
    try:
        seconds = float(duration_s(text) or text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e6:
        raise argparse.ArgumentTypeError(f"{text} is not a time such as 30 (seconds), 90s or 5m, below 1000000 s")
    return seconds
