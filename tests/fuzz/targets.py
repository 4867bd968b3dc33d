"""The fuzz targets: properties of the parsers of foreign input that must hold for any bytes.

A target is a function of bytes that asserts. The first bytes choose its parameters, such as the dialogue and the chunk
size.
"""

import contextlib
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, get_args

from smtppseudo.blocklist.evidence import VERBS, HitFinder
from smtppseudo.blocklist.formats import RENDERERS, nsupdate, order, sources_in, zone_file
from smtppseudo.blocklist.hits import hits_in
from smtppseudo.blocklist.hits_file import HitsFiles, coverage_of, parse_coverage, parse_hits, render_hits
from smtppseudo.blocklist.never_listed import NeverListed
from smtppseudo.blocklist.policy import DAY_S, Entry, Hits, Policy
from smtppseudo.config.file import parse_file, to_toml
from smtppseudo.config.settings import Settings, SettingsError
from smtppseudo.events import Closed, Command, Event, escape, unescape
from smtppseudo.link.machine import MonitorClient, Secrets
from smtppseudo.logread.logs import Reading, find
from smtppseudo.monitor.codec import FrameError, FrameReader, encode
from smtppseudo.monitor.scram import REFUSED, ClientExchange, ExchangeState, ScramError
from smtppseudo.monitor.session import Request
from smtppseudo.report.report import KINDS, Report
from smtppseudo.smtp.lines import LineSplitter, MessageCounter
from tests.fuzz.tls import fuzz_tls
from tests.property.test_lines import LIMIT, reference_lines, reference_message
from tests.property.test_proxy_header import assert_judged_once
from tests.property.test_smtp_session import (
    DIALOGUES,
    MODES,
    assert_answered,
    assert_one_reply_for_each_line,
    play,
    split_replies,
    unmarked,
)
from tests.property.test_tarpit import DIALOGUES as TARPIT_DIALOGUES
from tests.property.test_tarpit import PACES, assert_same_at_any_pace
from tests.records import Stamped, command, parse, render_json, render_text
from tests.unit.monitor_driver import Driver
from tests.unit.monitor_peer import CLIENT_NONCE, COOKIE, WORD
from tests.unit.scram_vectors import RFC_CLIENT_FINAL, RFC_CLIENT_FIRST, rfc_client, rfc_server

NOW: Final = 1_790_000_000
TIME: Final = "2026-01-31T23:59:59.999Z"
FRAME_BYTES: Final = 64
"""Of the longest frame, small enough to be passed often."""

_DEAR: Final = re.compile(r"i=\d{5,}")
"""Iteration counts that are allowed, but would take the time for which nothing else is tried."""


def pieces(data: bytes, size: int) -> list[bytes]:
    """Cut bytes into chunks."""
    return [data[at : at + size] for at in range(0, len(data), size)]


def lines(data: bytes) -> None:
    """Lines and messages equal those of a reference that keeps everything; the splitter keeps at most its limit."""
    size, stream = 1 + sum(data[:1]) % 16, data[1:]
    splitter, found = LineSplitter(LIMIT), []
    for piece in pieces(stream, size):
        at = 0
        while at < len(piece):
            line, at = splitter.take(piece, at)
            found += [line] if line is not None else []
            assert len(splitter.partial) <= LIMIT
    assert found == reference_lines(stream)
    message, end, before = MessageCounter(), None, 0
    for piece in pieces(stream, size):
        end = message.take(piece, 0)
        assert len(message._held) <= 4
        if end is not None:
            break
        before += len(piece)
    assert (None if end is None else (before + end, message.size_bytes)) == reference_message(stream)


