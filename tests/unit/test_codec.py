"""Frames: encoding, decoding, and every kind of invalid line."""

import inspect
import json
import sys
import tracemalloc

import pytest

from smtppseudo.monitor.codec import (
    BAD_FRAME,
    KEY_TWICE,
    LONE_SURROGATE,
    MAX_DEPTH,
    MAX_NUMBER_CHARS,
    NO_OBJECT,
    NOT_JSON,
    NOT_PRINTABLE,
    NUMBER_OUT_OF_RANGE,
    TOO_BIG,
    TOO_DEEP,
    FrameError,
    FrameReader,
    encode,
)

PING = b'{"id":1,"op":"ping"}\n'
PING_FRAME = {"id": 1, "op": "ping"}


def receive(data: bytes, max_bytes: int = 65_536) -> list[dict[str, object] | FrameError]:
    return FrameReader(max_bytes).receive(data)


def nested(depth: int, brackets: bytes = b"[]") -> bytes:
    inner = depth - 1  # the frame is the outermost
    if brackets == b"[]":
        return b'{"a":' + b"[" * inner + b"]" * inner + b"}\n"
    return b'{"a":' * inner + b"{}" + b"}" * inner + b"\n"


def test_a_frame_is_one_line_of_compact_json() -> None:
    assert encode(PING_FRAME) == PING
    assert encode({}) == b"{}\n"
    assert encode({"a": [1, 2.5, None, True], "b": {"c": ("d",)}}) == (b'{"a":[1,2.5,null,true],"b":{"c":["d"]}}\n')


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("\n\r\t\x00\x1b", rb"\n\r\t\u0000\u001b"),
        ("\x7f\x80\x9b", rb"\u007f\u0080\u009b"),
        ("\u00e4\u2028", rb"\u00e4\u2028"),
        ("\U0001f600", rb"\ud83d\ude00"),
        ("\ud800", b"?"),
        ("\udcffx\ud83d", b"?x?"),
        ("\ud83d\ude00", b"??"),
        (r"\ud800", rb"\\ud800"),
        ('"\\', rb"\"\\"),
    ],
)
def test_strings_are_encoded_as_printable_ascii(text: str, written: bytes) -> None:
    line = encode({"a": text})
    assert line == b'{"a":"' + written + b'"}\n'
    (frame,) = receive(line)
    assert frame == {"a": text.encode("utf-8", "replace").decode()}


