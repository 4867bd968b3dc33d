"""Lines and messages against simple references that keep everything."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from smtppseudo.smtp.lines import Line, LineSplitter, MessageCounter

LIMIT = 12

line_bytes = st.lists(
    st.sampled_from([b"\r", b"\n", b"\r\n", b"x", b"x" * 5, b"x" * (LIMIT - 1), b"x" * LIMIT, b"x" * (LIMIT + 1)]),
    max_size=20,
).map(b"".join)
message_bytes = st.lists(
    st.sampled_from([b"\r", b"\n", b".", b"x", b"\r\n", b"\r\n.", b"\r\n.\r", b"\r\n.\r\n", b"..\r\n"]), max_size=25
).map(b"".join)
places = st.lists(st.integers(0, 1 << 16), max_size=12)


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % (len(stream) + 1) for place in places} | {0, len(stream)})
    return [stream[start:end] for start, end in itertools.pairwise(ends)]


def reference_lines(stream: bytes) -> list[Line]:
    """Split a whole stream into lines."""
    lines = []
    for raw in stream.split(b"\n")[:-1]:
        text = raw.removesuffix(b"\r")
        lines.append(Line(text[:LIMIT], text == raw, max(0, len(text) - LIMIT)))
    return lines


@settings(max_examples=200)
@given(line_bytes, places)
def test_lines(stream: bytes, places: list[int]) -> None:
    splitter = LineSplitter(LIMIT)
    lines = []
    seen = b""
    for chunk in cut(stream, places):
        at = 0
        while at < len(chunk):
            line, end = splitter.take(chunk, at)
            assert (line is not None) is (chunk[at:end].find(b"\n") == end - at - 1)
            lines += [line] if line is not None else []
            seen += chunk[at:end]
            at = end
            under_way = seen[seen.rfind(b"\n") + 1 :]
            assert splitter.overflowed is (len(under_way.removesuffix(b"\r")) > LIMIT)
            assert len(splitter.partial) <= LIMIT
    assert lines == reference_lines(stream)


@settings(max_examples=100)
@given(line_bytes, places)
def test_rest_of_an_unfinished_line(stream: bytes, places: list[int]) -> None:
    stream = stream.replace(b"\n", b"")
    splitter = LineSplitter(LIMIT)
    for chunk in cut(stream, places):
        splitter.take(chunk, 0)
    (line,) = reference_lines(stream + b"\n")
    assert splitter.rest() == (line if line.truncated_bytes else None)


def reference_message(stream: bytes) -> tuple[int, int] | None:
    """Return the end and the size of a message in a whole stream; None if it does not end."""
    end = (b"\r\n" + stream).find(b"\r\n.\r\n")
    if end < 0:
        return None
    lines = stream[:end].split(b"\r\n")[:-1]
    return end + 3, sum(len(line) - line.startswith(b".") + 2 for line in lines)


@settings(max_examples=300)
@given(message_bytes, st.just(b"") | st.just(b"\r\n.\r\n"), places)
def test_a_message(stream: bytes, last: bytes, places: list[int]) -> None:
    stream += last
    message = MessageCounter()
    end = None
    at = 0
    for chunk in cut(stream, places):
        end = message.take(chunk, 0)
        if end is not None:
            break
        at += len(chunk)
        assert len(message._held) <= 4
    found = None if end is None else (at + end, message.size_bytes)
    assert found == reference_message(stream)


@settings(max_examples=100)
@given(message_bytes, st.binary(max_size=9))
def test_a_message_that_begins_inside_a_chunk(stream: bytes, before: bytes) -> None:
    message = MessageCounter()
    end = message.take(before + stream, len(before))
    expected = reference_message(stream)
    assert (end, end and message.size_bytes) == (expected and (expected[0] + len(before)), expected and expected[1])
