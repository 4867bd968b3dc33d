"""`render_record`: JSON records rendered as lines of a text log."""

import json
from typing import Final

import pytest

from smtppseudo.events import Error
from smtppseudo.log.records import render_record
from tests.records import Stamped, parse, render_json, render_text
from tests.unit.test_records import IN_SESSION, KINDS, OF_NO_SESSION, OUTSIDE, TIME, stamped

EVENTS: Final = [event for event, _, _ in KINDS]
RECORDS: Final = [
    *(stamped(event, IN_SESSION) for event in EVENTS),
    *(stamped(event, OUTSIDE) for event in EVENTS if isinstance(event, OF_NO_SESSION)),
]


@pytest.mark.parametrize("record", RECORDS)
def test_line_equals_the_line_in_the_log(record: Stamped) -> None:
    assert render_record(json.loads(render_json([record])[0])) == render_text([record])[0]


def test_unknown_events_and_fields_are_rendered() -> None:
    record = {"time": TIME, "event": "eclipse", "totality": 1.5, "seen": False, "of": ["sun moon"], "by": None}
    assert render_record(record) == f'{TIME} eclipse totality=1.5 seen=false of="[\\x22sun moon\\x22]" by=null\n'


def test_rendered_line_is_parsed() -> None:
    record = {"time": TIME, "event": "error", "message": 'a "b" c=d'}
    assert parse(render_record(record)).event == Error('a "b" c=d')
