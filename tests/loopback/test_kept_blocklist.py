"""`blocklist_file`: the list of a running server, at its start and after SIGHUP."""

from pathlib import Path

import pytest

from smtppseudo.events import Error, escape_text
from smtppseudo.logread.scan import scan
from tests.clients import wait_until
from tests.conftest import MakeInside
from tests.running import NotStartedError, Servers, not_on_windows


def test_without_the_setting_no_list_is_kept(inside: MakeInside) -> None:
    server = inside()
    server.greeted().say("MAIL FROM:<a@b>", "553")
    assert server.server.recorder.on_session_events is None


def test_the_local_address_of_a_connection(inside: MakeInside) -> None:
    server = inside()
    client = server.greeted()
    reception = server.server.reception
    assert reception.local_ip(1) == "127.0.0.1"
    client.say("QUIT", "221")
    server.turn_until(lambda: not reception.slots.in_use, "closed")
    assert reception.local_ip(1) == ""


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_the_local_address_is_logged_if_the_setting_says_so(inside: MakeInside, log_format: str) -> None:
    server = inside(log_format=log_format, log_local_ip=True)
    server.greeted().say("QUIT", "221")
    server.turn_until(lambda: not server.server.reception.slots.in_use, "closed")
    server.server.stop()
    (log,) = server.log_dir.iterdir()
    rows, damaged = scan(log.read_bytes())
    assert [row[5] for row in rows if row[1] == "connected"] == ["127.0.0.1"]
    assert not damaged


def test_the_list_is_written_when_the_server_starts(servers: Servers, tmp_path: Path) -> None:
    path = tmp_path / "list"
    server = servers.start({"blocklist_file": str(path), "blocklist_format": "json"})
    wait_until(path.exists, "a list")
    server.play("MAIL FROM:<a@b>")
    server.stop()
    assert path.read_text() == '{"hostname":"sink.test","entries":[\n]}\n'


def test_a_file_of_blocklist_never_must_be_readable(servers: Servers, tmp_path: Path) -> None:
    never = tmp_path / "never"
    settings = {"blocklist_file": str(tmp_path / "list"), "blocklist_never": [str(never)]}
    with pytest.raises(NotStartedError, match="No such file or directory; blocklist_never and --never allow") as caught:
        servers.start(settings)
    assert caught.value.status == 78
    never.write_text("192.0.2.0/24\n")
    server = servers.start(settings)
    never.write_text("mx.example.org\n")
    server.reload(settings)
    text = f"settings not changed: {never}, line 1: 'mx.example.org' is neither an address nor a network"
    assert server.wait_for_event(Error).event == Error(escape_text(text))
    assert text in server.stderr


@not_on_windows("a reload there has another way to say it")
def test_only_blocklist_never_can_be_changed_without_a_restart(servers: Servers, tmp_path: Path) -> None:
    settings = {"blocklist_file": str(tmp_path / "list")}
    server = servers.start(settings)
    server.reload({**settings, "blocklist_never": ["20.1.1.1/32"], "blocklist_min_hits": 9, "blocklist_format": "nft"})
    wait_until(lambda: "a restart is needed to change blocklist_format, blocklist_min_hits\n" in server.stderr, "said")
