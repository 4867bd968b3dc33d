"""`find`: the whole sessions in the logs that contain a text, an address, a sender or a recipient."""

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from ipaddress import ip_address, ip_network
from pathlib import Path

from smtppseudo.cli import exits
from smtppseudo.cli.log_files import add_logs, add_period, find_log_files, read_period, with_progress
from smtppseudo.cli.messages import print_text, say
from smtppseudo.cli.options import describe, network
from smtppseudo.events import printable
from smtppseudo.log.records import KINDS, event_of, fields, place_of, read_record
from smtppseudo.logread.logs import STDIN, Reading
from smtppseudo.logread.search import KEYS_MAX, Condition, Search, condition, text_of
from smtppseudo.report.report import address_of, split


def add_find(command: argparse.ArgumentParser) -> None:
    describe(
        command,
        "smtppseudo find --since yesterday 'ehlo ylmf-pc'\n  smtppseudo find --sender @example.com /srv/logs/mx1",
        "A session must match everything that you give. Prints log lines, session by session, the newest last. Exit"
        " status: 0 found, 1 not found, or a log was unreadable.",
    )
    add = command.add_argument
    add("text", nargs="?", metavar="TEXT", help="a part of a line of a text log, in upper or lower case")
    add_logs(command)
    add("--ip", type=network, metavar="ADDRESS", help="the caller's address, or a network")
    add("--sender", metavar="TEXT", help="a part of the address after MAIL FROM")
    add("--recipient", metavar="TEXT", help="a part of an address after RCPT TO")
    add_period(command)
    add("--json", action="store_true", help="print each line as a JSON object")


def run(options: argparse.Namespace) -> int:
    """Print the sessions; return 1 if there is none, or a log was unreadable."""
    since, until = read_period(options, datetime.now(UTC))
    search = Search(list(_conditions(options)), since, until)
    files = find_log_files(options, since, until)
    if STDIN in files:
        _copy_stdin()
    for path in files:
        if path.is_fifo() and path != STDIN:
            raise exits.CommandError(f"{path}: a pipe cannot be read twice; read it from standard input: -")
    reading, again = Reading(files), Reading(files)
    for block in with_progress(reading, reading.blocks(files)):
        search.note(block)
    for problem in reading.problems:
        say(problem)
    if search.is_too_wide:
        raise exits.CommandError(f"more than {KEYS_MAX:,} sessions match; narrow it: a longer TEXT, --ip, --since")
    if STDIN in files:
        os.lseek(0, 0, os.SEEK_SET)
    servers = [[path for path in files if path.parent == parent] for parent in {path.parent: 0 for path in files}]
    is_found = False
    for session in search.sessions([with_progress(again, again.blocks(logs)) for logs in servers]):
        print_text("".join(map(_json_of if options.json else text_of, session)))
        is_found = True
    if not is_found:
        say("no session matches")
    return exits.GOOD if is_found and not reading.problems else exits.FAILED


def _conditions(options: argparse.Namespace) -> Iterator[Condition]:
    """Yield the conditions. A TEXT that is a log becomes one, if there are other conditions and no logs."""
    if options.sender or options.recipient or options.ip:
        if not options.logs and options.text and (options.text == "-" or Path(options.text).exists()):
            options.logs, options.text = [options.text], None
    elif not options.text:
        raise exits.CommandError("give TEXT, --ip, --sender or --recipient; see --help", exits.USAGE)
    text, sender, recipient = (
        printable(each or "").lower() for each in (options.text, options.sender, options.recipient)
    )
    if text:
        yield condition(text, lambda _, line: text in text_of(line).lower())
    if sender:
        yield condition(sender, lambda row, _: sender in address_of(split(row[5])[1]).lower())
    if recipient:
        yield condition(recipient, lambda row, _: recipient in address_of(split(row[5])[1], "TO").lower())
    if options.ip:
        net = ip_network(options.ip)
        # Its addresses begin like the first and the last one, up to a `::`, which may stand elsewhere in others.
        start = os.path.commonprefix([str(net[0]), str(net[-1])]).partition("::")[0]  # noqa: RUF071 - text, no path
        yield condition(start, lambda row, _: _is_in(row[3], options.ip))


@lru_cache(4_096)
def _is_in(ip: str, network: str) -> bool:
    try:
        return ip_address(ip.partition("%")[0]) in ip_network(network)
    except ValueError:  # somebody edited the log
        return False


def _json_of(line: bytes) -> str:
    record = read_record(line.decode("latin-1"))
    place = {
        name: value for name, value in zip(("slot", "session", "ip", "port"), place_of(record), strict=True) if value
    }
    own = fields(event_of(record)) if record["event"] in KINDS else ()
    typed = {**record, **place, **dict(own)}
    return json.dumps(typed, separators=(",", ":")) + "\n"


def _copy_stdin() -> None:
    """Copy standard input into a temporary file, because it is read twice. Raises CommandError."""
    advice = "set TMPDIR to another place"
    with exits.file_error("cannot copy standard input", advice), tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(sys.stdin.buffer, copy)
        copy.seek(0)
        os.dup2(copy.fileno(), 0)
