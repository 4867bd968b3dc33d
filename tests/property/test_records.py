"""Escapes and records, for any bytes: reversible, and always one printable line."""

import json
import re
from typing import Any, get_args

from hypothesis import given, settings
from hypothesis import strategies as st

from smtppseudo.events import NAMES, Closed, Command, Connected, Event, Handshake, Message, escape, unescape
from smtppseudo.log.records import render_record
from tests.records import Stamped, fields, parse, render_json, render_text

# Bytes of which a good part is special somewhere
data = st.binary(max_size=40) | st.lists(
    st.sampled_from(
        [b"\\", b'"', b"=", b" ", b"\n", b"\r", b"\\x22", b"x22", b"\\\\", b" a=", b'="', b"\xff", b"\0", b"A"]
    ),
    max_size=12,
).map(b"".join)
texts = data.map(escape)
counts = st.integers(0, 1 << 40)
replies = st.builds(lambda code, text: f"{code} {text}", st.integers(200, 599), texts)
commands = st.builds(Command, texts, replies, st.booleans(), st.booleans(), st.booleans(), counts, counts)


def of_kind(kind: type[Event]) -> st.SearchStrategy[Event]:
    """Return a strategy for events of a kind, from the types of its fields."""

    def values(field: Any) -> st.SearchStrategy[Any]:
        # mypyc does not keep what a Literal allows.
        choices = get_args(field) or ("quit",)
        return {int: counts, str: texts}[field] if field in (int, str) else st.sampled_from(choices)

    return st.builds(kind, **{name: values(field) for name, field in kind.__annotations__.items()})


in_session = (
    commands | st.builds(Command, texts, replies) | st.one_of(*map(of_kind, (Connected, Message, Handshake, Closed)))
)
outside = st.one_of(*[of_kind(kind) for kind in NAMES if kind not in (Command, Connected, Message, Handshake, Closed)])
ips = st.ip_addresses().map(str)
times = st.datetimes().map(lambda at: f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z".rjust(24, "0"))
records = st.builds(
    Stamped,
    st.just(0),
    times,
    counts.map(lambda n: n + 1),
    counts.map(lambda n: n + 1),
    ips,
    st.integers(1, 65_535),
    in_session,
) | st.builds(Stamped, st.just(0), times, st.just(0), st.just(0), ips | st.just(""), st.just(0), outside)


@given(data)
def test_escaped_data_is_printable_and_reversible(data: bytes) -> None:
    text = escape(data)
    assert re.fullmatch("[ -~]*", text)
    assert unescape(text) == data


@given(data, data)
def test_escaping_pieces_equals_escaping_the_whole(first: bytes, second: bytes) -> None:
    assert escape(first + second) == escape(first) + escape(second)


@settings(max_examples=300)
@given(records)
def test_record_is_one_printable_line_and_is_parsed(record: Stamped) -> None:
    for (line,) in (render_text([record]), render_json([record])):
        assert re.fullmatch(r"[ -~]+\n", line)
        assert parse(line) == record


@settings(max_examples=200)
@given(records)
def test_both_formats_have_the_same_fields(record: Stamped) -> None:
    (text,), (line,) = render_text([record]), render_json([record])
    members = {"time": record.time, "event": NAMES[type(record.event)], **dict(fields(record))}
    assert line == json.dumps(members, separators=(",", ":")) + "\n"
    assert render_record(json.loads(line)) == text


@settings(max_examples=100)
@given(st.lists(records, max_size=5))
def test_batch_equals_its_records_one_by_one(batch: list[Stamped]) -> None:
    for render in (render_text, render_json):
        assert render(batch) == [line for record in batch for line in render([record])]


@settings(max_examples=300)
@given(
    st.text(max_size=80) | records.map(lambda record: render_text([record])[0]),
    st.integers(0, 200),
    st.text(max_size=3),
)
def test_damaged_line_is_a_record_or_a_value_error(line: str, at: int, more: str) -> None:
    for damaged in (line, line[:at], line[:at] + more + line[at:], "{" + line):
        try:
            event: Event = parse(damaged).event
        except ValueError:
            continue
        assert isinstance(event, get_args(Event))
