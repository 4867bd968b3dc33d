"""The slots: state, order and filter."""

from smtppseudo.tui.model import Model
from smtppseudo.tui.query import STATES, Query
from smtppseudo.tui.slots import SlotBoard
from tests.tui.scene import SECOND, event, link_up, model_of, session_events


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
    assert (row.last, row.reply) == ("MAIL FROM:<a@b.com>", "553 Sender <a@b.com> is Invalid!")
    assert model.board.open_count == 0
    again = {"slot": 3, "state": "closed", "session": 1_001, "ip": "192.0.2.1", "port": 40_001, "last": "QUIT"}
    model.board.load([again], 1.0)
    assert row.last == "MAIL FROM:<a@b.com>"  # the list of slots says less than the events did


def test_a_replay_says_what_was_replied_before_quit() -> None:
    model = Model()
    row = {"slot": 3, "state": "closed", "session": 1_001, "ip": "192.0.2.1", "port": 40_001, "last": "QUIT"}
    model.load(link_up([row], seq=9).snapshot, 100.0)
    model.apply(session_events(1, 3, "192.0.2.1", "gf.com", "<a@b.com>"), 100.0, SECOND)
    assert (model.board.rows[3].last, model.board.rows[3].reply[:3]) == ("MAIL FROM:<a@b.com>", "553")
    assert model.board.rows[3].state == "closed"


def test_the_last_reply_is_kept() -> None:
    model = model_of(*session_events(1, 1, "192.0.2.1", "gf.com", "<a@b.com>", is_open=True))
    assert model.board.rows[1].reply == "553 Sender <a@b.com> is Invalid!"
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
    model.apply([event(1, "command", slot=1, session=5, data="NOOP", code=250, reply="OK")], 130.0, SECOND)
    assert model.board.rows[1].idle_since == 130.0


def test_ten_thousand_slots_show_the_used_ones_first() -> None:
    board = SlotBoard()
    slot = {"slot": 9_000, "state": "open", "session": 5, "ip": "192.0.2.1", "port": 9, "idle_ms": 0}
    free = [{"slot": number, "state": "free"} for number in range(1, 10_001) if number != 9_000]
    board.load([*free, slot], 0.0)
    assert [row.slot for row in board.order] == [9_000]
    assert board.free == "1-8999, 9001-10000"
    board.follow({"event": "connected", "slot": 77, "session": 6, "ip": "192.0.2.2", "port": 1}, 1.0)
    assert board.drain() is None
    assert [row.slot for row in board.order] == [77, 9_000]
    assert board.free == "1-76, 78-8999, 9001-10000"
    board.follow({"event": "command", "slot": 77, "session": 6, "data": "NOOP", "code": 250}, 2.0)
    assert board.drain() == {77}


def test_slots_are_sorted_by_the_meaning_of_a_column() -> None:
    model = model_of(
        *session_events(1, 1, "192.0.2.10", "b", "<a>"),
        *session_events(10, 2, "192.0.2.9", "A", "<a>", is_open=True),
        *session_events(20, 3, "2001:db8::1", "", "<a>"),
    )
    assert [row.slot for row in model.board.order] == [2, 1, 3]  # by default the open ones come first
    model.board.sort_by("ip", is_reversed=False)
    assert [row.slot for row in model.board.order] == [2, 1, 3]
    model.board.sort_by("ip", is_reversed=True)
    assert [row.slot for row in model.board.order] == [3, 1, 2]
    model.board.sort_by("state", is_reversed=False)
    assert model.board.order[0].slot == 2
    model.board.filter(Query.parse("state:open", "state", STATES))
    assert [row.slot for row in model.board.order] == [2]
