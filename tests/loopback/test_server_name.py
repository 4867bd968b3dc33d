"""`server_name`: the last field of every line of the log."""

import json

import pytest

from tests.conftest import MakeInside

DIALOGUE = ("EHLO x", "MAIL FROM:<a@b>", "QUIT")


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_every_line_of_the_log_ends_in_the_server_name(inside: MakeInside, log_format: str) -> None:
    server = inside(server_name="mx-1", log_format=log_format, slots_per_client=1, limit_exempt=[])
    caller = server.greeted()
    server.connect().expect("421")
    caller.send(*DIALOGUE)
    server.advance(60)
    server.server.stop()
    (log,) = server.log_dir.iterdir()
    lines = log.read_text("ascii").splitlines()
    events = [json.loads(line)["event"] if log_format == "json" else line.split()[1] for line in lines]
    assert {"online", "connected", "turned_away", "command", "closed", "offline"} <= set(events)
    end = ',"server":"mx-1"}' if log_format == "json" else " server=mx-1"
    assert all(line.endswith(end) for line in lines)
