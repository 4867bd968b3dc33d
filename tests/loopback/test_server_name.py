"""`server_name`: the last field of every line of the log, a field of the hello, a label of every metric."""

import json
from pathlib import Path

import pytest

from tests.conftest import MakeInside
from tests.loopback.commands import ask
from tests.monitors import Monitors
from tests.running import Servers

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


def test_the_hello_and_every_metric_hold_the_server_name(servers: Servers, monitors: Monitors, tmp_path: Path) -> None:
    path = tmp_path / "smtppseudo.prom"
    server = servers.start({"server_name": "mx-1", "metrics_file": str(path)})
    assert monitors.greeted(server).hello["server_name"] == "mx-1"
    for text in (path.read_text(), ask(server, "status", "--format", "prometheus")):
        samples = [line for line in text.splitlines() if not line.startswith("#")]
        assert samples
        assert all('{server="mx-1"' in sample for sample in samples)
