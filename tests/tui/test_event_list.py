"""The list of events: numbers, filter and search."""

from smtppseudo.tui.event_list import EventList, Note
from smtppseudo.tui.query import EVENTS, Query


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
