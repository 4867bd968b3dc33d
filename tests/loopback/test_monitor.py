"""The ops over a real socket: what each does, replies and refuses."""

import errno
import json
import signal
import socket
from typing import Any

import pytest

from smtppseudo.config.settings import KEYS, Settings, SettingsError
from smtppseudo.events import Monitor
from smtppseudo.server.counters import Counters
from tests.clients import wait_until
from tests.conftest import MakeInside
from tests.inside import Inside
from tests.monitors import Frame, Monitors, Peer, cookie_of, state_dir, word_fields
from tests.running import Running, Servers

SLOT_FIELDS = {"slot", "state", "session", "ip", "port", "helo", "mail_from", "last", "error", "commands"} | {
    "connected_at",
    "idle_ms",
}


def answers_with(server: Running | Inside, start: str) -> None:
    """Check the greeting of a new SMTP connection."""
    with server.connect() as client:
        client.expect(start)
        client.say("QUIT", "221")


def is_closed(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED


def kept(server: Running | Inside) -> Any:
    """Return the settings stored in the state directory; None if there are none."""
    path = state_dir(server) / "settings.json"
    return json.loads(path.read_text()) if path.exists() else None


def test_ping(inside: MakeInside, monitors: Monitors) -> None:
    assert monitors.log_in(inside()).ok("ping") == {}


def test_status(inside: MakeInside, monitors: Monitors) -> None:
    server = inside(slots=7)
    monitor, _ = monitors.log_in(server), monitors.log_in(server)
    client = server.greeted()
    client.say("NOOP", "250")
    client.say("QUIT", "221")
    client.expect_end()
    server.greeted()
    server.time.advance(12.5)
    status = monitor.ok("status")
    assert set(status) == {"state", "counters", "uptime_s", "monitors", "lost_log_lines", "log_used", "settings_error"}
    assert (status["state"], status["uptime_s"], status["monitors"], status["lost_log_lines"]) == ("online", 12.5, 2, 0)
    counters = status["counters"]
    assert set(counters) == {*Counters().as_dict(""), "mails_refused_since", "slots", "slots_in_use"}
    assert (counters["connected"], counters["slots"], counters["slots_in_use"]) == (2, 7, 1)
    assert (counters["commands"], counters["closed"]["quit"], counters["faults"]) == (2, 1, 0)


def test_slots(inside: MakeInside, monitors: Monitors) -> None:
    server = inside(slots=4)
    monitor = monitors.log_in(server)
    gone, there = server.greeted(), server.greeted("127.0.0.9")
    gone.say("HELO gone.test", "250")
    gone.say("MAIL FROM:<a@gone.test>", "553")
    gone.say("QUIT", "221")
    gone.expect_end()
    there.say("EHLO there.test", "250")
    there.say("XYZZY\x1b", "500")
    server.time.advance(3)
    reply = monitor.ok("slots")
    assert reply["more"] is False
    closed, open_, *free = reply["slots"]
    assert free == [{"slot": 3, "state": "free"}, {"slot": 4, "state": "free"}]
    assert set(closed) == {*SLOT_FIELDS, "reason"}
    assert set(open_) == SLOT_FIELDS
    assert (closed["state"], closed["reason"], closed["port"]) == ("closed", "quit", gone.port)
    assert (closed["helo"], closed["mail_from"], closed["last"]) == ("gone.test", "<a@gone.test>", "QUIT")
    assert (open_["state"], open_["ip"], open_["port"]) == ("open", "127.0.0.9", there.port)
    assert (open_["last"], open_["error"]) == (r"XYZZY\x1b", "500 Command unrecognized: XYZZY?")
    assert (open_["commands"], open_["idle_ms"], open_["session"]) == (2, 3_000, 2)
    assert (open_["connected_at"], open_["slot"]) == ("2026-09-21T14:13:20.000Z", 2)


def test_get(inside: MakeInside, monitors: Monitors) -> None:
    got = monitors.log_in(inside(slots=7)).ok("get")
    assert set(got) == {"settings", "origins", "revision"}
    assert set(got["settings"]) == set(got["origins"]) == set(KEYS)
    assert (got["settings"]["slots"], got["origins"]["slots"]) == (7, "file")
    assert (got["settings"]["greeting"], got["origins"]["greeting"]) == ("Welcome!", "default")
    assert got["settings"]["ehlo_keywords"] == list(Settings().ehlo_keywords)


def test_set(inside: MakeInside, monitors: Monitors) -> None:
    server = inside()
    monitor = monitors.subscribed(server, events=["settings"])
    before, running = monitor.ok("get"), server.greeted()
    changes = {"greeting": "Salve {ip}", "reject_at": "helo", "idle_timeout_s": 40}
    assert monitor.ok("set", changes=changes) == {"revision": before["revision"] + 1}
    after = monitor.ok("get")
    assert after["settings"] == before["settings"] | changes
    assert after["origins"] == before["origins"] | dict.fromkeys(changes, "monitor")
    assert kept(server) == changes
    event = monitor.next_event()
    assert (event["by"], sorted(event["keys"].split(",")), event["port"]) == ("monitor", sorted(changes), monitor.port)
    assert 'greeting: "Welcome!" -> "Salve {ip}", ' in event["changes"]
    assert "idle_timeout_s: 30 -> 40" in event["changes"]
    answers_with(server, "220 Salve 127.0.0.1")
    running.say("HELO x", "250")  # it keeps the rules that it began with


REFUSED_CHANGES: list[tuple[object, str]] = [
    ({"greeting": "new", "accept_mail": "yes"}, "accept_mail must be true or false"),
    ({"accept_mail": True, "greeting": ""}, "greeting must be 1 to 200 printable ASCII characters"),
    ({"greeting": "new", "reject_at": "never"}, 'reject_at must be one of "connect", "helo", "mail", "rcpt"'),
    (
        {"greeting": "new", "quiet_timeout_s": -1},
        "quiet_timeout_s must be a number of seconds from 1 to 86400, or 0 for off",
    ),
    ({"greeting": "new", "port": 2525}, "port cannot be set while the server runs; these can: "),
    ({"greeting": "new", "greetin": "x"}, "unknown setting 'greetin'; did you mean greeting?"),
    ({"greeting": "new", "\u00e9\x1b": 1}, "unknown setting '\u00e9\\x1b'"),
    ({}, "changes must be an object of keys and values"),
    ([["greeting", "new"]], "changes must be an object of keys and values"),
    (None, "changes must be an object of keys and values"),
]


def test_changes_have_a_limit_because_each_waits_for_the_disk(inside: MakeInside, monitors: Monitors) -> None:
    server = inside()
    monitor, other = monitors.log_in(server), monitors.log_in(server)
    ops: list[tuple[str, Frame]] = [
        ("set", {"changes": {"greeting": "Hello"}}),
        ("unset", {"keys": ["greeting"]}),
        ("magic_word", word_fields("open sesame")),
    ]
    for number in range(20):
        monitor.ok("set", changes={"greeting": f"Hello {number}"})
    revision = monitor.ok("get")["revision"]
    for op, fields in ops:
        for peer in (monitor, other):
            assert peer.refused(op, "rate", **fields).endswith("try again in a second")
    assert monitor.ok("get")["revision"] == revision
    assert sorted(path.name for path in state_dir(server).iterdir()) == ["cookie", "monitor_port", "settings.json"]
    for op, fields in ops:
        server.advance(1.01)
        monitor.ok(op, **fields)


def test_set_is_all_or_nothing(inside: MakeInside, monitors: Monitors) -> None:
    server = inside()
    monitor = monitors.subscribed(server, events=["settings"])
    monitor.ok("set", changes={"greeting": "old"})
    monitor.next_event()
    before = monitor.ok("get")
    for changes, message in REFUSED_CHANGES:
        assert monitor.refused("set", "bad_value", changes=changes).startswith(message)
        assert monitor.ok("get") == before
    assert monitor.refused("set", "bad_value") == "changes must be an object of keys and values"
    assert (kept(server), list(monitor.aside)) == ({"greeting": "old"}, [])
    answers_with(server, "220 old")


def test_an_outdated_revision_is_refused(servers: Servers, monitors: Monitors) -> None:
    server = servers.start()
    one, other = monitors.log_in(server), monitors.log_in(server)
    revision = one.ok("get")["revision"]
    new = other.ok("set", changes={"greeting": "other"}, revision=revision)["revision"]
    for op, fields in (("set", {"changes": {"greeting": "one"}}), ("unset", {"keys": ["greeting"]})):
        assert "get them again" in one.refused(op, "conflict", revision=revision, **fields)
        assert one.refused(op, "conflict", revision=new + 1, **fields)
    assert one.ok("get")["settings"]["greeting"] == "other"
    one.ok("set", changes={"greeting": "one"}, revision=new)
    server.reload({"greeting": "file"})
    wait_until(lambda: other.ok("get")["revision"] > new + 1, "the settings file read again")
    other.refused("set", "conflict", changes={"greeting": "x"}, revision=new + 1)
    answers_with(server, "220 one")


def test_settings_of_the_command_line_are_pinned(servers: Servers, monitors: Monitors) -> None:
    server = servers.start(None, "--greeting", "Mine")
    monitor = monitors.log_in(server)
    before = monitor.ok("get")
    changes = {"accept_mail": True, "greeting": "Theirs"}
    assert monitor.refused("set", "pinned", changes=changes).startswith("greeting was given on the command line")
    assert monitor.ok("get") == before
    assert before["origins"]["greeting"] == "command line"
    monitor.ok("set", changes={"quiet_timeout_s": 0})
    answers_with(server, "220 Mine")


def test_unset(inside: MakeInside, monitors: Monitors) -> None:
    server = inside(greeting="File")
    monitor = monitors.log_in(server)
    monitor.ok("set", changes={"greeting": "Monitor", "accept_mail": True, "reject_at": "rcpt"})
    keys: Any
    for keys in (None, [], "greeting", ["greeting", 1], {"greeting": 1}):
        assert monitor.refused("unset", "bad_value", keys=keys) == "keys must be a list of keys"
    assert monitor.refused("unset", "bad_value", keys=["greeting", "greetin"]).startswith("unknown setting 'greetin'")
    assert monitor.refused("unset", "bad_value", keys=["greeting", "slots"]).startswith("slots cannot be set")
    answers_with(server, "220 Monitor")
    before = monitor.ok("get")
    assert monitor.ok("unset", keys=["greeting", "accept_mail"]) == {"revision": before["revision"] + 1}
    after = monitor.ok("get")
    assert (after["settings"]["greeting"], after["origins"]["greeting"]) == ("File", "file")
    assert (after["settings"]["accept_mail"], after["origins"]["accept_mail"]) == (False, "default")
    assert kept(server) == {"reject_at": "rcpt"}
    answers_with(server, "220 File")


def test_settings_of_monitors_outlast_a_restart(servers: Servers, monitors: Monitors) -> None:
    first = servers.start({"greeting": "File"})
    place = ("--state-dir", str(state_dir(first)))
    monitor = monitors.log_in(first)
    monitor.ok("set", changes={"greeting": "Kept", "quiet_timeout_s": 0})
    monitor.ok("stop")
    first.stop()
    second = servers.start({"greeting": "File", "quiet_timeout_s": 9}, *place)
    answers_with(second, "220 Kept")  # and it is online again
    cookie = (state_dir(first) / "cookie").read_text().strip()
    got = monitors.greeted(second).log_in("cookie", cookie).ok("get")
    assert (got["settings"]["quiet_timeout_s"], got["origins"]["quiet_timeout_s"]) == (0, "monitor")
    second.stop()
    third = servers.start({"greeting": "File"}, "--greeting", "Mine", *place)
    answers_with(third, "220 Mine")


def test_data_events_are_turned_off_and_on_at_once(inside: MakeInside, monitors: Monitors) -> None:
    server = inside(slots=1)
    monitor = monitors.subscribed(server, events=["command"])
    client = server.greeted()
    for number, wanted in enumerate([True, False, True]):
        monitor.ok("set", changes={"log_data_events": wanted})
        client.say(f"NOOP {number}", "250")
    assert [monitor.next_event()["data"] for _ in range(2)] == ["NOOP 0", "NOOP 2"]


def test_stop_and_start(servers: Servers, monitors: Monitors) -> None:
    server = servers.start()
    monitor, other = monitors.subscribed(server), monitors.log_in(server)
    port = server.port
    with server.connect() as client:
        client.expect("220")
        assert monitor.ok("stop") == {"state": "offline", "smtp": [f"127.0.0.1 port {port}"]}
        client.expect("421")
        client.expect_end()
    assert is_closed(port)
    assert monitor.ok("stop")["state"] == "offline"
    assert other.ok("status")["state"] == "offline"
    assert monitors.log_in(server).snapshot["state"] == "offline"  # the port for monitors stays
    assert monitor.events_until(event="offline")[-2]["reason"] == "stopped"
    assert monitor.ok("start")["state"] == "online"
    assert monitor.ok("start")["state"] == "online"
    with server.connect() as client:
        client.expect("220")
        assert client.sock.getpeername()[1] == port
    online = monitor.events_until(event="online")[-1]
    assert (online["by"], online["ip"], online["port"]) == ("monitor", "127.0.0.1", monitor.port)
    assert [event["event"] for event in monitor.events_until(event="closed")].count("online") == 0


def test_repeated_stops_and_starts_keep_the_port(inside: MakeInside, monitors: Monitors) -> None:
    server = inside()
    monitor = monitors.log_in(server)
    for _ in range(50):
        monitor.ok("stop")
        assert is_closed(server.port)
        monitor.ok("start")
        answers_with(server, "220")


def test_disconnect(inside: MakeInside, monitors: Monitors) -> None:
    server = inside()
    monitor = monitors.subscribed(server, events=["closed"])
    clients = [server.greeted() for _ in range(3)]
    assert monitor.ok("disconnect", slot=2) == {}
    clients[1].expect("421")
    clients[1].expect_end()
    event = monitor.next_event()
    assert (event["slot"], event["reason"], event["port"]) == (2, "disconnected", clients[1].port)
    for slot in (2, 0, -1, 4, 10**30, "1", 1.0, True, None, [1]):
        assert monitor.refused("disconnect", "bad_value", slot=slot) == "there is no open session in that slot"
    for client in (clients[0], clients[2]):
        client.say("NOOP", "250")


@pytest.mark.parametrize("op", ["", "Status", "quit", "STOP", "__class__", "subscribe\u0000", "x" * 9_000])
def test_an_unknown_op_is_refused_and_the_connection_stays(inside: MakeInside, monitors: Monitors, op: str) -> None:
    monitor = monitors.log_in(inside())
    assert monitor.refused(op, "unknown_op").startswith("ops are ping, slots, subscribe, ")
    monitor.ok("ping")


def test_unknown_fields_are_ignored(inside: MakeInside, monitors: Monitors) -> None:
    monitor = monitors.log_in(inside())
    for op in ("ping", "status", "slots", "get", "start", "subscribe"):
        monitor.ok(op, type="error", ok=False, unknown={"deep": [1, None]})


def test_eight_monitors_and_no_more(inside: MakeInside, monitors: Monitors) -> None:
    server = inside()
    all_eight = [monitors.log_in(server) for _ in range(8)]
    ninth = monitors.greeted(server)
    assert refused_login(ninth, cookie_of(server)) == {
        "type": "error",
        "error": "busy",
        "message": "8 monitors are logged in already",
    }
    assert ninth.rest() == []
    for monitor in all_eight:
        assert monitor.ok("status")["monitors"] == 8
    all_eight[3].close()
    server.turn_until(lambda: all_eight[0].ok("status")["monitors"] == 7, "one logged out")
    monitors.log_in(server)
    actions = [event.action for event in server.events(Monitor)]
    assert actions == ["login"] * 8 + ["busy", "logout", "login"]


def refused_login(peer: Peer, secret: str) -> Frame:
    """Play a login with a valid proof; return the reply."""
    login, challenge = peer.begin_login("cookie", secret)
    peer.send("auth", data=login.final(challenge["data"]))
    return peer.frame()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_bye(servers: Servers, monitors: Monitors, number: int) -> None:
    server = servers.start()
    monitor, silent, newcomer = monitors.subscribed(server), monitors.log_in(server), monitors.greeted(server)
    with server.connect() as client:
        client.expect("220")
        server.stop(number)
        client.expect("421")
    *events, bye = monitor.rest()
    assert bye == {"type": "bye", "reason": "shutdown"}
    assert [event["event"] for event in events] == ["monitor", "connected", "closed", "offline"]
    assert silent.rest() == [{"type": "bye", "reason": "shutdown"}]
    assert newcomer.rest() == []
    assert not (state_dir(server) / "cookie").exists()


def test_the_largest_allowed_settings_fit_into_frames(inside: MakeInside, monitors: Monitors) -> None:
    """The limits of the settings keep every frame small enough."""
    many = [f"10.{number // 250}.{number % 250}.0/24" for number in range(7_000)]
    try:
        server = inside(limit_exempt=many)
    except SettingsError:
        return
    monitor = monitors.log_in(server)
    assert monitor.ok("get")["settings"]["limit_exempt"] == many
