"""Frames of the monitor protocol: one JSON object per line (RFC 8259), printable ASCII, ended by LF.

An invalid frame is a value, `FrameError`, never an exception. One CR before the LF is dropped, for telnet users; it
counts for the length.
"""

import json
import math
from collections.abc import Mapping
from itertools import accumulate
from typing import NamedTuple, TypeAlias

PROTOCOL = 1  # the version that both sides speak

MAX_BYTES_BEFORE_LOGIN = 1_024  # to the server
MAX_BYTES_AFTER_LOGIN = 16_384  # to the server
MAX_BYTES_TO_CLIENT = 65_536
MAX_DEPTH = 64  # of nested objects and arrays, with the frame itself
MAX_NUMBER_CHARS = 32  # of one number; every count, time and id is far shorter

BAD_FRAME = "bad_frame"
TOO_BIG = "too_big"

Frame: TypeAlias = dict[str, object]

_OPENING = ord("{")
_NOT_A_BRACKET = bytes(byte for byte in range(256) if byte not in b"[]{}")


class FrameError(NamedTuple):
    """Why a line is not a frame."""

    code: str  # BAD_FRAME or TOO_BIG
    message: str  # one line of printable ASCII that repeats nothing of the input


NO_OBJECT = FrameError(BAD_FRAME, "a frame begins with {")
NOT_PRINTABLE = FrameError(BAD_FRAME, "a frame holds only printable ASCII, and ends with LF")
NOT_JSON = FrameError(BAD_FRAME, "the line is not one JSON object")
TOO_DEEP = FrameError(BAD_FRAME, f"the frame is nested more than {MAX_DEPTH} deep")
KEY_TWICE = FrameError(BAD_FRAME, "a key occurs twice in one object")
NUMBER_OUT_OF_RANGE = FrameError(BAD_FRAME, f"a number is not finite, or longer than {MAX_NUMBER_CHARS} characters")
LONE_SURROGATE = FrameError(BAD_FRAME, "a string holds half a surrogate pair")


class FrameReader:
    """Splits a stream into frames.

    `max_bytes` is the longest allowed line, without its LF: a security limit. A new value holds from the next
    `receive` on. After `receive` the reader keeps at most `max_bytes` bytes.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.has_failed = False
        self._buffer = bytearray()
        self._searched = 0  # there is no LF in the buffer before this, so no byte is searched twice

    def receive(self, data: bytes | bytearray | memoryview) -> list[Frame | FrameError]:
        """Return the frames that `data` completes, in order, and the error if there is one.

        After an error the position of the next frame is unknown, so the reader ignores all further input, and the
        owner must close the connection. The result does not depend on how the stream is cut. A line that begins
        with anything but `{`, or is too long, is an error before it ends.
        """
        if self.has_failed:
            return []
        self._buffer += data
        found: list[Frame | FrameError] = []
        start = 0
        try:
            while (line := self._next_line(start)) is not None:
                found.append(_parse(line))
                start = self._searched
        except _InvalidError as invalid:
            self.has_failed = True
            self._buffer.clear()
            return [*found, invalid.error]
        del self._buffer[:start]
        self._searched = len(self._buffer)
        return found

    def _next_line(self, start: int) -> bytes | None:
        """Return the line that begins at `start`, without its LF; None if it has not ended."""
        buffer = self._buffer
        if start < len(buffer) and buffer[start] != _OPENING:
            raise _InvalidError(NO_OBJECT)
        end = buffer.find(b"\n", self._searched, start + self.max_bytes + 1)
        if end >= 0:
            self._searched = end + 1
            return bytes(buffer[start:end])
        if len(buffer) - start > self.max_bytes:
            raise _InvalidError(FrameError(TOO_BIG, f"a frame is at most {self.max_bytes} bytes"))
        return None


def encode(frame: Mapping[str, object]) -> bytes:
    """Return a frame as one line: 0x20 to 0x7E, then LF.

    Half a surrogate pair, as in a file name that is not UTF-8, becomes `?`. Raises ValueError for NaN and infinity,
    TypeError for a type that JSON does not have. The caller must keep the limits of length, depth and numbers.
    """
    text = _ENCODER.encode(dict(frame))
    if "\\ud" in text:  # possibly half a pair; rare, so it may be slow
        plain = json.dumps(dict(frame), ensure_ascii=False).encode("utf-8", "replace")
        text = _ENCODER.encode(json.loads(plain))
    return text.encode("ascii") + b"\n"


def _parse(line: bytes) -> Frame:
    """Parse a line that begins with `{`, so valid JSON in it is an object."""
    text = line.removesuffix(b"\r").decode("latin-1")
    if not (text.isascii() and text.isprintable()):
        raise _InvalidError(NOT_PRINTABLE)
    if _is_too_deep(line):
        raise _InvalidError(TOO_DEEP)
    try:
        frame: Frame = _DECODER.decode(text)
        if "\\ud" in text or "\\uD" in text:
            json.dumps(frame, ensure_ascii=False).encode()  # UTF-8 has no surrogates
    except UnicodeEncodeError:
        raise _InvalidError(LONE_SURROGATE) from None
    except ValueError:
        raise _InvalidError(NOT_JSON) from None
    return frame


def _is_too_deep(line: bytes) -> bool:
    """Return whether brackets outside strings are nested more than `MAX_DEPTH` deep.

    The decoder is recursive, so this check must come first. Both see the same brackets up to the first byte that is
    not JSON, where the decoder stops.
    """
    if line.count(b"{") + line.count(b"[") <= MAX_DEPTH:
        return False
    unescaped = line.replace(b"\\\\", b"").replace(b'\\"', b"")
    brackets = b"".join(unescaped.split(b'"')[::2]).translate(None, _NOT_A_BRACKET)
    return max(accumulate(1 if byte in b"{[" else -1 for byte in brackets)) > MAX_DEPTH


class _InvalidError(Exception):
    """Carries a `FrameError` to the reader."""

    def __init__(self, error: FrameError) -> None:
        self.error = error


def _object(pairs: list[tuple[str, object]]) -> Frame:
    # RFC 8259 section 4: if a name occurs twice, two readers may see two different objects.
    frame = dict(pairs)
    if len(frame) != len(pairs):
        raise _InvalidError(KEY_TWICE)
    return frame


def _integer(text: str) -> int:
    if len(text) > MAX_NUMBER_CHARS:
        raise _InvalidError(NUMBER_OUT_OF_RANGE)
    return int(text)


def _finite(text: str) -> float:
    value = float(text) if len(text) <= MAX_NUMBER_CHARS else math.inf
    if not math.isfinite(value):  # NaN, Infinity, and 1e999: a valid number, but infinite as a float
        raise _InvalidError(NUMBER_OUT_OF_RANGE)
    return value


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer, parse_float=_finite, parse_constant=_finite)
_ENCODER = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":"))
