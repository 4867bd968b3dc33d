"""The model and its parts, without a screen."""

from smtppseudo.link.incoming import Dropped
from smtppseudo.tui.event_list import Note
from smtppseudo.tui.transcripts import SessionKey
from tests.tui.scene import SECOND, event, link_up, model_of, session_events, status

KEY = SessionKey(3, 1_001, "192.0.2.1", 40_001)


def test_a_replay_fills_transcripts_but_not_slots() -> None:
    model = model_of(*session_events(1, 3, "192.0.2.1", "gf.com", "<a@b.com>"), seq=50)
    assert model.board.rows[3].state == "free"
    assert model.last_caller[1] == "192.0.2.1"
    transcript = model.transcripts.get(KEY)
    assert transcript is not None
    assert model.transcripts.latest_of("192.0.2.1") == KEY
    assert model.transcripts.get(KEY._replace(port=1)) is None  # of another run of the server
    assert transcript.is_whole
    assert [line.side for line in transcript.lines()] == ["-", "-", "C", "S", "C", "S", "C", "S", "-"]


def test_missing_events_are_counted_by_their_numbers() -> None:
    model = model_of(event(7, "online", by="start"), Dropped(2), event(10, "offline", by="monitor"))
    assert (model.seen, model.not_shown, model.last_seq) == (2, 2, 10)
    assert model.events.at(1) == Note("2 events not shown here: they came faster than they were read")
    assert model.state == "offline"


def test_no_event_is_shown_twice() -> None:
    events = session_events(1, 1, "192.0.2.1", "gf.com", "<a@b.com>")
    model = model_of(*events)
    model.load(link_up(seq=5).snapshot, 101.0)
    model.apply(events, 101.0, SECOND)
    assert model.seen == len(events)
    assert model.not_shown == 0


def test_events_missed_without_a_connection_are_noted() -> None:
    model = model_of(event(1, "online", by="start"))
    model.load(link_up(seq=9).snapshot, 101.0)
    model.apply([event(5, "offline", by="monitor")], 101.0, SECOND)
    assert model.not_shown == 3
    assert model.events.at(1) == Note("3 events not shown here: this screen was not connected")
    assert model.state == "online"  # the snapshot is later than that event


def test_a_restart_clears_the_transcripts_and_keeps_the_events() -> None:
    model = model_of(*session_events(1, 3, "192.0.2.1", "gf.com", "<a@b.com>"))
    model.load(link_up(seq=1, started_at="2026-06-01T14:29:00.000Z").snapshot, 101.0)
    model.apply([event(1, "online", by="start")], 101.0, SECOND)
    assert model.transcripts.get(KEY) is None
    assert model.not_shown == 0
    kinds = [item.text if isinstance(item, Note) else item["event"] for item in map(model.events.at, range(7)) if item]
    assert kinds[:2] == ["connected", "command"]
    assert kinds[5:] == [
        "the server was restarted; its events since then follow, if it still has them",
        "online",
    ]


def test_status_and_settings_are_taken_over() -> None:
    model = model_of()
    model.take_status(status(3, lost_log_lines=4, settings_error="slots must be 1").fields, SECOND)
    assert (model.status["monitors"], model.status["settings_error"]) == (3, "slots must be 1")
    model.take_settings({"settings": {"greeting": "Hi"}, "origins": {}, "revision": 4})
    assert (model.settings, model.revision) == ({"greeting": "Hi"}, 4)
    assert model.apply([event(1, "settings", keys="greeting", by="monitor")], 1.0, SECOND)


def test_mails_refused_are_counted_between_two_replies_to_status() -> None:
    model = model_of()
    assert model.mails_refused_today == 1_018
    model.apply(
        [event(1, "closed", slot=1, session=1, ip="192.0.2.1", port=1, reason="quit", mails_refused=2)], 1.0, SECOND
    )
    assert model.mails_refused_today == 1_020
    model.take_status(status().fields, SECOND)
    assert model.mails_refused_today == 1_018
    model.take_status(status(counters={}).fields, SECOND)
    assert model.mails_refused_today is None  # an older server
