"""Frames, for any bytes: round trip, chunking, bounds."""

import itertools
import json

from hypothesis import example, given
from hypothesis import strategies as st

from smtppseudo.monitor.codec import (
    BAD_FRAME,
    MAX_DEPTH,
    NUMBER_OUT_OF_RANGE,
    TOO_BIG,
    TOO_DEEP,
    Frame,
    FrameError,
    FrameReader,
    encode,
)

MAX_BYTES = 65_536
SMALL = 24

text = st.text(st.characters(exclude_categories=["Cs"]))
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**31) + 1, 10**31 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text
)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4))
frames = st.dictionaries(text, values, max_size=5)

# Bytes that are often JSON, nearly JSON, or a line end
tokens = st.sampled_from(
    [
        *(bytes([byte]) for byte in b'{}[],:"\\ \r\n\t0e-.au'),
        b'{"a":',
        b'{"a":1}\n',
        b"{}\n",
        b"NaN",
        b"1e999",
        b"\\ud800",
        b"\\uDE00",
        b'\\"',
        b"\\\\",
        b"null",
        b"\xff",
    ]
)
near_json = st.lists(tokens, max_size=40).map(b"".join)
near_frames = near_json.map(lambda rest: b"{" + rest + b"\n")
streams = st.binary(max_size=200) | near_json | st.lists(near_frames, max_size=3).map(b"".join)


def read(chunks: list[bytes], max_bytes: int) -> tuple[list[Frame | FrameError], bool, int]:
    reader = FrameReader(max_bytes)
    found = [item for chunk in chunks for item in reader.receive(chunk)]
    return found, reader.has_failed, len(reader._buffer)


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % (len(stream) + 1) for place in places} | {0, len(stream)})
    return [stream[start:end] for start, end in itertools.pairwise(ends)]


@given(st.lists(frames, max_size=4))
def test_encoded_frames_are_read_back(sent: list[Frame]) -> None:
    stream = b"".join(map(encode, sent))
    found, has_failed, buffered = read([stream], MAX_BYTES)
    assert found == sent
    assert repr(found) == repr(sent)  # 1, 1.0 and True are equal, but not the same
    assert (has_failed, buffered) == (False, 0)


@given(st.dictionaries(st.text(), st.text() | values, max_size=5))
def test_a_line_is_printable_ascii_and_one_line(frame: Frame) -> None:
    line = encode(frame)
    assert line.endswith(b"\n")
    assert all(0x20 <= byte <= 0x7E for byte in line[:-1])


@given(st.dictionaries(st.sampled_from("abc"), st.text(st.characters()), max_size=3))
def test_frames_with_half_surrogates_can_be_read(frame: Frame) -> None:
    (found,) = FrameReader(MAX_BYTES).receive(encode(frame))
    assert found == {key: str(value).encode("utf-8", "replace").decode() for key, value in frame.items()}


@given(streams, st.lists(st.integers(0, 10_000), max_size=12))
def test_chunks_make_no_difference(stream: bytes, places: list[int]) -> None:
    for max_bytes in (SMALL, MAX_BYTES):
        whole = read([stream], max_bytes)
        assert repr(read(cut(stream, places), max_bytes)) == repr(whole)
        assert repr(read([bytes([byte]) for byte in stream], max_bytes)) == repr(whole)


@given(st.lists(frames, min_size=1, max_size=3), st.integers(1, 7))
def test_chunks_of_good_frames_make_no_difference(sent: list[Frame], size: int) -> None:
    stream = b"".join(map(encode, sent))
    chunks = [stream[start : start + size] for start in range(0, len(stream), size)]
    assert read(chunks, MAX_BYTES)[0] == sent


@given(streams)
@example(b'{"a":"\\ud800"}\n')
@example(b'{"a":' + b"9" * 5000 + b"}\n")
@example(b'{"a":' + b"[" * 50_000)
def test_any_bytes_are_frames_or_one_error(stream: bytes) -> None:
    found, has_failed, _ = read([stream], MAX_BYTES)
    errors = [item for item in found if isinstance(item, FrameError)]
    assert errors == found[len(found) - len(errors) :]
    assert len(errors) == has_failed
    assert all(error.code in (BAD_FRAME, TOO_BIG) for error in errors)
    for item in found:
        if not isinstance(item, FrameError):
            assert read([encode(item)], MAX_BYTES)[0] == [item]


@given(near_frames)
def test_accepted_frames_are_valid_json(line: bytes) -> None:
    (item, *_) = FrameReader(MAX_BYTES).receive(line.replace(b"\n", b" ") + b"\n")
    if not isinstance(item, FrameError):
        assert repr(json.loads(line.replace(b"\n", b" "))) == repr(item)


@given(st.lists(streams, max_size=20), st.integers(1, 64))
def test_the_reader_keeps_at_most_the_limit(chunks: list[bytes], max_bytes: int) -> None:
    reader = FrameReader(max_bytes)
    for chunk in chunks:
        reader.receive(chunk)
        assert len(reader._buffer) <= max_bytes
        assert not (reader._buffer and reader.has_failed)


@given(st.lists(st.sampled_from(["[", "{"]), max_size=150), st.sampled_from(["", '"]}\\\\"', '"\\"[{"', "1"]))
def test_depth_decides_and_brackets_in_strings_do_not(kinds: list[str], core: str) -> None:
    opening = "".join('{"]":' if kind == "{" else '["}",' for kind in kinds)
    closing = "".join("}" if kind == "{" else "]" for kind in reversed(kinds))
    line = '{"a":' + opening + (core or "null") + closing + "}"
    (item,) = FrameReader(MAX_BYTES).receive(line.encode() + b"\n")
    if len(kinds) + 1 > MAX_DEPTH:
        assert item == TOO_DEEP
    else:
        assert item == json.loads(line)


@given(st.integers(10**31, 10**40) | st.integers(-(10**40), -(10**31)))
def test_the_length_of_integers_is_limited(number: int) -> None:
    (item,) = FrameReader(MAX_BYTES).receive(b'{"a":%d}\n' % number)
    assert item == ({"a": number} if len(str(number)) <= 32 else NUMBER_OUT_OF_RANGE)
