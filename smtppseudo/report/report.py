"""The report: counts over the rows of logs, in bounded memory."""

import heapq
import re
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, tzinfo
from functools import lru_cache
from ipaddress import ip_network
from typing import Final, TypeAlias, get_args

from smtppseudo.events import TurnedAwayReason, escape, unescape
from smtppseudo.logread.scan import SUPPRESSED, Row

KINDS: Final = {
    "address": "Addresses",
    "network": "Networks (/24, /48)",
    "helo": "HELO names",
    "domain": "Sender domains",
    "sender": "Senders",
    "recipient": "Recipients",
    "verb": "Commands",
    "reason": "Why sessions ended",
    "duration": "How long sessions lasted",
    "hour": "Hours of the day",
    "day": "Days",
    "refused": "Mails refused a day",
    "server": "Servers",
    "local": "Addresses of servers",
}
"""What is counted, with the title of its table: connections by address, network, hour, day, server, and its address
(`local`); commands by verb, helo, domain and sender (of MAIL) and recipient (of RCPT); ended sessions by reason and
duration; refused mails by day (`refused`)."""
KEPT: Final = 20_000
NAME_MAX: Final = 128
HOURS: Final = tuple(f"{hour:02}" for hour in range(24))
SPANS: Final = ("under 1 s", "1 to 10 s", "10 s to 1 min", "1 to 10 min", "over 10 min")
_SPAN_ENDS_MS: Final = (1_000, 10_000, 60_000, 600_000)
_IPV4: Final = re.compile(r"(\d{1,3}\.\d{1,3}\.\d{1,3})\.\d{1,3}", re.ASCII)
_PATH: Final = re.compile(r"(FROM|TO):\s*(?:<([^>]*)|(\S+))", re.ASCII | re.IGNORECASE)
_NO_SENDER: Final = "<>"
_SENDER_REFUSED: Final = "553"
_OF_COMMANDS: Final = ("verb", "helo", "domain", "sender", "recipient")
_NameOf: TypeAlias = Callable[[str], str]
_REASONS: Final = get_args(TurnedAwayReason)


class Tally:
    """Counts names; exact for at most `2 * kept` of them. Names longer than 128 characters are cut.

    With more names the rarest are forgotten (Misra and Gries, 1982). A count can then be too low by at most `short`,
    which is at most `total / kept`. A name takes about 200 bytes.
    """

    def __init__(self, kept: int = KEPT) -> None:
        self.short = 0
        self.total = 0
        self._kept = kept
        self._counts: dict[str, int] = {}

    def __len__(self) -> int:
        """Return the number of names; if `short` is not 0, there were more."""
        return len(self._counts)

    def add(self, counts: Mapping[str, int]) -> None:
        """Add counts by name. An empty name is ignored."""
        known = self._counts
        if "" in counts or max(map(len, counts), default=0) > NAME_MAX:
            usable = Counter[str]()
            for name, count in counts.items():
                if name:
                    usable[cut(name, NAME_MAX)] += count
            counts = usable
        for name, count in counts.items():
            known[name] = known.get(name, 0) + count
        self.total += sum(counts.values())
        if len(known) > 2 * self._kept:
            less = sorted(known.values(), reverse=True)[self._kept]
            self._counts = {name: count - less for name, count in known.items() if count > less}
            self.short += less

    def top(self, count: int) -> list[tuple[str, int]]:
        """Return the most frequent names with their counts; names with equal counts are sorted."""
        return heapq.nsmallest(count, self._counts.items(), key=lambda item: (-item[1], item[0]))

    def in_order(self) -> list[tuple[str, int]]:
        """Return all names with their counts, sorted by name."""
        return sorted(self._counts.items())


def cut(name: str, length: int) -> str:
    """Shorten a name to a length."""
    return name if len(name) <= length else name[: length - 3] + "..."


