"""The command line of what is made of the logs."""

import argparse
from typing import Any, Final

from smtppseudo.cli.options import add_command, whole
from smtppseudo.config.settings import BLOCKLIST_FORMATS, EVIDENCE, Settings

_TOP_MAX: Final = 10_000


def add_report(commands: Any) -> None:
    command = add_command(
        commands,
        "report",
        "Sum up the logs: who called, when, how and how often",
        "smtppseudo report --since 7d\n  smtppseudo report --by network --top 50 /srv/logs/mx1 /srv/logs/mx2",
    )
    add_logs(command)
    add_period(command)
    command.add_argument("--top", type=_top, default=10, metavar="N", help="print so many rows of each table (10)")
    command.add_argument(
        "--by",
        type=_kinds,
        action="extend",
        metavar="KIND",
        help="count by this alone: address, network, helo, domain, sender, verb, reason, kept, hour, day; may be"
        " repeated, or several with commas (all but sender and day)",
    )
    command.add_argument("--utc", action="store_true", help="take hours, days and dates as UTC, not local time")
    command.add_argument("--json", action="store_true", help="print one JSON object")
    command.add_argument(
        "--resolve", action="store_true", help="ask DNS for the names of the addresses shown, for 5 s at most"
    )


def add_logs(command: argparse.ArgumentParser) -> None:
    """Add which logs are read."""
    command.add_argument(
        "logs",
        nargs="*",
        metavar="LOG",
        help="a log, a directory of logs, or - for standard input; text or JSON, plain or gzipped (the log directory)",
    )
    command.add_argument("--config", metavar="FILE", help="the settings file, which says where the logs are")


def add_period(command: argparse.ArgumentParser) -> None:
    """Add a period."""
    command.add_argument(
        "--since", metavar="TIME", help="read from then on: 12h or 7d (ago), 2026-11-01 or 2026-11-01T12:00:00Z"
    )
    command.add_argument("--until", metavar="TIME", help="read up to then, given likewise")


def _top(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text[:9]) <= _TOP_MAX:
        raise argparse.ArgumentTypeError(f"{text} is not a number of rows: 1 to {_TOP_MAX}")
    return int(text)


def _kinds(text: str) -> list[str]:
    from smtppseudo.report.report import KINDS

    kinds = text.split(",")
    for kind in kinds:
        if kind not in KINDS:
            raise argparse.ArgumentTypeError(f"{kind} is not one of {', '.join(KINDS)}")
    return kinds


def add_blocklist(commands: Any) -> None:
    command = add_command(
        commands,
        "blocklist",
        "Make a block list from the logs: who calls again and again",
        "smtppseudo blocklist --format rbldnsd --output /var/lib/rbldns/bl /srv/logs/mx1 /srv/logs/mx2\n"
        "  smtppseudo blocklist --explain 192.0.2.7",
    )
    command.description = (
        "Make a block list from the logs. An IPv4 address, or an IPv6 /64, is listed when it has enough hits, which are"
        " sessions with evidence, within the window. A list that would be empty, or shrink by more than half, is not"
        " written without --force."
    )
    add_logs(command)
    command.add_argument(
        "--format", dest="blocklist_format", choices=BLOCKLIST_FORMATS, help="the format of the list (plain)"
    )
    command.add_argument("--output", metavar="FILE", help="write the list to this file, whole (print the list)")
    _add_policy(command)
    command.add_argument(
        "--explain",
        metavar="ADDRESS",
        help="say why an address is listed (exit status 0) or not (1), and print no list",
    )
    command.add_argument(
        "--force", action="store_true", help="make the list even if it is empty, shrinks, or lacks a log"
    )
    command.add_argument(
        "--print",
        dest="text",
        choices=("fail2ban", "fail2ban-filter", "fail2ban-jail"),
        help="print no list, but a filter and a jail for fail2ban, or one of them",
    )


def _add_policy(command: argparse.ArgumentParser) -> None:
    """Add who is listed, for how long, and who never is."""
    command.add_argument(
        "--min-hits", dest="blocklist_min_hits", type=whole, metavar="N", help="how many hits list an address (3)"
    )
    command.add_argument(
        "--window",
        dest="blocklist_window_days",
        type=_days,
        metavar="TIME",
        help="the time within which these hits must lie (30d)",
    )
    command.add_argument(
        "--expire",
        dest="blocklist_expire_days",
        type=_days,
        metavar="TIME",
        help="how long an address stays listed after its latest hit (7d)",
    )
    command.add_argument(
        "--never",
        action="append",
        default=[],
        metavar="WHO",
        help="never list this address or network, or those in this file; may be repeated",
    )
    command.add_argument(
        "--evidence",
        dest="blocklist_evidence",
        type=lambda text: text.split(","),
        metavar="KIND,...",
        help=f"what counts as evidence: some of {', '.join(EVIDENCE)} ({','.join(Settings().blocklist_evidence)})",
    )


def _days(text: str) -> float:
    from smtppseudo.cli.periods import duration

    return duration(text).total_seconds() / 86_400
