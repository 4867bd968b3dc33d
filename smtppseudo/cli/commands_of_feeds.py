"""The command line of what is made of the logs."""

import argparse
from typing import Any, Final

from smtppseudo.cli.options import add_command

_TOP_MAX: Final = 10_000


def add_report(commands: Any) -> None:
    command = add_command(
        commands,
        "report",
        "Say what the logs say: who called, when, how and how often",
        "smtppseudo report --since 7d\n  smtppseudo report --by network --top 50 /srv/logs/mx1 /srv/logs/mx2",
    )
    command.add_argument(
        "logs",
        nargs="*",
        metavar="LOG",
        help="a log, a directory of logs, or - for standard input; text or JSON, plain or gzipped (the usual place)",
    )
    add_period(command)
    command.add_argument("--top", type=_top, default=10, metavar="N", help="so many rows a table (10)")
    command.add_argument(
        "--by",
        type=_kinds,
        action="extend",
        metavar="KIND",
        help="count by this alone: address, network, helo, domain, sender, verb, reason, kept, hour, day; may be"
        " repeated, or several with commas (all but sender and day)",
    )
    command.add_argument("--utc", action="store_true", help="hours, days and dates are UTC, not local time")
    command.add_argument("--json", action="store_true", help="print one JSON object")
    command.add_argument(
        "--resolve", action="store_true", help="ask DNS for the names of the addresses shown, for 5 s at most"
    )
    command.add_argument("--config", metavar="FILE", help="the settings file that says where the logs are")


def add_period(command: argparse.ArgumentParser) -> None:
    """Add a period."""
    command.add_argument(
        "--since", metavar="TIME", help="from then on: 12h, 7d (ago), 2026-11-01 or 2026-11-01T12:00:00Z"
    )
    command.add_argument("--until", metavar="TIME", help="before then, likewise")


def _top(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text[:9]) <= _TOP_MAX:
        raise argparse.ArgumentTypeError(f"{text} is no number of rows: 1 to {_TOP_MAX}")
    return int(text)


def _kinds(text: str) -> list[str]:
    from smtppseudo.feeds.report import KINDS

    kinds = text.split(",")
    for kind in kinds:
        if kind not in KINDS:
            raise argparse.ArgumentTypeError(f"{kind!r} is none of {', '.join(KINDS)}")
    return kinds