def test_half_a_pair_in_a_key_is_replaced_too() -> None:
    assert encode({"\udc80": 1, "b": "\udc80"}) == b'{"?":1,"b":"?"}\n'


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_encode_raises_for_nan_and_infinity(value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        encode({"a": [value]})


@pytest.mark.parametrize("value", [b"bytes", {1, 2}, object()])
def test_encode_raises_for_other_types(value: object) -> None:
    with pytest.raises(TypeError):
        encode({"a": value})


def test_frames_are_returned_in_order() -> None:
    assert receive(PING + b"{}\n" + b'{"op":"slots"}\n') == [PING_FRAME, {}, {"op": "slots"}]


def test_a_frame_is_returned_when_its_line_ends() -> None:
    reader = FrameReader(100)
    assert [reader.receive(bytes([byte])) for byte in PING] == [[]] * (len(PING) - 1) + [[PING_FRAME]]
    assert len(reader._buffer) == 0
    assert not reader.has_failed


def test_an_unfinished_line_is_kept() -> None:
    reader = FrameReader(100)
    assert reader.receive(PING + PING[:5]) == [PING_FRAME]
    assert len(reader._buffer) == 5
    assert reader.receive(PING[5:] + PING[:1]) == [PING_FRAME]
    assert len(reader._buffer) == 1


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_receive_accepts_any_buffer(kind: type[bytes] | type[bytearray] | type[memoryview]) -> None:
    assert FrameReader(100).receive(kind(PING)) == [PING_FRAME]


@pytest.mark.parametrize(
    "line",
    [
        b'{"id":1,"op":"ping"}\r\n',
        b'{ "id" : 1 , "op" : "ping" }\n',
        b'{"id":1,"op":"ping"}   \n',
        b'{"id":1,"op":"p\\u0069ng"}\n',
    ],
)
def test_equivalent_encodings_of_a_frame(line: bytes) -> None:
    assert receive(line) == [PING_FRAME]


@pytest.mark.parametrize(
    ("line", "error"),
    [
        pytest.param(b"\n", NO_OBJECT, id="empty line"),
        pytest.param(b"\r\n", NO_OBJECT, id="empty line with CR"),
        pytest.param(b" {}\n", NO_OBJECT, id="space in front"),
        pytest.param(b"[]\n", NO_OBJECT, id="array"),
        pytest.param(b'"a"\n', NO_OBJECT, id="string"),
        pytest.param(b"1\n", NO_OBJECT, id="number"),
        pytest.param(b"null\n", NO_OBJECT, id="null"),
        pytest.param(b"GET / HTTP/1.1\r\n", NO_OBJECT, id="HTTP"),
        pytest.param(b"\x16\x03\x01\x02\x00", NO_OBJECT, id="TLS"),
        pytest.param(b"\xef\xbb\xbf{}\n", NO_OBJECT, id="byte order mark"),
        pytest.param(b"\x00", NO_OBJECT, id="NUL"),
        pytest.param(b"{}\r\r\n", NOT_PRINTABLE, id="two CR"),
        pytest.param(b'{"a":\r1}\n', NOT_PRINTABLE, id="CR within"),
        pytest.param(b'{"a":\t1}\n', NOT_PRINTABLE, id="tab"),
        pytest.param(b'{"a":"\x1b[31m"}\n', NOT_PRINTABLE, id="escape sequence"),
        pytest.param(b'{"a":"\x7f"}\n', NOT_PRINTABLE, id="DEL"),
        pytest.param(b'{"a":"\xc3\xa4"}\n', NOT_PRINTABLE, id="UTF-8"),
        pytest.param(b'{"a":"\xff"}\n', NOT_PRINTABLE, id="no UTF-8"),
        pytest.param(b'{"a":"\xa0"}\n', NOT_PRINTABLE, id="no-break space"),
        pytest.param(b'{"a":"\x00"}\n', NOT_PRINTABLE, id="NUL within"),
        pytest.param(b"{\n", NOT_JSON, id="cut"),
        pytest.param(b'{"a"}\n', NOT_JSON, id="no value"),
        pytest.param(b'{"a":}\n', NOT_JSON, id="no value behind the colon"),
        pytest.param(b'{"a":1,}\n', NOT_JSON, id="comma at the end"),
        pytest.param(b"{'a':1}\n", NOT_JSON, id="apostrophes"),
        pytest.param(b"{1:2}\n", NOT_JSON, id="key not a string"),
        pytest.param(b'{"a":01}\n', NOT_JSON, id="leading zero"),
        pytest.param(b'{"a":+1}\n', NOT_JSON, id="plus sign"),
        pytest.param(b'{"a":0x10}\n', NOT_JSON, id="hexadecimal"),
        pytest.param(b'{"a":1_000}\n', NOT_JSON, id="underscore"),
        pytest.param(b'{"a":"\\x41"}\n', NOT_JSON, id="no such escape"),
        pytest.param(b'{"a":"\\u12g4"}\n', NOT_JSON, id="bad escape"),
        pytest.param(b'{"a":"b}\n', NOT_JSON, id="string without end"),
        pytest.param(b'{"a":"\\"}\n', NOT_JSON, id="backslash at the end"),
        pytest.param(b"{} {}\n", NOT_JSON, id="two objects"),
        pytest.param(b"{}x\n", NOT_JSON, id="something behind"),
        pytest.param(b'{"a":1,"a":1}\n', KEY_TWICE, id="key twice"),
        pytest.param(b'{"a":1,"\\u0061":2}\n', KEY_TWICE, id="key twice, once escaped"),
        pytest.param(b'{"x":[{"y":{"a":1,"b":2,"a":3}}]}\n', KEY_TWICE, id="key twice within"),
        pytest.param(b'{"a":NaN}\n', NUMBER_OUT_OF_RANGE, id="NaN"),
        pytest.param(b'{"a":[Infinity]}\n', NUMBER_OUT_OF_RANGE, id="infinity"),
        pytest.param(b'{"a":-Infinity}\n', NUMBER_OUT_OF_RANGE, id="negative infinity"),
        pytest.param(b'{"a":1e999}\n', NUMBER_OUT_OF_RANGE, id="infinite in effect"),
        pytest.param(b'{"a":-1E+999}\n', NUMBER_OUT_OF_RANGE, id="negative, infinite in effect"),
        pytest.param(b'{"a":' + b"9" * 33 + b"}\n", NUMBER_OUT_OF_RANGE, id="33 digits"),
        pytest.param(b'{"a":' + b"9" * 5000 + b"}\n", NUMBER_OUT_OF_RANGE, id="5,000 digits"),
        pytest.param(b'{"a":-' + b"9" * 5000 + b"}\n", NUMBER_OUT_OF_RANGE, id="5,000 digits, negative"),
        pytest.param(b'{"a":0.' + b"9" * 5000 + b"}\n", NUMBER_OUT_OF_RANGE, id="5,000 digits, fraction"),
        pytest.param(b'{"a":1e' + b"9" * 5000 + b"}\n", NUMBER_OUT_OF_RANGE, id="5,000 digits, exponent"),
        pytest.param(b'{"a":"\\ud800"}\n', LONE_SURROGATE, id="high surrogate"),
        pytest.param(b'{"a":"\\uDFFF"}\n', LONE_SURROGATE, id="low surrogate"),
        pytest.param(b'{"a":"\\ude00\\ud83d"}\n', LONE_SURROGATE, id="a pair in the wrong order"),
        pytest.param(b'{"a":"\\ud83dx\\ude00"}\n', LONE_SURROGATE, id="a pair torn apart"),
        pytest.param(b'{"\\uDc00":1}\n', LONE_SURROGATE, id="surrogate in a key"),
        pytest.param(b'{"a":[{"b":["\\uDC80"]}]}\n', LONE_SURROGATE, id="surrogate within"),
        pytest.param(nested(65), TOO_DEEP, id="arrays 65 deep"),
        pytest.param(nested(65, b"{}"), TOO_DEEP, id="objects 65 deep"),
        pytest.param(nested(30_000), TOO_DEEP, id="arrays 30,000 deep"),
        pytest.param(nested(10_000, b"{}"), TOO_DEEP, id="objects 10,000 deep"),
        pytest.param(b'{"a":' + b"[" * 60_000 + b"\n", TOO_DEEP, id="arrays without end"),
        pytest.param(b'{"a":' * 10_000 + b"\n", TOO_DEEP, id="objects without end"),
    ],
)
def test_an_invalid_line_is_an_error(line: bytes, error: FrameError) -> None:
    reader = FrameReader(65_536)
    assert reader.receive(PING + line + PING) == [PING_FRAME, error]
    assert reader.has_failed
    assert len(reader._buffer) == 0
    assert reader.receive(PING) == []
    assert len(reader._buffer) == 0


def test_errors_are_one_printable_line_each() -> None:
    errors = [
        NO_OBJECT,
        NOT_PRINTABLE,
        NOT_JSON,
        TOO_DEEP,
        KEY_TWICE,
        NUMBER_OUT_OF_RANGE,
        LONE_SURROGATE,
        *receive(b"{" * 9, 8),
    ]
    assert [error.code for error in errors if isinstance(error, FrameError)] == [BAD_FRAME] * 7 + [TOO_BIG]
    for error in errors:
        assert receive(encode({"message": error})) == [{"message": list(error)}]
    assert len(set(map(str, errors))) == 8


@pytest.mark.parametrize("byte", [byte for byte in range(256) if byte != ord("{")])
def test_a_first_byte_is_refused_at_once(byte: int) -> None:
    assert receive(bytes([byte])) == [NO_OBJECT]


def test_the_first_byte_of_a_later_line_is_refused_at_once() -> None:
    reader = FrameReader(100)
    assert reader.receive(PING) == [PING_FRAME]
    assert reader.receive(b"x") == [NO_OBJECT]


@pytest.mark.parametrize("brackets", [b"[]", b"{}"])
def test_the_deepest_allowed_frame_is_accepted(brackets: bytes) -> None:
    (frame,) = receive(nested(MAX_DEPTH, brackets))
    assert frame == json.loads(nested(MAX_DEPTH, brackets))
    more = nested(MAX_DEPTH, brackets).replace(b"{", b'{"b":[],"c":{},"d":[[[{}]]],', 1)
    assert receive(more) == [json.loads(more)]


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b'{"a":"' + b"[" * 1000 + b'"}\n', id="in a string"),
        pytest.param(b'{"' + b"{" * 1000 + b'":1}\n', id="in a key"),
        pytest.param(b'{"a":"\\"' + b"[" * 1000 + b'"}\n', id="behind an escaped quote"),
        pytest.param(b'{"a":"\\\\\\"' + b"[" * 1000 + b'"}\n', id="behind a backslash and a quote"),
        pytest.param(b'{"a":["x"' + b',["\\\\"]' * 1000 + b"]}\n", id="beside each other"),
        pytest.param(b'{"a":[' + b"{}," * 1000 + b"{}]}\n", id="objects beside each other"),
    ],
)
def test_brackets_that_do_not_nest(line: bytes) -> None:
    assert receive(line) == [json.loads(line)]


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b'{"a":["\\\\"' + b",[" * 100 + b"]" * 100 + b"]}\n", id="behind a string of one backslash"),
        pytest.param(b'{"a":["\\\\\\""' + b",[" * 100 + b"]" * 100 + b"]}\n", id="behind backslash and quote"),
        pytest.param(b'{"]]]]":["]]]]"' + b",[" * 100 + b"]" * 100 + b"]}\n", id="behind brackets in strings"),
        pytest.param(b'{"a":[[],[]' + b",[" * 100 + b"]" * 100 + b"]}\n", id="behind others"),
    ],
)
def test_brackets_that_nest_too_deep(line: bytes) -> None:
    assert receive(line) == [TOO_DEEP]


