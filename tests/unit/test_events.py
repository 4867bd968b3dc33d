"""Events: their names, the order of their fields, and the escaping of bytes."""

import re
from typing import get_args

import pytest

from smtppseudo.events import NAMES, Closed, CloseReason, Command, Error, Event, TurnedAwayReason, escape, unescape
from tests.records import Stamped

EVERY_BYTE = bytes(range(256))


def test_every_event_has_its_own_name() -> None:
    assert set(NAMES) == set(get_args(Event))
    assert len(set(NAMES.values())) == len(NAMES)


def test_the_reasons_for_a_close() -> None:
    assert set(get_args(CloseReason)) == {
        *("quit", "peer", "idle", "session", "quiet", "evicted", "errors", "reset", "stalled", "stopped"),
        *("disconnected", "blocked", "tls", "tls_in_clear", "http", "fault", "shutdown"),
    }


def test_the_reasons_for_turning_away() -> None:
    assert get_args(TurnedAwayReason) == ("slots", "client", "proxy", "blocked")


def test_rare_fields_have_defaults() -> None:
    assert Command("x", "250 OK")[2:] == (False, False, False, 0, 0)
    assert Closed("quit", 1, 2, 3, 4).not_logged == Error("x").lost == 0


def test_the_fields_are_in_the_order_of_the_log() -> None:
    assert Stamped._fields == ("seq", "time", "slot", "session", "ip", "port", "event")
    assert Command._fields[:2] == ("data", "reply")
    assert Closed._fields[:5] == ("reason", "duration_ms", "received_bytes", "sent_bytes", "commands")


@pytest.mark.parametrize("event", [Command("NOOP", "250 OK"), Stamped(1, "", 0, 0, "", 0, Command("", "250 OK"))])
def test_events_are_immutable(event: Command | Stamped) -> None:
    with pytest.raises(AttributeError):
        event.seq = 2  # type: ignore[misc, union-attr]
    with pytest.raises(AttributeError):
        event.more = 2  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", ""),
        (b"NOOP", "NOOP"),
        (b" ~", " ~"),
        (b'a="b" c', 'a="b" c'),
        (b"\\", r"\\"),
        (b"\\x22", r"\\x22"),
        (b"\\\\n", r"\\\\n"),
        (b"\0\t\n\r\x1b\x1f", r"\x00\x09\x0a\x0d\x1b\x1f"),
        (b"\x7f\x80\x9b\xff", r"\x7f\x80\x9b\xff"),
        ("ä".encode(), r"\xc3\xa4"),
        (b"\xa0\xad", r"\xa0\xad"),
    ],
)
def test_escape_returns_printable_ascii(data: bytes, text: str) -> None:
    assert escape(data) == text
    assert unescape(text) == data


def test_unescape_reverses_escape_for_every_byte() -> None:
    text = escape(EVERY_BYTE)
    assert re.fullmatch("[ -~]+", text)
    assert unescape(text) == EVERY_BYTE
    assert len({escape(bytes([byte])) for byte in EVERY_BYTE}) == 256
    assert text == "".join(escape(bytes([byte])) for byte in EVERY_BYTE)
    assert all(unescape(escape(bytes([byte]))) == bytes([byte]) for byte in EVERY_BYTE)


@pytest.mark.parametrize("byte", range(0x20, 0x7F))
def test_a_printable_byte_is_not_escaped(byte: int) -> None:
    expected = "\\\\" if byte == ord("\\") else chr(byte)
    assert escape(bytes([byte])) == expected


@pytest.mark.parametrize(("text", "data"), [("\\", b"\\"), (r"\x4", rb"\x4"), (r"\n", rb"\n"), (r"\XFF", rb"\XFF")])
def test_a_damaged_escape_is_not_changed(text: str, data: bytes) -> None:
    assert unescape(text) == data


def test_hexadecimal_digits_may_have_either_case() -> None:
    assert unescape(r"\xAb\xaB") == b"\xab\xab"
