"""The page of the monitor protocol: the examples are played, the tables are compared with the code."""

import ast
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

import smtppseudo.config.settings
import smtppseudo.monitor.session
from smtppseudo.config.settings import KEYS, SettingsError, check
from smtppseudo.events import NAMES, BlockAction, CloseReason, Command, Event, Monitor, TurnedAwayReason
from smtppseudo.log.records import fields
from smtppseudo.loop.connection import STALL_TIMEOUT_S
from smtppseudo.monitor import attempts, codec, history, outbox, rows
from smtppseudo.monitor import session as machine
from smtppseudo.server import console
from smtppseudo.server.blocks import ENTRIES_PER_FRAME
from smtppseudo.server.counters import Counters
from smtppseudo.smtp import blocked
from tests.clients import Client
from tests.monitors import Frame, Login, Monitors, Peer, cookie_of, line_of
from tests.running import Running, Servers
from tests.unit.monitor_driver import Driver

PAGE = (Path(machine.__file__).parent / "PROTOCOL.md").read_text()
SECRETS = {"magic": "open sesame"}
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Player:
    """Plays the page's examples line by line."""

    def __init__(self, server: Running, monitors: Monitors) -> None:
        self._server = server
        self._monitors = monitors
        self._peer: Peer | None = None
        self._login = Login("", "")
        self._line = ""
        self._visitors: list[Client] = []

    def play(self, line: str) -> None:
        """Play a line."""
        kind, _, rest = line.partition(" ")
        {"S": self._expect, "C": self._send, "*": self._direct}[kind](rest)

    def close(self) -> None:
        """Close the connections."""
        for visitor in self._visitors:
            visitor.close()

    @property
    def peer(self) -> Peer:
        """The present connection."""
        assert self._peer is not None
        return self._peer

    def _expect(self, expected: str) -> None:
        frame = self.peer._read_frame()
        assert frame is not None, "closed"
        self._line = line_of(frame).decode().rstrip("\n")
        assert re.fullmatch(".*".join(map(re.escape, expected.split("…"))), self._line), self._line

    def _send(self, frame: str) -> None:
        self.peer.send_bytes(self._filled_in(frame).encode("ascii") + b"\n")

    def _filled_in(self, frame: str) -> str:
        """Return a frame of a login with the omitted values filled in."""
        begins = re.search(r'"n,,n=(\w+),r=…"', frame)
        if begins:
            user = begins[1]
            self._login = Login(user, cookie_of(self._server) if user == "cookie" else SECRETS[user])
            return frame.replace(begins[0], f'"{self._login.first}"')
        if '"c=biws,r=…,p=…"' in frame:
            challenge = re.search(r'"data":"(r=[^"]*)"', self._line)
            assert challenge is not None
            return frame.replace("c=biws,r=…,p=…", self._login.final(challenge[1]))
        return frame

    def _direct(self, direction: str) -> None:
        name, _, commands = direction.partition(": ")
        lines = commands.split("; ")
        directions: dict[str, Callable[[], None]] = {
            "connect": self._connect,
            "closed": self._expect_end,
            "sender": lambda: self._visit(lines),
            "sender stays": lambda: self._visit(lines),
            "stop the server": self._server.stop,
        }
        directions[name]()

    def _connect(self) -> None:
        if self._peer is not None:
            self._peer.close()
        self._peer = self._monitors.newcomer(self._server)

    def _expect_end(self) -> None:
        assert self.peer.rest() == []

    def _visit(self, lines: list[str]) -> None:
        client = self._server.connect()
        self._visitors.append(client)
        client.expect("220")
        for line in lines:
            client.say(line, "")
        if lines[-1] == "QUIT":
            client.expect_end()


def blocks(kind: str) -> list[list[str]]:
    return [text.splitlines() for found, text in BLOCK.findall(PAGE) if found == kind]


def test_the_examples_can_be_played(servers: Servers, monitors: Monitors) -> None:
    player = Player(servers.start(), monitors)
    played = 0
    try:
        for lines in blocks("monitor"):
            for line in lines:
                try:
                    player.play(line)
                except AssertionError as error:
                    raise AssertionError(f"{line}\nbut: {error}") from error
                played += 1
    finally:
        player.close()
    assert played > 70


