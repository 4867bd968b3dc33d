"""Lines and messages in a stream of bytes."""

import pytest

from smtppseudo.smtp.lines import LINE_BYTES, Line, LineSplitter, MessageCounter

LIMIT = 12


def split(*pieces: bytes, max_bytes: int = LIMIT) -> list[Line]:
    splitter = LineSplitter(max_bytes)
    lines = []
    for piece in pieces:
        at = 0
        while at < len(piece):
            line, at = splitter.take(piece, at)
            if line is not None:
                lines.append(line)
    return lines


def test_the_limit_is_2048_bytes() -> None:
    assert LINE_BYTES == 2048
    splitter = LineSplitter()
    splitter.take(b"x" * 2048, 0)
    assert not splitter.overflowed
    splitter.take(b"x", 0)
    assert splitter.overflowed


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"NOOP\r\n", [Line(b"NOOP", eol_lf=False)]),
        (b"NOOP\n", [Line(b"NOOP", eol_lf=True)]),
        (b"\r\n\n", [Line(b"", eol_lf=False), Line(b"", eol_lf=True)]),
        (b"a\rb\r\r\n", [Line(b"a\rb\r", eol_lf=False)]),
        (b"\ra\n", [Line(b"\ra", eol_lf=True)]),
        (b"a\0\xff\r\nb\nc", [Line(b"a\0\xff", eol_lf=False), Line(b"b", eol_lf=True)]),
        (b"a\r", []),
        (b"x" * 12 + b"\r\n", [Line(b"x" * 12, eol_lf=False)]),
        (b"x" * 12 + b"\n", [Line(b"x" * 12, eol_lf=True)]),
        (b"x" * 13 + b"\r\n", [Line(b"x" * 12, eol_lf=False, truncated_bytes=1)]),
        (b"x" * 13 + b"\n", [Line(b"x" * 12, eol_lf=True, truncated_bytes=1)]),
        (b"x" * 11 + b"\r\r\n", [Line(b"x" * 11 + b"\r", eol_lf=False)]),
        (b"x" * 12 + b"\r\r\n", [Line(b"x" * 12, eol_lf=False, truncated_bytes=1)]),
        (b"x" * 12 + b"\ry\n", [Line(b"x" * 12, eol_lf=True, truncated_bytes=2)]),
        (
            b"x" * 99 + b"\r\nNOOP\r\n",
            [Line(b"x" * 12, eol_lf=False, truncated_bytes=87), Line(b"NOOP", eol_lf=False)],
        ),
    ],
)
def test_lines(data: bytes, lines: list[Line]) -> None:
    assert split(data) == lines
    assert split(*(data[at : at + 1] for at in range(len(data)))) == lines


def test_take_begins_at_start_and_returns_the_end_of_the_line() -> None:
    splitter = LineSplitter()
    assert splitter.take(b"a\r\nbc\r\nd", 3) == (Line(b"bc", eol_lf=False), 7)
    assert splitter.take(b"a\r\nbc\r\nd", 7) == (None, 8)
    assert splitter.take(b"\n", 0) == (Line(b"d", eol_lf=True), 1)


def test_a_cr_over_the_limit_may_be_half_of_a_line_end() -> None:
    splitter = LineSplitter(LIMIT)
    splitter.take(b"x" * 12 + b"\r", 0)
    assert not splitter.overflowed
    splitter.take(b"\r", 0)
    assert splitter.overflowed


def test_an_overflowed_line_stays_overflowed_until_it_ends() -> None:
    splitter = LineSplitter(LIMIT)
    for piece in (b"x" * 13, b"\r", b"x", b"\r\r"):
        splitter.take(piece, 0)
        assert splitter.overflowed
    assert splitter.take(b"\n", 0)[0] == Line(b"x" * 12, eol_lf=False, truncated_bytes=4)
    assert not splitter.overflowed


def test_rest_returns_only_an_overflowed_line() -> None:
    splitter = LineSplitter(LIMIT)
    assert splitter.rest() is None
    splitter.take(b"x" * 12 + b"\r", 0)
    assert splitter.rest() is None
    splitter.take(b"y", 0)
    assert splitter.rest() == Line(b"x" * 12, eol_lf=True, truncated_bytes=2)
    assert splitter.rest() is None


def test_a_splitter_keeps_at_most_the_limit() -> None:
    splitter = LineSplitter(LIMIT)
    for _ in range(100):
        splitter.take(b"x" * 100, 0)
        assert len(splitter.partial) <= LIMIT


def count(data: bytes) -> tuple[int, bytes]:
    """Return the size of a message, and the bytes after it."""
    message = MessageCounter()
    end = message.take(data, 0)
    assert end is not None
    return message.size_bytes, data[end:]


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (b".\r\n", 0),
        (b"\r\n.\r\n", 2),
        (b"a\r\n.\r\n", 3),
        (b"a\r\nb\r\n.\r\n", 6),
        (b"..\r\n.\r\n", 3),
        (b"..a\r\n..b\r\n.\r\n", 8),
        (b".a\r\n.\r\n", 3),
        (b"a..\r\n.\r\n", 5),
        (b"\n..\r\n.\r\n", 5),
        (b"\n.\n\r.\r\r\n.\r\n", 8),
        (b"\r\n.\r.\r\n.\r\n", 6),
        (b"\r\r\n.\r\n", 3),
        (b"\0\xff\r\n.\r\n", 4),
    ],
)
def test_the_size_of_a_message(data: bytes, size: int) -> None:
    assert count(data) == (size, b"")
    assert count(data + b".\r\n") == (size, b".\r\n")
    message = MessageCounter()
    ends = [message.take(data[at : at + 1], 0) for at in range(len(data))]
    assert ends == [None] * (len(data) - 1) + [1]
    assert message.size_bytes == size


def test_a_message_begins_at_start() -> None:
    data = b"DATA\r\na\r\n.\r\nQUIT\r\n"
    message = MessageCounter()
    assert message.take(data, 6) == data.index(b"QUIT")
    assert message.size_bytes == 3


def test_a_counter_keeps_only_a_possible_terminator() -> None:
    message = MessageCounter()
    for data in (b"x" * 10_000, b"\r\n.\r", b"\r\n.", b"\r" * 100, b"\r\n.\r" * 100, b"x\n" * 100, b"." * 100):
        assert message.take(data, 0) is None
        assert len(message._held) <= 4
