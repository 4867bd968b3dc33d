"""The model and its parts, without a screen."""

import json
from datetime import UTC, timedelta, timezone

import pytest

from smtppseudo.events import NAMES
from smtppseudo.link.incoming import Dropped, Streamed
from smtppseudo.link.route import Target
from smtppseudo.tui import texts
from smtppseudo.tui.event_list import EventList, Note
from smtppseudo.tui.memory import MEMORY_FILE, Memory, target_for
from smtppseudo.tui.model import Model
from smtppseudo.tui.query import EVENTS, STATES, Query, QueryError
from smtppseudo.tui.rates import CallerCounts, ConnectionRate, sparkline
from smtppseudo.tui.slots import SlotBoard
from smtppseudo.tui.texts import clock_time, describe, format_span, printable
from smtppseudo.tui.transcripts import EVENTS_PER_SESSION, Transcripts
from tests.tui.scene import FakeStore, event, link_up, session_events, status

MINUTE = 29_000_000


def model_of(*notices: Streamed | Dropped, seq: int = 0) -> Model:
    """Return a model after a login and these events."""
    model = Model()
    model.load(link_up(seq=seq).snapshot, 100.0)
    model.apply(notices, 100.0, MINUTE)
    return model


def test_a_session_fills_its_slot_and_leaves_it_as_it_was() -> None:
    model = model_of(*session_events(1, 3, "192.0.2.1", "gf.com", "<a@b.com>"))
    row = model.board.rows[3]
    assert (row.state, row.reason, row.ip, row.helo, row.sender) == (
        "closed",
        "quit",
        "192.0.2.1",
        "gf.com",
        "<a@b.com>",
    )
    assert (row.last, row.error) == ("QUIT", "")
    assert (model.board.open_count, model.board.used_count) == (0, 1)


def test_an_error_stays_until_a_better_reply() -> None:
    model = model_of(*session_events(1, 1, "192.0.2.1", "gf.com", "<a@b.com>", is_open=True))
    assert model.board.rows[1].error == "553 Sender <a@b.com> is Invalid!"
    assert model.board.open_count == 1


def test_a_session_whose_connect_was_missed_is_followed() -> None:
    events = session_events(1, 1, "192.0.2.1", "gf.com", "<a@b.com>", is_open=True)
    model = model_of(events[0], *session_events(10, 1, "192.0.2.9", "new.example", "<c@d>", is_open=True)[1:])
    row = model.board.rows[1]
    assert (row.state, row.ip, row.helo) == ("open", "192.0.2.9", "new.example")
    assert model.board.open_count == 1


def test_idle_counts_by_the_screens_own_clock() -> None:
    model = Model()
    slot = {"slot": 1, "state": "open", "session": 5, "ip": "192.0.2.1", "port": 9, "idle_ms": 4_000}
    model.load(link_up([slot]).snapshot, 100.0)
    assert model.board.rows[1].idle_since == 96.0
    model.apply([event(1, "command", slot=1, session=5, data="NOOP", code=250, reply="OK")], 130.0, MINUTE)
    assert model.board.rows[1].idle_since == 130.0


def test_a_replay_fills_transcripts_but_not_slots() -> None:
    model = model_of(*session_events(1, 3, "192.0.2.1", "gf.com", "<a@b.com>"), seq=50)
    assert model.board.rows[3].state == "free"
    assert model.last_connect is not None
    transcript = model.transcripts.get(1_001)
    assert transcript is not None
    assert transcript.is_whole
    assert [line.side for line in transcript.lines()] == ["-", "C", "S", "C", "S", "C", "S", "-"]


def test_missing_events_are_counted_by_their_numbers() -> None:
    model = model_of(event(7, "online", by="start"), Dropped(2), event(10, "offline", by="monitor"))
    assert (model.seen, model.not_shown, model.last_seq) == (2, 2, 10)
    assert model.events.at(1) == Note("2 events not shown here: they came faster than they were read")
    assert model.state == "offline"


def test_no_event_is_shown_twice() -> None:
    events = session_events(1, 1, "192.0.2.1", "gf.com", "<a@b.com>")
    model = model_of(*events)
    model.load(link_up(seq=5).snapshot, 101.0)
    model.apply(events, 101.0, MINUTE)
    assert model.seen == len(events)
    assert model.not_shown == 0


def test_events_missed_without_a_connection_are_noted() -> None:
    model = model_of(event(1, "online", by="start"))
    model.load(link_up(seq=9).snapshot, 101.0)
    model.apply([event(5, "offline", by="monitor")], 101.0, MINUTE)
    assert model.not_shown == 3
    assert model.events.at(1) == Note("3 events not shown here: this screen was not connected")
    assert model.state == "online"  # the snapshot is later than that event


