"""`blocklist`: makes a block list for name servers, firewalls and mail servers from the logs."""

import argparse
from collections.abc import Iterable, Iterator, Sequence, Sized
from datetime import UTC, datetime
from ipaddress import ip_address
from itertools import groupby, islice
from operator import attrgetter
from pathlib import Path
from typing import Final

from smtppseudo.blocklist.evidence import HitFinder
from smtppseudo.blocklist.formats import RENDERERS, is_domain, nsupdate, order, sources_in, zone_file
from smtppseudo.blocklist.hits import Hit, explain, hits_in
from smtppseudo.blocklist.hits_file import MAGIC, HitsFiles, coverage_of, render_hits
from smtppseudo.blocklist.never_listed import NeverListed, read_never_listed
from smtppseudo.blocklist.policy import KEPT_HITS_MAX, SOURCES_MAX, Entry, Hits, policy_of
from smtppseudo.cli import exits
from smtppseudo.cli.log_files import add_logs, find_log_files, with_progress
from smtppseudo.cli.messages import print_text, say
from smtppseudo.cli.options import describe, duration, whole_number
from smtppseudo.cli.places import read_configuration
from smtppseudo.config.settings import BLOCKLIST_FORMATS, EVIDENCE, Settings
from smtppseudo.files import replace
from smtppseudo.logread.logs import Reading, instant
from smtppseudo.net.addresses import machine_addresses, source_number
from smtppseudo.smtp.client_limits import source_of

_DNS_FORMATS: Final = ("nsupdate", "zone")


def add_blocklist(command: argparse.ArgumentParser) -> None:
    describe(
        command,
        "smtppseudo blocklist --format rbldnsd --output /var/lib/rbldns/bl /srv/logs/mx1 /srv/hits/*\n"
        "  smtppseudo blocklist --explain 192.0.2.7",
        "An IPv4 address or an IPv6 /64 is listed when it has enough hits within the window; a hit is a session with"
        " evidence. Without --force, a list that would be empty or shrink by more than half is not written."
        " Hits files are read like logs.",
    )
    add_logs(command)
    add = command.add_argument
    add(
        "--format",
        choices=(*BLOCKLIST_FORMATS, *_DNS_FORMATS, "hits"),
        help="the format of the list (plain); zone: a DNS zone; nsupdate: what changes in that zone; hits: a file of"
        " hits to read beside the logs of other servers",
    )
    add("--zone", type=_zone, metavar="NAME", help="the name of the zone, such as bl.example.org")
    add("--previous", metavar="FILE", help="for nsupdate: the list before, or the zone as it is now; may be empty")
    add("--output", metavar="FILE", help="replace this file with the list (print the list)")
    add("--min-hits", dest="blocklist_min_hits", type=whole_number, metavar="N", help="list an address at N hits (3)")
    expire_help = "how long an address stays listed after its latest hit (7d)"
    add("--window", dest="blocklist_window_days", type=_days, metavar="TIME", help="count hits within this time (30d)")
    add("--expire", dest="blocklist_expire_days", type=_days, metavar="TIME", help=expire_help)
    never_help = "never list this address or network, or those in this file; may be repeated"
    add("--never", action="append", default=[], metavar="NETWORK", help=never_help)
    evidence_help = (
        f"what counts as evidence: some of {', '.join(EVIDENCE)} ({','.join(Settings().blocklist_evidence)})"
    )
    add(
        "--evidence",
        dest="blocklist_evidence",
        type=lambda text: text.split(","),
        metavar="KIND,...",
        help=evidence_help,
    )
    explain_help = "print why an address is listed (exit status 0) or not listed (1), instead of a list"
    add("--explain", metavar="ADDRESS", help=explain_help)
    add("--force", action="store_true", help="write the list even if it is empty, shrinks, or a log cannot be read")


def _days(text: str) -> float:
    return duration(text) / 86_400


def _zone(text: str) -> str:
    if is_domain(name := text.removesuffix(".")):
        return name
    raise argparse.ArgumentTypeError(f"{text} is not a domain of at most 189 characters, such as bl.example.org")


def run(options: argparse.Namespace) -> int:
    """Print or write a list, or explain whether an address is listed."""
    if (options.format in _DNS_FORMATS, options.format == "nsupdate") != (bool(options.zone), bool(options.previous)):
        raise exits.CommandError("--format zone needs --zone; nsupdate needs --zone and --previous", exits.USAGE)
    settings = read_configuration(options, say).settings
    named = [*settings.blocklist_never, *options.never]
    never = read_never_listed(named, [*settings.listen, *machine_addresses()])
    now = int(datetime.now(UTC).timestamp())
    if options.explain is not None:
        source = _source(options.explain)
        hits = (hit for hit in _hits(options, settings, now, {}) if hit.source == source)
        text, is_listed = explain(source, hits, policy_of(settings), never.reason(source), now)
        print_text(text)
        return exits.GOOD if is_listed else exits.FAILED
    before = _sources_before(options)
    known = Hits(policy_of(settings), SOURCES_MAX)
    servers: dict[str, int] = {}
    for source, its_hits in groupby(_hits(options, settings, now, servers), attrgetter("source")):
        while times := [hit.at for hit in islice(its_hits, KEPT_HITS_MAX)]:  # a file may have any number in a row
            known.add(source, *times)
    if options.format == "hits":
        listed = [each for each in sorted(known.sources(), key=source_number) if never.reason(each) is None]
        coverage = coverage_of(known.policy, settings.blocklist_evidence, sorted(servers))
        lines = render_hits(coverage, ((each, known.times_of(each)) for each in listed))
    else:
        entries = [entry for entry in known.review(known.sources(), now) if never.reason(entry.source) is None]
        lines = _render(sorted(entries, key=order), options, settings, before, now)
        listed = [entry.source for entry in entries]
    _check_complete(known, listed, never, options)
    _deliver(listed, lines, options, before)
    return exits.GOOD


