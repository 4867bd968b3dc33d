"""The made-up week: logs of the days before today, for the commands that read logs.

The demo's callers talk to the server's session machine, in simulated time. Their networks are reserved for
documentation (RFC 5737, RFC 3849), so no block list contains them. The callers that can be listed have addresses of the
6bone, which were returned in 2006 (RFC 3701).
"""

import contextlib
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from operator import itemgetter
from pathlib import Path
from random import Random
from typing import Final

from smtppseudo.config.settings import Settings
from smtppseudo.demo.callers import ReadReply, Reset, Script, Send, Wait, arrivals, source
from smtppseudo.events import CloseReason, Connected, Event, Online
from smtppseudo.log.records import render_text
from smtppseudo.logread.logs import instant
from smtppseudo.smtp.dialogue import Dialogue
from smtppseudo.smtp.session import SmtpSession

_SEED: Final = 7
_DAYS: Final = 7
_SLOWER: Final = 600  # than the demo
_BUSY: Final = (5, 5, 6, 5, 4, 3, 2, 2, 3, 5, 6, 6, 4, 5, 6, 6, 5, 3, 2, 2, 2, 3, 3, 4)  # by hour; 4 = usual
_NETWORKS: Final = {"66": "203.0.113.", "67": "3ffe:b80:67:", "88": "2001:db8:88:", "91": "3ffe:b80:91:"}


def address(source: str) -> str:
    """Return the address that a caller of the demo has in the logs."""
    _, network, high, low = source.split(".")
    start = _NETWORKS.get(network, "198.51.100." if int(network) > 20 else "192.0.2.")
    host = int(high) << 8 | int(low)
    return f"{start}{host:x}::25" if ":" in start else f"{start}{host % 254 + 1}"


SPAMMER: Final = address(source(66, 1))
"""The address that calls most often."""


def write_week(directory: Path, today: date) -> None:
    """Write the logs into a new directory. Their days start at local midnight."""
    directory.mkdir()
    days: dict[str, list[str]] = {}
    for at, origin, events in sorted(_entries(today), key=itemgetter(0)):
        when = datetime.fromtimestamp(at, UTC)
        lines = days.setdefault(str(when.astimezone().date()), [])
        lines += render_text([(instant(when), origin, events)], "\n")
    for day, lines in days.items():
        (directory / f"{day}.log").write_text("".join(lines), "ascii", newline="\n")


def _entries(today: date) -> Iterator[tuple[float, str, Sequence[Event]]]:
    """Yield the time of events, in seconds since 1970, their origin, and the events, session by session."""
    at, end = (datetime.combine(day, time()).timestamp() for day in (today - timedelta(_DAYS), today))
    yield at, "", (Online("start"),)
    dialogue = Dialogue(Settings(hostname="mail.example.org"))
    free_at = [at] * 25
    for number, (after_s, caller, script) in enumerate(arrivals(Random(_SEED), len(free_at)), 1):  # noqa: S311
        at += after_s * _SLOWER * 4 / _BUSY[datetime.fromtimestamp(at, UTC).astimezone().hour]
        if at >= end:
            return
        ip, slot = address(caller), next(slot for slot, free in enumerate(free_at) if free <= at)
        session = SmtpSession(dialogue, number, slot + 1, ip, 32_768 + number, dialogue.greeting(ip, ""), at)
        for said_at, events in _play(session, script):
            yield said_at, session.origin, events
            free_at[slot] = said_at


def _play(session: SmtpSession, script: Script) -> Iterator[tuple[float, Sequence[Event]]]:
    """Run a script against a session to its end; yield the events with their times."""
    now = session.started_at
    yield now, (Connected(25),)
    reply = session.data_to_send(now)
    reason: CloseReason = "peer"
    step = next(script)
    with contextlib.suppress(StopIteration):
        while session.close_reason is None:
            read = b""
            match step:
                case Send(data):
                    yield now, session.receive(data, now)
                    reply += session.data_to_send(now)
                case ReadReply():
                    read, reply = reply, b""
                case Wait(seconds):
                    now = min(now + seconds, session.deadline)
                    session.tick(now)
                case Reset():
                    reason = "reset"
                    break
            step = script.send(read)
    yield now, session.closed(reason, now)
