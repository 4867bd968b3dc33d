"""How values and events read on the screen."""

from datetime import UTC, timedelta, timezone
from typing import get_args

import pytest

from smtppseudo.events import ENDINGS, NAMES, CloseReason
from smtppseudo.tui import texts
from smtppseudo.tui.texts import clock_time, describe, format_span


def test_spans_and_times() -> None:
    assert [format_span(each) for each in (-1, 7, 247, 3_720, 273_600)] == ["0 s", "7 s", "4:07", "1 h 02", "3 d 04"]
    assert clock_time("2026-06-01T23:30:00.000Z", timezone(timedelta(hours=2))) == "01:30:00"
    assert clock_time("nonsense", UTC) == "--:--:--"
    for stamp in ("0001-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z"):
        for hours in (-12, 12):
            assert clock_time(stamp, timezone(timedelta(hours=hours))) == "--:--:--"


def test_every_event_has_a_description() -> None:
    assert set(texts._DESCRIPTIONS) == set(NAMES.values())


def test_every_reason_of_a_close_has_its_words() -> None:
    assert set(get_args(CloseReason)) <= ENDINGS.keys()
    assert max(len(word) for word, _ in ENDINGS.values()) <= 8
    assert describe({"event": "closed", "reason": "peer", "duration_ms": 1_000}).startswith(
        "caller hung up after 1.0 s"
    )


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        ("250 OK", "said"),
        ("354 Enter mail", "said"),
        ("553 Sender <> is Invalid!", "no"),
        ("500 What?", "mistake"),
        ("503 Give the sender first.", "mistake"),
        ("421 Too many errors", "mistake"),
        ("454 TLS not available", "fault"),
        ("", "said"),
    ],
)
def test_a_reply_says_whose_doing_it_is(reply: str, kind: str) -> None:
    assert texts.reply_class(reply) == kind


def test_an_unknown_event_shows_its_fields() -> None:
    assert describe({"time": "x", "event": "novel", "slot": 1, "mood": "good"}) == "mood=good"
