"""The report: counts over the rows of logs, in bounded memory."""

import re
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, tzinfo
from functools import lru_cache
from ipaddress import ip_network
from typing import Final, get_args

from smtppseudo.events import TurnedAwayReason, escape, unescape
from smtppseudo.logread.scan import SUPPRESSED, Row
from smtppseudo.report.tally import KEPT, Tally

KINDS: Final = (
    "address", "network", "helo", "domain", "sender", "recipient", "verb",
    "reason", "duration", "hour", "day", "refused", "server", "local",
)  # fmt: skip
"""What is counted: connections by address, network, hour, day, server, and its address (`local`); commands by verb,
helo, domain and sender (of MAIL) and recipient (of RCPT); ended sessions by reason and duration; refused mails by day
(`refused`)."""
HOURS: Final = tuple(f"{hour:02}" for hour in range(24))
SPANS: Final = ("under 1 s", "1 to 10 s", "10 s to 1 min", "1 to 10 min", "over 10 min")
_SPAN_ENDS_MS: Final = (1_000, 10_000, 60_000, 600_000)
_IPV4: Final = re.compile(r"(\d{1,3}\.\d{1,3}\.\d{1,3})\.\d{1,3}", re.ASCII)
_PATH: Final = re.compile(r"(FROM|TO):\s*(?:<([^>]*)|(\S+))", re.ASCII | re.IGNORECASE)
_NO_SENDER: Final = "<>"
_SENDER_REFUSED: Final = "553"
_OF_COMMANDS: Final = ("verb", "helo", "domain", "sender", "recipient")
_REASONS: Final = get_args(TurnedAwayReason)


class Report:
    """Counts rows by some `kinds` of `KINDS`. Hours and days are in `zone` (None: the zone of this machine).

    `kept` is the limit of each tally.
    """

    def __init__(self, kinds: Iterable[str], zone: tzinfo | None = None, kept: int = KEPT) -> None:
        self.zone = zone
        self.connected = 0
        self.commands = 0
        self.closed = 0
        self.mails_refused = 0
        self.wasted_ms = 0
        self.lost = 0
        self.suppressed = 0
        self.turned_away = Counter[str]()
        self.first = ""
        self.last = ""
        self._inferred_mails = 0  # from commands since a session ended
        self.tallies = {kind: Tally(kept) for kind in kinds}
        self._day_and_hour = lru_cache(4_096)(lambda minute: _day_and_hour(minute, zone))

    def add(self, rows: Sequence[Row]) -> None:
        """Count rows; fastest with some thousands at a time."""
        callers, minutes, said, ends = (list[str]() for _ in range(4))
        spans: list[int] = []
        refused = Counter[str]()
        for time, kind, _, ip, _, data, code, _, reason, amount, mails, _ in rows:
            if kind == "command":
                said.append(data)
                self._inferred_mails += code == _SENDER_REFUSED
            elif kind == "connected":
                callers.append(ip)
                minutes.append(time[:16])
            elif kind == "closed":
                ends.append(reason)
                spans.append(int(amount))
                # Only logs of old servers lack the number.
                if count := int(mails) if mails else self._inferred_mails:
                    refused[time[:16]] += count
                self._inferred_mails = 0
            elif kind == "turned_away":
                self.turned_away[reason if reason in _REASONS else "other"] += int(amount)  # one of a later version
            elif kind == "error":
                self.lost += int(amount)
            elif kind == SUPPRESSED:
                self.suppressed += int(amount)
        self._note_times(rows)
        self.connected += len(callers)
        self.commands += len(said)
        self.mails_refused += sum(refused.values())
        by_caller = Counter(callers)
        self._tally("address", by_caller)
        self._tally("network", _sums(by_caller, network_of))
        self._add_servers(rows)
        connected = Counter(minutes)
        self._add_minutes("hour", connected, 1)
        self._add_minutes("day", connected, 0)
        self._add_minutes("refused", refused, 0)
        self._add_commands(Counter(said))
        self._add_ended(ends, spans)

    def _add_ended(self, ends: Sequence[str], spans: Sequence[int]) -> None:
        self.closed += len(ends)
        self.wasted_ms += sum(spans)
        self._tally("reason", Counter(ends))
        self._tally("duration", Counter([SPANS[bisect_right(_SPAN_ENDS_MS, span)] for span in spans]))

    def _note_times(self, rows: Sequence[Row]) -> None:
        times = [row[0] for row in rows]  # several servers that share a file write a little out of order
        if times:
            self.first = min(self.first or times[0], *times)
            self.last = max(self.last, *times)

    def _add_servers(self, rows: Sequence[Row]) -> None:
        for kind, column in (("server", -1), ("local", 5)):
            if kind in self.tallies:
                self._tally(kind, Counter([row[column] for row in rows if row[1] == "connected"]))

    def _add_minutes(self, kind: str, minutes: Mapping[str, int], part: int) -> None:
        if kind in self.tallies:
            self._tally(kind, _sums(minutes, lambda minute: self._day_and_hour(minute)[part]))

    def _add_commands(self, lines: Mapping[str, int]) -> None:
        if self.tallies.keys().isdisjoint(_OF_COMMANDS):
            return
        verbs, helos, senders, recipients = (defaultdict[str, int](int) for _ in range(4))
        for line, count in lines.items():
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
        self._tally("domain", _sums(senders, domain_of))
        self._tally("sender", senders)
        self._tally("recipient", recipients)

    def _tally(self, kind: str, sums: Mapping[str, int]) -> None:
        if kind in self.tallies:
            self.tallies[kind].add(sums)


def _sums(counts: Mapping[str, int], name_of: Callable[[str], str]) -> dict[str, int]:
    """Sum up counts by the name of each key."""
    sums = defaultdict[str, int](int)
    for key, count in counts.items():
        sums[name_of(key)] += count
    return sums


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


def _day_and_hour(minute: str, zone: tzinfo | None) -> tuple[str, str]:
    at = local(minute, zone)
    return (str(at.date()), HOURS[at.hour]) if at else ("", "")