def test_closed_brackets_do_not_lower_the_depth() -> None:
    siblings = b"[]," * 100
    deepest = b"[" * (MAX_DEPTH - 2)
    assert receive(b'{"a":[' + siblings + deepest + b"]" * (MAX_DEPTH - 1) + b"}\n") != [TOO_DEEP]
    assert receive(b'{"a":[' + siblings + deepest + b"[]" + b"]" * (MAX_DEPTH - 1) + b"}\n") == [TOO_DEEP]


def test_depth_is_checked_before_decoding() -> None:
    limit = sys.getrecursionlimit()
    depth = len(inspect.stack(0))
    sys.setrecursionlimit(depth + MAX_DEPTH + 40)
    try:
        assert receive(nested(30_000)) == [TOO_DEEP]
        assert receive(nested(MAX_DEPTH)) != [TOO_DEEP]
    finally:
        sys.setrecursionlimit(limit)


@pytest.mark.parametrize(
    ("number", "value"),
    [
        (b"9" * MAX_NUMBER_CHARS, int("9" * MAX_NUMBER_CHARS)),
        (b"-" + b"9" * (MAX_NUMBER_CHARS - 1), -int("9" * (MAX_NUMBER_CHARS - 1))),
        (b"-2.2250738585072014e-308", -2.2250738585072014e-308),
        (b"1e308", 1e308),
        (b"0." + b"1" * (MAX_NUMBER_CHARS - 2), float("0." + "1" * (MAX_NUMBER_CHARS - 2))),
    ],
)
def test_numbers_in_range_are_accepted(number: bytes, value: float) -> None:
    assert receive(b'{"a":' + number + b"}\n") == [{"a": value}]