def _hits(options: argparse.Namespace, settings: Settings, now: int, servers: dict[str, int]) -> Iterator[Hit]:
    """Yield the hits that are recent enough for the list; add their servers to `servers`. Raises CommandError."""
    policy = policy_of(settings)
    first = max(0, now - policy.span_s)
    since = instant(datetime.fromtimestamp(first, UTC))
    paths = find_log_files(options, since)
    reading = Reading(paths, since)
    sessions = HitFinder(frozenset(settings.blocklist_evidence))
    hits_files = HitsFiles(coverage_of(policy, settings.blocklist_evidence), servers, allows_twice=options.force)
    hits_file = None
    for path, block in with_progress(reading, ((each, block) for each in paths for block in reading.blocks([each]))):
        if block.startswith(MAGIC.encode()):
            hits_file = path
        try:
            found = hits_files.hits_in(block) if path is hits_file else hits_in(reading.rows(block), sessions)
            for hit in found:
                if first <= hit.at <= now:
                    if path is not hits_file:
                        hits_files.note(hit.server)
                    yield hit
        except ValueError as error:
            raise exits.CommandError(f"{path}: {error}") from None
    if damaged := hits_files.damaged + reading.damaged:
        say(f"damaged lines ignored: {damaged}")
    for problem in reading.problems:
        say(problem)
    if reading.problems:
        _require_force(options, "some logs could not be read, so the list would be incomplete")


def _require_force(options: argparse.Namespace, problem: str) -> None:
    if not options.force:
        raise exits.CommandError(f"{problem}; --force writes it anyway")


def _sources_before(options: argparse.Namespace) -> list[str]:
    """Return the sources in the list that is replaced or updated; none if there is no list yet. Raises CommandError."""
    path = options.previous or options.output
    if not path or not (options.previous or Path(path).is_file()):
        return []
    advice = "the list before must be a file that this user can read; it may be empty"
    with exits.file_error(path, advice), Path(path).open(encoding="ascii", errors="replace") as file:
        return list(sources_in(file))


def _check_complete(known: Hits, listed: Sequence[str], never: NeverListed, options: argparse.Namespace) -> None:
    """Report the addresses that were left out. Raise CommandError if one that belongs into the list may be missing."""
    if not known.forgotten:
        return
    more = "more than " if known.has_forgotten_more else ""
    count = sum(not known.times_of(source) for source in known.forgotten)
    say(f"left out: {more}{count:,} addresses, because there are more than {SOURCES_MAX:,}")
    least, there = (1, set()) if options.format == "hits" else (known.policy.min_hits, set(listed))
    missing = [each for each in known.missing(least) if each not in there and never.reason(each) is None]
    if missing or more:
        _require_force(options, f"the list may lack {more}{len(missing):,} addresses with {least} or more hits")


def _render(
    entries: Sequence[Entry], options: argparse.Namespace, settings: Settings, before: Iterable[str], now: int
) -> Iterator[str]:
    if options.format == "nsupdate":
        return nsupdate(entries, settings.hostname, options.zone, before)
    if options.format == "zone":
        return zone_file(entries, settings.hostname, options.zone, serial=now)
    return RENDERERS[options.format or settings.blocklist_format](entries, settings.hostname)


def _deliver(sources: Sized, lines: Iterable[str], options: argparse.Namespace, before: Sized) -> None:
    """Print or write the list. Raises CommandError if it is empty or shrank too much and --force is not given."""
    if not sources:
        why = "no caller has enough hits, or those that have are never listed, such as loopback"
        _require_force(options, f"the list would be empty: {why}; --explain ADDRESS says more")
    if 2 * len(sources) < len(before):
        shrunk = f"the list would shrink from {len(before)} to {len(sources)} entries"
        _require_force(options, f"{options.previous or options.output}: {shrunk}")
    if options.output is None:
        for line in lines:
            print_text(line)
    else:
        with exits.file_error(options.output, "--output must be a file that this user can replace"):
            replace(Path(options.output), "".join(lines), 0o644)


def _source(text: str) -> str:
    """Return the source of an address or of an IPv6 /64. Raises CommandError."""
    try:
        address = ip_address(text.removesuffix("/64") if ":" in text else text)
    except ValueError:
        raise exits.CommandError(f"--explain: {text} is not an IP address", exits.USAGE) from None
    return source_of(str(getattr(address, "ipv4_mapped", None) or address))