def test_a_restart_clears_the_transcripts_and_keeps_the_events() -> None:
    model = model_of(*session_events(1, 1, "192.0.2.1", "gf.com", "<a@b.com>"))
    model.load(link_up(seq=1, started_at="2026-06-01T14:29:00.000Z").snapshot, 101.0)
    model.apply([event(1, "online", by="start")], 101.0, MINUTE)
    assert model.transcripts.get(1_001) is None
    assert model.not_shown == 0
    kinds = [item.text if isinstance(item, Note) else item["event"] for item in map(model.events.at, range(7)) if item]
    assert kinds[:2] == ["connected", "command"]
    assert kinds[5:] == [
        "the server was restarted; its events since then follow, if it still has them",
        "online",
    ]


def test_status_and_settings_are_taken_over() -> None:
    model = model_of()
    model.take_status(status(3, lost_log_lines=4).fields, MINUTE)
    assert (model.monitors, model.lost_log_lines) == (3, 4)
    model.take_settings({"settings": {"greeting": "Hi"}, "origins": {}, "revision": 4})
    assert (model.settings, model.revision) == ({"greeting": "Hi"}, 4)
    assert model.apply([event(1, "settings", keys="greeting", by="monitor")], 1.0, MINUTE)


def test_ten_thousand_slots_show_the_used_ones_first() -> None:
    board = SlotBoard()
    slot = {"slot": 9_000, "state": "open", "session": 5, "ip": "192.0.2.1", "port": 9, "idle_ms": 0}
    free = [{"slot": number, "state": "free"} for number in range(1, 10_001) if number != 9_000]
    board.load([*free, slot], 0.0)
    assert [row.slot for row in board.order[:3]] == [9_000, 1, 2]
    board.follow({"event": "connected", "slot": 77, "session": 6, "ip": "192.0.2.2", "port": 1}, 1.0)
    assert board.is_out_of_order()
    assert [row.slot for row in board.order[:3]] == [77, 9_000, 1]
    assert board.drain() >= {77}


def test_slots_are_sorted_by_the_meaning_of_a_column() -> None:
    model = model_of(
        *session_events(1, 1, "192.0.2.10", "b", "<a>"),
        *session_events(10, 2, "192.0.2.9", "A", "<a>", is_open=True),
        *session_events(20, 3, "2001:db8::1", "", "<a>"),
    )
    model.board.sort_by("ip", is_reversed=False)
    assert [row.slot for row in model.board.order[:4]] == [2, 1, 3, 4]
    model.board.sort_by("ip", is_reversed=True)
    assert [row.slot for row in model.board.order[:4]] == [3, 1, 2, 4]
    model.board.sort_by("state", is_reversed=False)
    assert model.board.order[0].slot == 2
    model.board.filter(Query.parse("state:open", "state", STATES))
    assert [row.slot for row in model.board.order] == [2]


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        ("GF.com", True),
        ("gf.com missing", False),
        ("ip:192.0.2.0/24", True),
        ("ip:2001:db8::/32", False),
        ("event:connected,closed", False),
        ("event:comm", True),
        ("event:command ip:192.0.2.1 helo", True),
    ],
)
def test_queries(text: str, matches: bool) -> None:
    assert Query.parse(text, "event", EVENTS).matches("command", "192.0.2.1", "helo gf.com") is matches


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("ip:300.1.1.1", "ip:300.1.1.1 is neither an address"),
        ("event:lunch", "event:lunch is not one of connected, command"),
    ],
)
def test_a_malformed_query_says_why(text: str, reason: str) -> None:
    with pytest.raises(QueryError, match=reason):
        Query.parse(text, "event", EVENTS)


def test_the_event_list_keeps_numbers_and_filters() -> None:
    event_list = EventList(kept=10)
    event_list.extend([{"event": "connected" if at % 2 else "closed", "slot": at} for at in range(15)])
    assert (event_list.first, len(event_list), event_list.next_number) == (5, 10, 15)
    event_list.filter(Query.parse("event:connected", "event", EVENTS))
    assert [event_list.number_at(line) for line in range(len(event_list))] == [5, 7, 9, 11, 13]
    event_list.extend([{"event": "connected", "slot": 90}, Note("a gap")])
    assert [event_list.number_at(line) for line in range(len(event_list))][-2:] == [15, 16]
    assert event_list.line_of(8) == [event_list.number_at(line) for line in range(len(event_list))].index(7)
    event_list.extend([{"event": "closed", "slot": at} for at in range(15)])
    assert all(event_list.at(line) is not None for line in range(len(event_list)))