def test_a_whole_surrogate_pair_is_accepted() -> None:
    assert receive(b'{"a":"\\ud83d\\uDE00","b":"\\\\ud800"}\n') == [{"a": "\U0001f600", "b": r"\ud800"}]


def test_a_line_at_the_limit_is_accepted_and_one_byte_more_is_not() -> None:
    fits = b'{"a":1}'
    assert receive(fits + b"\n", 7) == [{"a": 1}]
    too_big = FrameError(TOO_BIG, "a frame is at most 7 bytes")
    assert receive(fits + b" \n", 7) == [too_big]
    assert receive(fits + b"\r\n", 7) == [too_big]
    assert receive(fits + b" \n" + PING, 7) == [too_big]


def test_a_line_that_is_too_long_is_refused_before_it_ends() -> None:
    reader = FrameReader(7)
    assert reader.receive(b'{"a":1}') == []
    assert reader.receive(b" ") == [FrameError(TOO_BIG, "a frame is at most 7 bytes")]
    assert len(reader._buffer) == 0


def test_the_limit_holds_for_each_line() -> None:
    assert receive(b'{"a":1}\n' * 5, 7) == [{"a": 1}] * 5


def test_a_new_limit_holds_from_the_next_receive() -> None:
    reader = FrameReader(7)
    reader.receive(b'{"a":1}\n{"a"')
    reader.max_bytes = 12
    assert reader.receive(b":1     }\n") == [{"a": 1}]
    reader.receive(b'{"a":1}')
    reader.max_bytes = 6
    assert reader.receive(b"\n") == [FrameError(TOO_BIG, "a frame is at most 6 bytes")]


def test_a_limit_below_the_searched_position_works() -> None:
    reader = FrameReader(100)
    reader.receive(b"{" + b" " * 80)
    reader.max_bytes = 10
    assert reader.receive(b"}\n") == [FrameError(TOO_BIG, "a frame is at most 10 bytes")]


def test_a_line_received_byte_by_byte_is_searched_once() -> None:
    class Counting(bytearray):
        searched = 0

        def find(self, sub: object, start: object = None, end: object = None) -> int:
            assert isinstance(start, int)
            assert isinstance(end, int)
            Counting.searched += min(end, len(self)) - start
            return super().find(sub, start, end)  # type: ignore[arg-type]

    line = encode({"a": "x" * 5000})
    reader = FrameReader(65_536)
    reader._buffer = Counting()
    found = [frame for byte in line for frame in reader.receive(bytes([byte]))]
    assert found == [{"a": "x" * 5000}]
    assert Counting.searched == len(line)


def test_memory_stays_bounded() -> None:
    reader = FrameReader(1024)
    tracemalloc.start()
    try:
        for _ in range(1000):
            reader.receive(b'{"a":"' + b"x" * 900 + b'"}\n{"b":')
            reader.receive(b"1}\n")
        assert not reader.has_failed
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 16_384
    assert peak < 65_536