def session(data: bytes) -> None:
    """Chunks change nothing; each line gets one well-formed reply with its event, within the limits."""
    choice, size, stream = sum(data[:1]) % len(DIALOGUES), 1 + sum(data[1:2]) % 64, data[2:]
    dialogue, mode = DIALOGUES[choice], MODES[choice * len(MODES) // len(DIALOGUES)]
    whole, cut = play(dialogue, [stream] if stream else []), play(dialogue, pieces(stream, size))
    assert cut.replies == whole.replies
    assert unmarked(cut) == unmarked(whole)
    _, *replies = split_replies(whole.replies)
    *events, closed = whole.events
    assert isinstance(closed, Closed)
    assert (closed.received_bytes, closed.sent_bytes) == (len(stream), len(whole.replies))
    for event, reply in zip(events, replies, strict=True):
        assert_answered(event, reply)
    if dialogue.under_tls is None and not mode.accept_mail and mode.reject_at != "message":
        assert_one_reply_for_each_line(stream, whole)
    for event in whole.events:
        _comes_back(Stamped(0, TIME, 1, 1, "192.0.2.1", 25, _as_logged(event)))


def _as_logged(event: Event) -> Event:
    # The log does not show whether a reply has more lines.
    return event._replace(reply=f"{event.reply[:3]} {event.reply[4:]}") if isinstance(event, Command) else event


def escaper(data: bytes) -> None:
    """Escaped text is printable and can be unescaped, alone and in a line of the log."""
    text = escape(data)
    assert text.isascii()
    assert text.isprintable() or not text
    assert unescape(text) == data
    half = len(data) // 2
    event = command(data[:half], b"250 " + data[half:], eol_lf=bool(half % 2))
    _comes_back(Stamped(0, TIME, 1, 1, "2001:db8::1", 25, event))


def _comes_back(stamped: Stamped) -> None:
    for render in (render_text, render_json):
        (line,) = render([stamped])
        assert re.fullmatch(r"[ -~]+\n", line)
        assert parse(line) == stamped


def frames(data: bytes) -> None:
    """Chunks change nothing; an error comes last; accepted frames survive a round trip; within the limits."""
    size, stream = 1 + sum(data[:1]) % 32, data[1:]
    results = []
    for max_bytes, step in ((FRAME_BYTES, size), (FRAME_BYTES, len(stream) or 1), (65_536, size)):
        reader, found = FrameReader(max_bytes), []
        for piece in pieces(stream, step):
            found += reader.receive(piece)
            assert len(reader._buffer) <= max_bytes
        errors = [item for item in found if isinstance(item, FrameError)]
        assert errors == found[len(found) - len(errors) :]
        assert len(errors) == reader.has_failed
        results.append(found)
    assert repr(results[0]) == repr(results[1])
    for item in results[2]:
        if not isinstance(item, FrameError):
            assert FrameReader(65_536).receive(encode(item)) == [item]


def scram(data: bytes) -> None:
    """Each side accepts a message or raises ScramError; without the secret no login succeeds."""
    text = data.decode("latin-1")
    first, _, final = text.partition("\n")
    server = rfc_server()
    with contextlib.suppress(ScramError):
        assert server.first(first).startswith("r=")
        assert server.final(final) == REFUSED or final == RFC_CLIENT_FINAL
    server = rfc_server()
    server.first(RFC_CLIENT_FIRST)
    with contextlib.suppress(ScramError):
        outcome = server.final(text)
        assert (outcome != REFUSED) is (server.state is ExchangeState.DONE)
        assert outcome == REFUSED or text == RFC_CLIENT_FINAL  # a valid proof is valid only for these messages
    for client in (rfc_client(), ClientExchange("a,b=c", "x", CLIENT_NONCE)):
        client.first()
        with contextlib.suppress(ScramError):
            assert client.final(_DEAR.sub("i=4096", first)).startswith("c=biws,r=")
            client.verify(final)
            assert client.state is ExchangeState.DONE


def settings(data: bytes) -> None:
    """A file is settings or one SettingsError; settings survive a round trip."""
    values = None
    with contextlib.suppress(SettingsError):
        values = parse_file(data.decode("utf-8", "replace"), "fuzz.toml", lambda text: None)
    if values is None:
        return
    Settings(**values)
    text = "".join(f"{name} = {to_toml(value)}\n" for name, value in values.items())
    assert parse_file(text, "again", lambda text: None) == values


def records(data: bytes) -> None:
    """A line is a record or a ValueError."""
    for line in data.decode("utf-8", "replace").split("\n"):
        try:
            stamped = parse(line)
        except ValueError:
            continue
        assert isinstance(stamped.event, get_args(Event))


def monitor(data: bytes) -> None:
    """Chunks change nothing; before login there is no request, after it exactly the requests that were sent."""
    size, stream = 1 + sum(data[:1]) % 64, data[1:]
    whole, cut = Driver(), Driver()
    said = [frame for piece in pieces(stream, size) for frame in cut.say(piece)]
    assert said == whole.say(stream)
    assert not any(isinstance(event, Request) for event in whole.events)
    inside = Driver()
    inside.log_in()
    inside.say(stream, size)
    assert inside.session.close_reason in (None, "errors")


def texts_in(value: object) -> Iterator[str]:
    """Yield every text in a value."""
    if isinstance(value, str | Exception):
        yield str(value)
    elif isinstance(value, dict):
        yield from value
        value = tuple(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from texts_in(item)


def client(data: bytes) -> None:
    """Any bytes from a server become values without control characters."""
    text = _DEAR.sub("i=4096", data.decode("latin-1")).encode("latin-1")
    machine = MonitorClient(Secrets((COOKIE,), WORD), CLIENT_NONCE, "the server")
    for piece in pieces(text, 1 + sum(data[:1]) % 64):
        for found in machine.receive(piece):
            assert all(text.isprintable() for text in texts_in(found))
        machine.data_to_send()
    machine.end_of_stream()


def tarpit(data: bytes) -> None:
    """A tarpit of any pace sends the same bytes, and records the same events, as a session without delays."""
    *choices, size, wait = (*data[:6], *bytes(6))[:6]
    pace = {
        name: values[choice % len(values)] for choice, (name, values) in zip(choices[1:], PACES.items(), strict=True)
    }
    stream = data[6:]
    pieces = [(1 + size, wait / 10)] * (len(stream) // (1 + size))
    assert_same_at_any_pace(TARPIT_DIALOGUES[choices[0] % len(TARPIT_DIALOGUES)], pace, stream, pieces)


def tls(data: bytes) -> None:
    """Any bytes in place of a flight of TLS, or behind it, are an OSError or plain text, in bounded memory."""
    fuzz_tls(data)


def hits(data: bytes) -> None:
    """Any file of hits, and any file of networks, is read; the lists that follow from it can be read, too."""
    never, found = NeverListed(), Hits(Policy(2, DAY_S, 3 * DAY_S), 4)
    needed = coverage_of(found.policy, ("auth", "mail"))
    with contextlib.suppress(ValueError):  # a first line that does not suit
        for hit in HitsFiles(needed, {}, allows_twice=bool(data[:1] < b"a")).hits_in(data + b"\n"):
            if never.reason(hit.source) is None:
                found.add(hit.source, hit.at)
    first, *rest = render_hits(needed, ((source, found.times_of(source)) for source in found.sources()))
    assert parse_coverage(first) == needed
    assert [parse_hits(line) for line in rest] == [(source, list(found.times_of(source))) for source in found.sources()]
    entries = sorted(found.review(found.sources(), NOW), key=order)
    texts = ["".join(render(entries, "mx.example.org")) for render in RENDERERS.values()]
    for text in (*texts, "".join(zone_file(entries, "mx.example.org", "bl.example.org", NOW))):
        assert re.fullmatch(r"[\n -~]*", text)
        assert list(sources_in(text.splitlines())) == [entry.source for entry in entries]
    before = list(sources_in(data.decode("ascii", "replace").splitlines()))
    script = "".join(nsupdate(entries, "mx.example.org", "bl.example.org", before))
    assert re.fullmatch(r"(?:(?:update (?:add|delete) [ -~]+|zone [a-z.]+|send)\n)+", script)


def logs(data: bytes) -> None:
    """Any file, plain or gzipped, is read to its end; each line is a row or damaged; all readers survive it."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        path = Path(name, "2026-01-31.log")
        path.write_bytes(data)
        reading = Reading(find(path.parent))
        rows = [row for block in reading for row in block]
    assert all(value.isascii() and value.isprintable() for row in rows for value in row if value)
    assert len(rows) + reading.damaged == reading.lines
    report = Report(KINDS)
    report.add(rows)
    assert report.connected == sum(row[1] == "connected" for row in rows)
    finder, never = HitFinder(frozenset(("connected", *map(str.lower, VERBS), "errors"))), NeverListed()
    found = [hit for hit in hits_in(rows, finder) if never.reason(hit.source) is None]
    assert len(found) <= len(rows)
    for render in RENDERERS.values():
        "".join(render(sorted([Entry(hit.source, hit.at, hit.at) for hit in found], key=order), "mx.example.org"))
    if data[:1] not in (b"\x1f", b"") and not reading.problems:
        assert reading.lines == len(data.split(b"\n")) - data.endswith(b"\n")


def proxy_header(data: bytes) -> None:
    """A proxy's header is incomplete until one verdict, which more bytes do not change."""
    assert_judged_once(data[:300])


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    target.__name__: target
    for target in (
        *(lines, session, tarpit, escaper, frames, scram, settings, records, monitor, client, proxy_header),
        *(tls, hits, logs),
    )
}