class Report:
    """Counts rows by some `kinds` of `KINDS`. Hours and days are in `zone` (None: the zone of this machine).

    `kept` is the limit of each tally.
    """

    def __init__(self, kinds: Iterable[str], zone: tzinfo | None = None, kept: int = KEPT) -> None:
        self.zone = zone
        self.connected = self.commands = self.closed = self.mails_refused = 0
        self.wasted_ms = self.lost = self.suppressed = 0
        self.turned_away = Counter[str]()
        self.first = self.last = ""
        self._inferred_mails = 0  # from commands since a session ended
        self.tallies = {kind: Tally(kept) for kind in kinds}

        @lru_cache(4_096)
        def day_and_hour(minute: str) -> tuple[str, str]:
            at = local(minute, zone)
            return (str(at.date()), HOURS[at.hour]) if at else ("", "")

        self._day_of: _NameOf = lambda minute: day_and_hour(minute)[0]
        self._hour_of: _NameOf = lambda minute: day_and_hour(minute)[1]

    def add(self, rows: Sequence[Row]) -> None:
        """Count rows; fastest with some thousands at a time."""
        if not rows:
            return
        times = [row[0] for row in rows]  # several servers that share a file write a little out of order
        self.first = min(self.first or times[0], *times)
        self.last = max(self.last, *times)
        by_kind = defaultdict[str, list[Row]](list)
        for row in rows:
            by_kind[row[1]].append(row)
        self._add_connected(by_kind["connected"])
        self._add_commands([row[5] for row in by_kind["command"]])
        self._add_closed(by_kind["closed"])
        self._add_refused(rows)
        for row in by_kind["turned_away"]:
            self.turned_away[row[8] if row[8] in _REASONS else "other"] += int(row[9])  # one of a later version
        self.lost += sum(int(row[9]) for row in by_kind["error"])
        self.suppressed += sum(int(row[9]) for row in by_kind[SUPPRESSED])

    def _add_connected(self, rows: Sequence[Row]) -> None:
        self.connected += len(rows)
        callers, minutes = Counter([row[3] for row in rows]), Counter([row[0][:16] for row in rows])
        self._tally("address", callers)
        self._tally("network", callers, network_of)
        self._tally("hour", minutes, self._hour_of)
        self._tally("day", minutes, self._day_of)
        self._tally("server", Counter([row[11] for row in rows]))
        self._tally("local", Counter([row[5] for row in rows]))

    def _add_closed(self, rows: Sequence[Row]) -> None:
        self.closed += len(rows)
        spans = [int(row[9]) for row in rows]
        self.wasted_ms += sum(spans)
        self._tally("reason", Counter([row[8] for row in rows]))
        self._tally("duration", Counter([SPANS[bisect_right(_SPAN_ENDS_MS, span)] for span in spans]))

    def _add_refused(self, rows: Sequence[Row]) -> None:
        refused = Counter[str]()
        for row in rows:
            if row[6] == _SENDER_REFUSED:
                self._inferred_mails += 1
            elif row[1] == "closed":
                if count := int(row[10] or self._inferred_mails):  # only logs of old servers lack the number
                    refused[row[0][:16]] += count
                self._inferred_mails = 0
        self.mails_refused += refused.total()
        self._tally("refused", refused, self._day_of)

    def _add_commands(self, lines: Sequence[str]) -> None:
        self.commands += len(lines)
        if self.tallies.keys().isdisjoint(_OF_COMMANDS):
            return
        verbs, helos, senders, recipients = (defaultdict[str, int](int) for _ in range(4))
        for line, count in Counter(lines).items():
            verb, argument = split(line)
            verbs[verb] += count
            if verb == "MAIL":
                senders[address_of(argument)] += count
            elif verb == "RCPT":
                recipients[address_of(argument, "TO")] += count
            elif verb in ("HELO", "EHLO"):
                helos[argument.partition(" ")[0].lower()] += count
        self._tally("verb", verbs)
        self._tally("helo", helos)
        self._tally("domain", senders, domain_of)
        self._tally("sender", senders)
        self._tally("recipient", recipients)

    def _tally(self, kind: str, counts: Mapping[str, int], name_of: _NameOf | None = None) -> None:
        """Add counts to the tally of a kind, if there is one, by the names that `name_of` returns."""
        if kind not in self.tallies:
            return
        if name_of is not None:
            sums = defaultdict[str, int](int)
            for key, count in counts.items():
                sums[name_of(key)] += count
            counts = sums
        self.tallies[kind].add(counts)


def split(data: str) -> tuple[str, str]:
    """Split a command, escaped as in a log, into its verb and its argument."""
    verb, _, argument = data.partition(" ")
    if verb.isalpha() and "\\" not in data:  # nearly all commands, at half the cost
        return verb.upper(), argument.lstrip()
    words = [escape(word) for word in unescape(data).split(None, 1)]  # an escaped tab splits, too, as in the server
    if not words:
        return "(empty)", ""
    return words[0].upper() if words[0].isalpha() else words[0], "".join(words[1:])


def address_of(argument: str, keyword: str = "FROM") -> str:
    """Return the address after FROM or TO, its domain in lower case; `<>` for the empty one, "" for none."""
    match = _PATH.match(argument)
    if match is None or match[1].upper() != keyword:
        return ""
    local, at, domain = (match[2] or match[3] or _NO_SENDER).rpartition("@")
    return local + at + domain.lower() if at else domain


def domain_of(sender: str) -> str:
    """Return the domain of an address, `<>` for the empty one, "" for none."""
    _, at, domain = sender.rpartition("@")
    return domain if at or domain == _NO_SENDER else ""


@lru_cache(4_096)
def network_of(ip: str) -> str:
    """Return the /24 of an IPv4 address, the /48 of an IPv6 address; empty for other text."""
    match = _IPV4.fullmatch(ip)
    if match:
        return f"{match[1]}.0/24"
    try:
        return str(ip_network((ip.partition("%")[0], 48), strict=False)) if ":" in ip else ""
    except ValueError:
        return ""


def local(time: str, zone: tzinfo | None) -> datetime | None:
    """Return a time of a log, or its beginning up to the minute, in a zone; None if there is no such date there."""
    try:
        return datetime.fromisoformat(f"{time[:19]}+00:00").astimezone(zone)
    except (OverflowError, ValueError):
        return None