def test_a_search_wraps_around() -> None:
    event_list = EventList()
    event_list.extend(
        [{"event": "command", "ip": f"192.0.2.{at}", "data": "NOOP", "code": 250, "reply": "OK"} for at in range(5)]
    )
    assert event_list.find("192.0.2.3", 0, 1) == 3
    assert event_list.find("noop 192.0.2.3", 3, 1) == 3
    assert event_list.find("192.0.2.4", 0, -1) == 4
    assert event_list.find("nobody", 0, 1) is None


def test_transcripts_are_bounded() -> None:
    transcripts = Transcripts(events_max=1_000)
    record = {"event": "command", "session": 1, "data": "NOOP", "code": 250, "reply": "OK"}
    for _ in range(EVENTS_PER_SESSION + 5):
        transcripts.follow(record)
    first = transcripts.get(1)
    assert first is not None
    assert (len(first), first.cut) == (EVENTS_PER_SESSION, 5)
    for session in range(2, 900):
        transcripts.follow(record | {"session": session})
    assert transcripts.get(1) is None
    assert transcripts.get(899) is not None


def test_a_gap_is_marked_in_each_transcript_that_goes_on() -> None:
    transcripts = Transcripts()
    transcripts.follow({"event": "command", "session": 1, "data": "NOOP", "code": 250, "reply": "OK"})
    transcripts.note_gap()
    transcripts.follow({"event": "closed", "session": 1, "reason": "quit"})
    found = transcripts.get(1)
    assert found is not None
    assert not found.is_whole
    assert "are missing here" in [line.text for line in found.lines()][2]


def test_the_rate_takes_the_higher_count() -> None:
    rate = ConnectionRate()
    rate.add(MINUTE, 3)
    rate.count(MINUTE, 1_000)
    rate.count(MINUTE, 1_009)
    assert rate.last(MINUTE, 2) == [0, 9]
    rate.restart()
    rate.count(MINUTE, 5)
    assert rate.last(MINUTE, 1) == [9]


def test_a_sparkline_shows_every_non_zero_value() -> None:
    assert sparkline([0, 1, 50, 100]) == "·▁▄█"
    assert sparkline([]) == ""


def test_callers_are_bounded() -> None:
    callers = CallerCounts(callers_max=10)
    for _ in range(5):
        callers.add("192.0.2.1")
    for at in range(50):
        callers.add(f"198.51.100.{at}")
    assert callers.top(1) == [("192.0.2.1", 5)]


@pytest.mark.parametrize(
    ("text", "ascii_text"),
    [
        ("plain [/x] text", "plain [/x] text"),
        ("\x1b[31m", "\\x1b[31m"),
        ("\u202eevil", "\\u202eevil"),
        ("日本", "\\u65e5\\u672c"),
        ("e\u0301", "e\\u0301"),
    ],
)
def test_printable_escapes_all_but_printable_ascii(text: str, ascii_text: str) -> None:
    assert printable(text) == ascii_text


def test_spans_and_times() -> None:
    assert [format_span(each) for each in (-1, 7, 247, 3_720, 273_600)] == ["0 s", "7 s", "4:07", "1 h 02", "3 d 04"]
    assert clock_time("2026-06-01T23:30:00.000Z", timezone(timedelta(hours=2))) == "01:30:00"
    assert clock_time("nonsense", UTC) == "--:--:--"


def test_every_event_has_a_description() -> None:
    assert set(texts._DESCRIPTIONS) == set(NAMES.values())


def test_an_unknown_event_shows_its_fields() -> None:
    assert describe({"time": "x", "event": "novel", "slot": 1, "mood": "good"}) == "mood=good"


def test_memory_is_loaded_as_it_was_saved() -> None:
    store = FakeStore()
    Memory("192.0.2.1", 2_626, cleartext=True, theme="t").with_word("192.0.2.1", 2_626, "open sesame").save(store)
    memory = Memory.load(store)
    assert memory.word_of("192.0.2.1", 2_626) == "open sesame"
    assert "sesame" not in repr(memory)
    assert target_for(memory, None, None, None, "auto") == Target("192.0.2.1", 2_626, "open sesame", "off")
    assert target_for(memory, "localhost", None, None, "auto") == Target("localhost", None, None, "auto")
    assert memory.with_word("192.0.2.1", 2_626, None).words == {}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"host": 4, "port": "x", "words": {"a 1": "short"}}', "[" * 100_000])
def test_a_malformed_memory_is_ignored(text: str) -> None:
    store = FakeStore()
    store.files[MEMORY_FILE] = text
    assert Memory.load(store) == Memory()


def test_the_memory_is_a_json_file() -> None:
    store = FakeStore()
    Memory("h", 1).save(store)
    assert json.loads(store.files[MEMORY_FILE])["host"] == "h"
