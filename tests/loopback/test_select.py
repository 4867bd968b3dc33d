"""The server on select(2), which cannot watch every descriptor and does not report errors alone."""

import os
import resource
from pathlib import Path

import pytest

from smtppseudo.events import Closed
from smtppseudo.loop import selector
from tests import FORCED_SELECTOR
from tests.conftest import MakeInside
from tests.running import CHECKOUT, run

WITH_SELECT = {"PYTHONPATH": f"{FORCED_SELECTOR}{os.pathsep}{CHECKOUT}", "SMTPPSEUDO_TEST_SELECTOR": "select"}


def test_more_slots_than_select_can_watch_are_an_error_of_one_line(tmp_path: Path) -> None:
    places = ["--state-dir", str(tmp_path / "state"), "--log-dir", str(tmp_path / "log")]
    config = tmp_path / "smtppseudo.toml"
    config.write_text("slots = 1000\n")
    done = run("serve", "--config", str(config), "--port", "0", "--monitor-port", "0", *places, **WITH_SELECT)
    assert (done.returncode, done.stderr) == (
        78,
        "smtppseudo: slots = 1000 needs 1088 descriptors, and select(2) on this system can watch 1024;"
        " set slots to at most 936\n",
    )


@pytest.fixture
def on_select(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selector, "_HAS_EPOLL", False)
    monkeypatch.setattr(selector, "_IS_SELECT", True)
    monkeypatch.setattr(selector, "WATCHED_MAX", 1024)


def test_one_descriptor_too_many_ends_its_connection_and_not_the_server(on_select: None, inside: MakeInside) -> None:
    server = inside(slots=2000)
    client = server.greeted()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    taken: list[int] = []
    try:
        while not taken or taken[-1] < 1024:
            taken.append(os.dup(0))
        server.connect().rest()
        assert [closed.reason for closed in server.events(Closed)] == ["fault"]
    finally:
        for fd in taken:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    client.say("NOOP", "250")
    server.greeted().say("NOOP", "250")