def test_the_frames_that_are_not_played() -> None:
    (too_late,) = Driver().tick()
    box = outbox.Outbox(events_max=0)
    box.put_events(b"", 812)
    logged_out = Driver()
    logged_out.log_in()
    logged_out.session.end("disconnected")
    made = [line_of(too_late), box.take(), *map(line_of, logged_out.frames())]
    lines = [line for block in blocks("") for line in block if line.startswith("S ")]
    assert lines == [f"S {data.decode().strip()}" for data in made]


def table(first_column: str) -> list[list[str]]:
    """Return the rows of the table whose first column has this name."""
    lines = iter(PAGE.splitlines())
    for line in lines:
        if line.startswith(f"| {first_column} |"):
            next(lines)
            return list(_rows(lines))
    raise AssertionError(f"no table of {first_column}")


def _rows(lines: Iterator[str]) -> Iterator[list[str]]:
    for line in lines:
        if not line.startswith("|"):
            return
        yield [cell.strip() for cell in line.strip("|").split("|")]


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def optional(cell: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`\?", cell))


def test_the_ops_are_those_of_the_server(servers: Servers, monitors: Monitors) -> None:
    message = monitors.log_in(servers.start()).refused("make tea", "unknown_op")
    assert {names(row[0])[0] for row in table("op")} == {"auth", *message.removeprefix("ops are ").split(", ")}


def example_of(op: str) -> Frame:
    """Return the fields of the page's first complete example of an op."""
    for line in re.findall(r"^C (\{.+\})$", PAGE, re.MULTILINE):
        fields: Frame = json.loads(line)
        if fields.pop("op", "") == op:
            fields.pop("id")
            return fields
    raise AssertionError(f"no example of {op}")


def test_the_fields_of_each_reply(servers: Servers, monitors: Monitors) -> None:
    server = servers.start()
    monitor = monitors.log_in(server)
    with server.connect() as client:
        client.expect("220")
        for row in sorted(table("op"), key=lambda row: row[0] in ("`start`", "`stop`")):  # they end connections
            (op,) = names(row[0])
            if op != "auth":
                needed = {name: value for name, value in example_of(op).items() if name not in optional(row[1])}
                assert set(needed) == set(names(row[1])) - optional(row[1]), op
                assert set(monitor.ok(op, **needed)) == set(names(row[2])), op


def codes_in(source: str) -> Iterator[str]:
    """Yield the error codes in a module's source: of refusals and of error frames."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            place = {"OpRefused": 0, "fail": 0, "refuse": 1}.get(called)
            candidates = [node.args[place]] if place is not None and len(node.args) > place else []
            candidates += [keyword.value for keyword in node.keywords if keyword.arg == "error"]
            yield from (
                each.value for each in candidates if isinstance(each, ast.Constant) and isinstance(each.value, str)
            )


def test_the_codes_are_those_of_the_server() -> None:
    sources = [Path(module.__file__ or "").read_text() for module in (console, smtppseudo.monitor.session)]
    in_code = {code for source in sources for code in codes_in(source)}
    in_code |= {codec.BAD_FRAME, codec.TOO_BIG, machine.NOT_AUTHORIZED[0]}
    documented = [names(row[0])[0] for row in table("code")]
    assert set(documented) == in_code
    assert len(documented) == len(set(documented))
    assert {code for row in table("op") for code in names(row[3])} <= in_code


def own_fields(kind: type[Event]) -> list[str]:
    if kind is not Command:
        return list(kind._fields)
    marked = Command("NOOP", "250 OK", eol_lf=True, pregreet=True, pipelined=True, truncated_bytes=1, more_lines=1)
    return [name for name, _ in fields(marked)]


def test_the_events_are_those_of_the_server() -> None:
    documented = {name: row[1] for row in table("event") for name in names(row[0])}
    assert {name: names(cell) for name, cell in documented.items()} == {
        name: own_fields(kind) for kind, name in NAMES.items()
    }
    assert {name: optional(cell) for name, cell in documented.items() if optional(cell)} == {
        "command": {"eol", "pregreet", "pipelined", "truncated_bytes", "more_lines"},
        "tls": {"version", "cipher", "failure"},
        "connected": {"local_ip"},
        "closed": {"not_logged"},
        "error": {"lost"},
        "settings": {"changes"},
    }


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ("closed", get_args(CloseReason)),
        ("turned_away", get_args(TurnedAwayReason)),
        ("monitor", get_args(get_type_hints(Monitor)["action"])),
        ("block", get_args(BlockAction)),
    ],
)
def test_the_values_of_each_event_are_listed(event: str, words: tuple[str, ...]) -> None:
    (paragraph,) = re.findall(rf"^- `{event}`: (?:.+\n)+?(?=-|\n)", PAGE, re.MULTILINE)
    assert set(words) <= set(names(paragraph))


def test_the_frames_are_those_of_the_server() -> None:
    documented = {names(row[0])[0]: names(row[2]) for row in table("type")}
    assert set(documented["hello"]) | {"type"} == set(Driver().hello)
    assert set(documented) == {"hello", "reply", "snapshot", "event", "dropped", "error", "bye"}


def test_the_fields_of_a_slot_and_of_a_snapshot(servers: Servers, monitors: Monitors) -> None:
    server = servers.start({"slots": 1})
    server.play("HELO x")
    snapshot = monitors.log_in(server).snapshot
    (slot,) = snapshot["slots"]
    assert [name for row in table("field") for name in names(row[0])] == list(slot)
    (row,) = [row for row in table("type") if names(row[0]) == ["snapshot"]]
    assert set(names(row[2])) | {"type"} == set(snapshot)
    assert {name for row in table("counter") for name in names(row[0])} == set(snapshot["counters"])
    assert {*Counters().as_dict(""), "mails_refused_since", "slots", "slots_in_use"} == set(snapshot["counters"])


def test_the_settings_are_those_that_can_be_set() -> None:
    documented = {names(row[0])[0]: row[1] for row in table("key")}
    assert set(documented) == {name for name, key in KEYS.items() if key.by_monitor}
    for name, allowed in documented.items():
        with pytest.raises(SettingsError) as caught:
            check(name, None)
        assert str(caught.value) == f"{name} must be {allowed}"


LIMITS = {
    "a frame to the server, before login": f"{codec.MAX_BYTES_BEFORE_LOGIN:,} bytes, LF not counted",
    "a frame to the server, after login": f"{codec.MAX_BYTES_AFTER_LOGIN:,} bytes, LF not counted",
    "a frame to the client": f"{codec.MAX_BYTES_TO_CLIENT:,} bytes",
    "nesting": f"{codec.MAX_DEPTH}",
    "a number": f"{codec.MAX_NUMBER_CHARS} characters",
    "monitors logged in": f"{smtppseudo.config.settings.MONITORS_MAX}",
    "connections not logged in, from loopback": f"{smtppseudo.config.settings.UNAUTHENTICATED_MAX // 2}",
    "connections not logged in, from other addresses": f"{smtppseudo.config.settings.UNAUTHENTICATED_MAX // 2}",
    "connections not logged in, of one source": f"{console.PER_SOURCE}",
    "ops and frames in a second": f"{machine.OPS_PER_SECOND_MAX}",
    "the whole login": f"{machine.AUTH_TIMEOUT_S} s",
    "wrong words of one source": f"{attempts.BURST}, then one in {attempts.REFILL_S:g} s",
    "changes stored, of all monitors": f"{console.WRITES_BURST}, then one in {console.WRITE_EVERY_S:g} s",
    "delay of a refusal": f"{machine.REFUSAL_DELAY_S:g} s",
    "events waiting for a monitor": f"{outbox.EVENTS_MAX:,}",
    "bytes of events waiting for a monitor": f"{outbox.BYTES_MAX:,}",
    "events kept for `from_seq`": f"{history.KEPT_EVENTS:,}",
    "bytes of log lines kept for `from_seq`": f"{history.KEPT_BYTES:,}",
    "time without progress in sending": f"{STALL_TIMEOUT_S:g} s",
    "slots in a frame": f"{rows.ROWS_PER_FRAME}",
    "networks blocked": f"{blocked.ENTRIES_MAX:,}",
    "prefix lengths of blocked networks, of IPv4 and of IPv6": f"{blocked.LENGTHS_MAX}",
    "blocked networks in a frame": f"{ENTRIES_PER_FRAME}",
}


def test_the_limits_are_those_of_the_server() -> None:
    assert {row[0]: row[1] for row in table("limit")} == LIMITS


def test_every_link_has_a_target() -> None:
    headings = re.findall(r"^#+ (.+)$", PAGE, re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9_ -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([^)]+)\)", PAGE)) <= anchors
